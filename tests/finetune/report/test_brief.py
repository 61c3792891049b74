from collections.abc import Callable
from dataclasses import replace

import pytest

from finetune.report.brief import MOST_CHARACTERS, escaped, render_brief
from finetune.report.facts import Facts
from finetune.verdict import CHALLENGER, CHAMPION

MakeFacts = Callable[..., Facts]


def test_the_brief_says_what_metrics_and_verdict_say(make_facts: MakeFacts) -> None:
    facts = make_facts()
    brief = render_brief(facts)
    assert brief.startswith("## ✅ Promoted\n")
    for name, value in facts.metrics["metrics"][CHALLENGER].items():
        (line,) = [line for line in brief.splitlines() if line.strip("| *").split("*")[0].split(" ")[0] == name]
        assert f"{value:.4f}" in line
        assert f"{facts.metrics['metrics'][CHAMPION][name]:.4f}" in line
    assert facts.verdict["model_sha256"] in brief
    for row in facts.metrics["labels"]:
        assert f"| {row['label']} | {row['support']} | {row['precision']:.4f} |" in brief


def test_a_rejected_model_says_so_first(make_facts: MakeFacts) -> None:
    brief = render_brief(make_facts(champion="unusable"))
    assert brief.startswith("## ❌ Not promoted\n")
    assert brief.splitlines()[4].startswith("- **failed** champion: ")
    assert "&#60;broken&#62; &#38; gone" in brief


def test_no_champion(make_facts: MakeFacts) -> None:
    assert "Nothing serves at messages yet, so there is no champion" in render_brief(make_facts(champion=None))


def test_texts_stay_texts(make_facts: MakeFacts) -> None:
    brief = render_brief(make_facts())
    for trap in ("<script", "</td>", "`code`", "**bold**", "@someone", " #12", "](http", "| pipes |", "$x$", "~~gone"):
        assert trap not in brief
    tables = [line for line in brief.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables if "<code>" in line} == {5}


def test_escaped() -> None:
    assert escaped("a\n\nb\tc", 10) == "a b c"
    assert escaped("- a - b", 10) == "&#45; a - b"
    assert escaped("@ann #1", 10) == "&#64;&#8203;ann &#35;&#8203;1"
    assert escaped("www.example.com 0.5 end.", 30) == "www&#46;example&#46;com 0.5 end."
    assert escaped("x" * 20, 10) == "x" * 9 + "…"
    assert escaped("a\u202eb", 10) == "a b"


def test_it_fits_into_a_comment_whatever_the_data_holds(make_facts: MakeFacts) -> None:
    labels = tuple(f"{'*|<@#`_~' * 30}{i}" for i in range(60))
    facts = make_facts(labels=labels, rows=300, texts=("`" * 5000,) * 5)
    brief = render_brief(facts)
    assert len(brief) < MOST_CHARACTERS
    assert brief.startswith("## ✅ Promoted\n") or brief.startswith("## ❌ Not promoted\n")
    assert facts.verdict["model_sha256"] in brief


@pytest.mark.parametrize("promoted", [True, False])
def test_the_verdict_is_there_however_long_its_reasons_are(make_facts: MakeFacts, promoted: bool) -> None:
    """Escaped, a name of marks alone is twelve times as long: 20 such checks do not fit into a comment."""
    facts = make_facts()
    checks = [{"name": "#@" * 200, "passed": promoted, "reason": "#@" * 5000} for _ in range(25)]
    brief = render_brief(replace(facts, verdict={**facts.verdict, "promoted": promoted, "checks": checks}))
    assert len(brief) < MOST_CHARACTERS
    assert brief.startswith(f"## {'✅ Promoted' if promoted else '❌ Not promoted'}\n")
    shown = brief.count(f"- **{'passed' if promoted else 'failed'}** ")
    assert shown >= 4
    assert f"- and {25 - shown} checks more, {0 if promoted else 25 - shown} of them failed" in brief
    assert "### Figures" in brief


def test_what_does_not_fit_is_named_and_what_follows_is_not_lost(make_facts: MakeFacts) -> None:
    labels = tuple(f"{'#@' * 30}{i}" for i in range(60))
    facts = make_facts(labels=labels, rows=300)
    checks = [{"name": "long", "passed": True, "reason": "#@" * 5000} for _ in range(25)]
    brief = render_brief(replace(facts, verdict={**facts.verdict, "checks": checks}))
    assert brief.endswith("For want of space left out here, and in report.html: labels.\n")
    assert "### Labels" not in brief
    assert "### Lineage" in brief
    assert "For want of space" not in render_brief(make_facts())
