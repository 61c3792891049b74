import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from finetune.comparison import interval
from finetune.data.checks.finding import Finding
from finetune.report.brief import render_brief
from finetune.report.costs import CostRow, Prices
from finetune.report.facts import Facts
from finetune.report.figures import block_means, hardware_use, learning_rates, losses
from finetune.report.page import render_page, render_report
from finetune.report.svg import alone
from finetune.verdict import CHALLENGER, CHAMPION

MakeFacts = Callable[..., Facts]
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A page's elements, its text without markup, and the order of its headings; refuses elements that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]

    def section(self, name: str, page: str) -> str:
        (found,) = re.findall(rf'<section id="{name}".*?</section>', page, re.DOTALL)
        return found


def test_the_page_says_what_metrics_and_verdict_say(make_facts: MakeFacts) -> None:
    facts = make_facts()
    text = Page(render_page(facts)).text
    assert "Promoted" in text
    for reason in facts.verdict["reasons"]:
        assert reason in text
    for model in (CHALLENGER, CHAMPION):
        for value in facts.metrics["metrics"][model].values():
            assert f"{value:.4f}" in text
    for row in facts.metrics["labels"]:
        assert f"{row['label']} {row['support']} {row['precision']:.4f} {row['recall']:.4f} {row['f1']:.4f}" in text
    difference = facts.metrics["comparison"]["difference"]
    assert f"{difference['low']:+.4f} to {difference['high']:+.4f}" in text
    assert facts.verdict["policy_sha256"] in text
    assert "0123abc" in text
    assert "101.5 rows a second" in text
    assert "nan" not in text.lower().split()


def test_the_figures_are_there_with_names_and_descriptions(make_facts: MakeFacts) -> None:
    page = render_page(make_facts())
    titles = re.findall(r'<title id="([a-z-]+)-title">', page)
    assert titles == [
        *("confusion-challenger", "confusion-champion", "roc", "precision-recall", "reliability", "slices"),
        *("token-lengths", "hardware", "scores", "learning-rates", "importance", "losses"),
    ]
    found = Page(page)
    assert found.names().count("svg") == len(titles)
    assert all(attributes["role"] == "img" for tag, attributes in found.tags if tag == "svg")
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids
    assert re.findall(r"#1111\d\d", page) == []


def test_the_page_needs_no_script_and_loads_nothing(make_facts: MakeFacts) -> None:
    page = Page(render_page(make_facts()))
    assert set(page.names()) & {"script", "img", "link", "iframe", "object", "form", "image", "base"} == set()
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []
    assert [
        attributes["href"]
        for _, attributes in page.tags
        if "href" in attributes and not (attributes["href"] or "").startswith("#")
    ] == []
    (policy,) = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_headings_do_not_skip_a_level(make_facts: MakeFacts) -> None:
    levels = [int(tag[1]) for tag in Page(render_page(make_facts())).names() if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_texts_from_the_data_are_shown_and_not_obeyed(make_facts: MakeFacts) -> None:
    facts = make_facts()
    page = render_page(facts)
    text = Page(page).text
    assert '<script>document.title = "taken"</script>' in text
    assert "</td></tr></table><h1>free</h1>" in text
    assert "{{ 7 * 7 }}" in text
    assert "😀" in text
    assert "\x07" not in page
    assert "\u202e" not in page
    assert "[U+202E]right to left[U+202C], [U+0007]bell" in text
    assert "whole text, 5,000 characters" in text
    assert page.count("long " * 999) == 1


def test_longer_texts_are_cut_in_the_end(make_facts: MakeFacts) -> None:
    text = Page(render_page(make_facts(texts=("a" * 20_000,)))).text
    assert "whole text, 20,000 characters" in text
    assert "cut at 5,000 characters" in text
    assert "a" * 5_001 not in text


def test_labels_are_escaped_everywhere(make_facts: MakeFacts) -> None:
    labels = ("<b>bold</b>", "$5 & more", "_hidden", 'quote"d')
    page = render_page(make_facts(labels=labels))
    assert "<b>bold" not in page
    assert '"d<' in Page(page).text or 'quote"d' in Page(page).text
    assert "$5 & more" in Page(page).text


def test_texts_and_labels_turn_no_direction(make_facts: MakeFacts) -> None:
    page = render_page(make_facts(labels=("a\u202eb", "c\u2066d"), pairs=True))
    assert not set("\u202e\u2066") & set(page)
    assert "a[U+202E]b" in Page(page).text


def test_a_label_without_rows_has_no_figures(make_facts: MakeFacts) -> None:
    facts = make_facts()
    labels = [*facts.metrics["labels"][:-1]]
    labels.append({"label": "technical", "precision": None, "recall": None, "f1": None, "support": 0})
    facts = replace(facts, metrics={**facts.metrics, "labels": labels})
    text = Page(render_page(facts)).text
    assert "technical 0 – – –" in text
    assert "No test row of technical" in text
    assert "| technical | 0 | – | – | – |" in render_brief(facts)


@pytest.mark.parametrize("training", [{}, {"precision": "fp32", "hardware": None, "steps": "many"}])
def test_an_older_training_record_is_shown_as_far_as_it_goes(make_facts: MakeFacts, training: dict) -> None:
    text = Page(render_page(make_facts(training=training))).text
    assert "started from not recorded" in text
    assert "hardware not recorded" in text


def test_costs_are_those_of_a_dated_table_or_none(make_facts: MakeFacts) -> None:
    assert "Not priced: no table of prices was given." in Page(render_page(make_facts())).text
    prices = Prices("2026-01-31", "EUR", {"small": 0.5})
    facts = make_facts(costs=(CostRow("small", 2, 1.5, 0.5),), no_costs=("no price for “large”",), prices=prices)
    text = Page(render_page(facts)).text
    assert "small 2 1.500 0.5 0.7500" in text
    assert "prices of 2026-01-31, as given" in text
    assert "Not priced: no price for “large”." in text


def test_jobs_are_linked_where_their_address_is_known(make_facts: MakeFacts) -> None:
    links = {"job": "https://ml.azure.com/runs/finetune-1?wsid=/a&tid=b"}
    page = Page(render_page(make_facts(links=links)))
    assert [attributes for tag, attributes in page.tags if tag == "a" and "rel" in attributes] == [
        {"href": links["job"], "rel": "noreferrer"}
    ]


def test_what_the_data_checks_found_is_listed(make_facts: MakeFacts) -> None:
    finding = Finding(
        "conflicting_labels", "train", "warn", 60, 16_000, "30 texts with <b>", ("365", "604 = train 301")
    )
    facts = make_facts(findings=[finding])
    text = Page(render_page(facts)).text
    assert "conflicting labels train 30 texts with <b> 60 0.4% kept 365, 604 = train 301" in text
    assert "| conflicting_labels | train | 30 texts with &#60;b&#62; | 60 | kept |" in render_brief(facts)
    assert "The checks found nothing odd" in Page(render_page(make_facts())).text


@pytest.mark.parametrize(("choice", "said"), [("subtract", "not measured"), ("accept", "kept")])
def test_test_rows_that_the_gate_leaves_out_are_not_said_to_be_kept(
    make_facts: MakeFacts, choice: str, said: str
) -> None:
    findings = [Finding("normalised_leakage", split, "warn", 3, 100, "copies") for split in ("validation", "test")]
    facts = make_facts(findings=findings)
    policy = {**facts.verdict["policy"], "test_rows_seen_in_train": choice}
    facts = replace(facts, verdict={**facts.verdict, "policy": policy})
    text = Page(render_page(facts)).text
    assert "normalised leakage validation copies 3 3.0% kept" in text
    assert f"normalised leakage test copies 3 3.0% {said}" in text
    assert f"| normalised_leakage | test | copies | 3 | {said} |" in render_brief(facts)


def test_a_model_in_the_champions_place_is_not_said_to_serve(make_facts: MakeFacts) -> None:
    facts = make_facts()
    assert "Compared with messages:2, the champion that serves now, on" in Page(render_page(facts)).text
    reference = {**facts.metrics["champion"], "name": "reference"}
    facts = replace(facts, metrics={**facts.metrics, "champion": reference})
    text = Page(render_page(facts)).text
    assert "the champion that serves now" not in text
    assert "a model in the champion’s place that serves nowhere" in text


def test_a_first_model_has_no_champion_to_show(make_facts: MakeFacts) -> None:
    facts = make_facts(
        champion=None, sweep=None, no_sweep="evaluate did not run as a step of a pipeline", training=None
    )
    page = render_page(facts)
    text = Page(page).text
    assert "Nothing serves at messages yet" in text
    assert "no champion" in text
    assert "Left out, with the loss curves: evaluate did not run as a step of a pipeline." in text
    assert "Arguments, throughput and hardware are not known: the model folder holds no training.json" in text
    assert "confusion-champion" not in page
    assert "the gate judges no slice" in text


def test_a_champion_that_could_not_be_measured_is_named_with_the_reason(make_facts: MakeFacts) -> None:
    facts = make_facts(champion="unusable")
    text = Page(render_page(facts)).text
    assert facts.verdict["promoted"] is False
    assert "Not promoted" in text
    assert "The champion messages:2 could not be measured: weights <broken> & gone" in text


@pytest.mark.parametrize("champion", ["usable", None])
def test_two_labels_have_one_curve_each(make_facts: MakeFacts, champion: str | None) -> None:
    page = render_page(make_facts(labels=("different", "same"), pairs=True, champion=champion))
    assert "ROC curves of the label same" in Page(page).text
    assert "<b>text_pair</b>" in page


def test_many_labels_stay_below_a_megabyte(make_facts: MakeFacts) -> None:
    page = render_page(make_facts(labels=tuple(f"label {i:02d}" for i in range(28)), rows=2000))
    assert len(page.encode()) < 1_000_000
    assert Page(page).names().count("svg") == 12


def test_a_label_without_test_rows_has_no_curve(make_facts: MakeFacts) -> None:
    text = Page(render_page(make_facts(labels=("a", "b", "c", "d"), rows=3, texts=(), champion=None))).text
    assert "No curve for labels without a test row: d." in text


def test_a_model_without_a_mistake(make_facts: MakeFacts) -> None:
    text = Page(render_page(make_facts(labels=("a", "b"), rows=60, texts=(), skill=20.0, champion=None))).text
    assert "None: every answer is right." in text


def test_a_figure_that_stands_alone_has_the_pages_colours(make_facts: MakeFacts) -> None:
    page, drawings = render_report(make_facts())
    assert [f'aria-labelledby="{drawing.name}-title ' in page for drawing in drawings] == [True] * page.count("<svg ")
    roots = re.findall(r":root \{(.*?)\}", page, re.DOTALL)[:2]
    for drawing in drawings:
        svg = ElementTree.fromstring(alone(drawing))  # noqa: S314 - made here
        assert svg.attrib["width"].endswith("pt")
        styles = re.findall(r"svg \{(.*?)\}", alone(drawing))
        for style, root in zip(styles, roots, strict=True):
            for declared in re.findall(r"--\w+: #\w+;", style):
                assert declared in root
        used = set(re.findall(r"var\((--\w+)\)", alone(drawing)))
        assert used <= set(re.findall(r"(--\w+):", styles[0]))


def test_learning_rates_are_drawn_against_the_loss(make_facts: MakeFacts) -> None:
    sweep = make_facts().sweep
    assert sweep is not None
    drawing = learning_rates(sweep)
    assert drawing is not None
    assert drawing.description == "The lowest loss, 0.3000, came with a learning rate of 0.00016."
    assert "lowest loss on validation" in drawing.svg
    unknown = tuple(replace(trial, validation_loss=None) for trial in sweep.trials)
    assert learning_rates(replace(sweep, trials=unknown)) is None
    assert "<td>0.3400</td>" in render_page(make_facts())


def test_a_single_sample_of_the_hardware_is_seen(make_facts: MakeFacts) -> None:
    sweep = make_facts().sweep
    assert sweep is not None
    drawing = hardware_use(replace(sweep, hardware={"cpu_utilization_percentage": ((3.0, 64.0),)}))
    assert drawing is not None
    marks = re.findall(r'<use [^>]*style="fill: var\(--muted\)', drawing.svg)
    assert len(marks) == 2  # the sample and the legend's


def test_the_losses_of_many_steps_are_drawn_as_means(make_facts: MakeFacts) -> None:
    steps, values = block_means([(1, 4.0), (2, 2.0), (3, 3.0), (4, 5.0), (5, 1.0)], 2)
    assert (steps.tolist(), values.tolist()) == ([1.5, 3.5, 5.0], [3.0, 4.0, 1.0])
    sweep = make_facts().sweep
    assert sweep is not None
    noisy = {"loss": tuple((float(step), 1.0 + step % 2) for step in range(1, 201))}
    drawing = losses(replace(sweep, losses=noisy))
    assert drawing is not None
    assert "train, means of 2" in drawing.svg
    assert drawing.description == "train loss ends at 1.0000"
    short = losses(replace(sweep, losses={"loss": noisy["loss"][:100]}))
    assert short is not None
    assert "means of" not in short.svg


def test_without_a_champion_the_primary_metric_has_its_own_interval(make_facts: MakeFacts) -> None:
    first = make_facts(champion=None)
    metric, confidence = first.verdict["policy"]["primary_metric"], first.verdict["policy"]["confidence"]
    low, high = interval(metric, first.kind, first.scored[CHALLENGER], confidence)
    said = (
        f"{first.metrics['metrics'][CHALLENGER][metric]:.4f}, 95 % interval of the bootstrap {low:.4f} to {high:.4f}."
    )
    assert low < first.metrics["metrics"][CHALLENGER][metric] < high
    assert f"<p>{metric}: {said}</p>" in render_page(first)
    assert f"{metric}: {said}" in render_brief(first)
    assert "interval of the bootstrap" not in render_page(make_facts())
