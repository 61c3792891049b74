"""report.html: one file, no script, no request to anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from finetune.metrics.known import LESS_IS_BETTER
from finetune.report import figures
from finetune.report.analysis import (
    LEAST_TRIALS_FOR_IMPORTANCE,
    Curve,
    Reliability,
    confident_errors,
    confusion,
    frequent_confusions,
    importance,
    label_rows,
    micro_curves,
    precision_recall_curves,
    reliability,
    roc_curves,
    slice_rows,
    varied,
)
from finetune.report.facts import Answered, Facts
from finetune.report.limits import intended_use, limits
from finetune.report.svg import Drawing
from finetune.report.texts import visible
from finetune.report.training_record import plain, training_arguments, training_rows
from finetune.verdict import CHALLENGER, CHAMPION

_CUT, _WHOLE = 220, 5_000
"""Characters of a text that are shown, and that can be unfolded."""
_MOST_ERRORS = 15
_MOST_CONFUSIONS = 6
_MATRIX_TABLE_LABELS = 40
_DRAWN_SLICES = 40


@dataclass(frozen=True)
class MetricRow:
    """A metric of all measured models."""

    name: str
    challenger: float | None
    champion: float | None
    majority_class: float | None
    difference: float | None
    better: bool | None
    """The difference is in the challenger's favour; None when there is none."""
    interval: tuple[float, float] | None
    """Of the difference; known of the primary metric alone."""


def metric_rows(facts: Facts) -> list[MetricRow]:
    """Return the main table, the policy's primary metric first."""
    measured, comparison = facts.metrics["metrics"], facts.metrics["comparison"]
    new, old = measured[CHALLENGER], measured.get(CHAMPION, {})
    primary = facts.verdict["policy"]["primary_metric"]
    rows = []
    for name in sorted({*new, *old}, key=lambda name: (name != primary, list(new).index(name) if name in new else 99)):
        difference = new[name] - old[name] if name in new and name in old else None
        better = None if not difference else (difference < 0) == (name in LESS_IS_BETTER)
        quoted = comparison["difference"] if comparison is not None and name == primary else None
        interval = None if quoted is None else (quoted["low"], quoted["high"])
        majority = measured.get("majority_class", {}).get(name)
        rows.append(MetricRow(name, new.get(name), old.get(name), majority, difference, better, interval))
    return rows


def champion_name(facts: Facts) -> str | None:
    """Return the champion as name:version; None when nothing serves."""
    champion = facts.metrics["champion"]
    return None if champion is None else f"{champion['name']}:{champion['version']}"


def no_champion(facts: Facts) -> str:
    """Say why there is no champion to compare with."""
    endpoint = facts.metrics.get("nothing_serves_at")
    if endpoint is None:
        return "No endpoint was named, so there is no champion to compare with."
    return f"Nothing serves at {endpoint} yet, so there is no champion to compare with."


def render_page(facts: Facts) -> str:
    """Return report.html."""
    return render_report(facts)[0]


def render_report(facts: Facts) -> tuple[str, list[Drawing]]:
    """Return report.html and the figures in it."""
    context = _context(facts)
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {
        "figure4": lambda value: "–" if value is None else f"{value:.4f}",
        "signed": lambda value: "–" if value is None else f"{value:+.4f}".replace("-", "−"),
        "thousands": lambda value: f"{value:,}",
        "percent": lambda value: "–" if value is None else f"{value:.1%}",
        "time": lambda value: f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M %Z}",
        "plain": plain,
        "cut": lambda text: f"{text[:_CUT].rstrip()}…" if len(text) > _CUT else text,
        "whole": lambda text: text[:_WHOLE],
    }
    page = environment.get_template("page.html").render(context, style=(folder / "page.css").read_text())
    return page, list(_drawings(context))


def _drawings(value: Any) -> Iterator[Drawing]:
    """Yield the figures in a template's context, wherever they are."""
    if isinstance(value, Drawing):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _drawings(part)


def _context(facts: Facts) -> dict[str, Any]:
    asked = {name: answers for name in (CHALLENGER, CHAMPION) if (answers := facts.answered(name)) is not None}
    models = asked if len(facts.true) else {}
    slices = slice_rows(facts)
    calibrated = {name: fit for name, answers in models.items() if (fit := reliability(facts, answers)) is not None}
    checks = sorted(facts.verdict["checks"], key=lambda check: check["passed"])
    champion = facts.metrics["champion"]
    return {
        "facts": facts,
        "verdict": facts.verdict,
        "checks": checks,
        "failed": sum(not check["passed"] for check in checks),
        "champion": champion_name(facts),
        "no_champion": no_champion(facts),
        "unusable": champion.get("unusable") if champion is not None else None,
        "metric_rows": metric_rows(facts),
        "comparison": facts.metrics["comparison"],
        "label_rows": label_rows(facts),
        "confusions": [
            (
                name,
                figures.confusion_matrix(name, facts.labels, confusion(facts, answers)),
                frequent_confusions(facts, answers, _MOST_CONFUSIONS),
                _matrix(facts, answers),
            )
            for name, answers in models.items()
        ],
        "curve_figures": _curve_figures(facts, models, calibrated),
        "curveless": [facts.labels[i] for i in range(len(facts.labels)) if not (facts.true == i).any()],
        "calibrated": calibrated,
        "slices": slices,
        "slice_figure": _slice_figure(facts, slices),
        "errors": confident_errors(facts, _MOST_ERRORS),
        "wrong": int((asked[CHALLENGER].predicted != facts.true).sum()),
        "whole_characters": _WHOLE,
        "cut_characters": _CUT,
        "length_figure": figures.token_lengths(facts.manifest),
        "training_rows": training_rows(facts.training or {}),
        "training_arguments": training_arguments(facts.training or {}),
        **_sweep(facts),
        "intended_use": intended_use(facts),
        "limits": limits(facts, calibrated.get(CHALLENGER), slices),
    }


def _matrix(facts: Facts, model: Answered) -> list[list[int]] | None:
    return confusion(facts, model).tolist() if len(facts.labels) <= _MATRIX_TABLE_LABELS else None


def _curve_figures(
    facts: Facts, models: Mapping[str, Answered], calibrated: dict[str, Reliability]
) -> Sequence[Drawing]:
    if not calibrated:
        return []
    binary = len(facts.labels) == 2
    roc: dict[str, Curve] = {}
    precision_recall: dict[str, Curve] = {}
    singles: tuple[dict[str, Sequence[Curve]], dict[str, Sequence[Curve]]] = ({}, {})
    for name, answers in models.items():
        of_labels = roc_curves(facts, answers), precision_recall_curves(facts, answers)
        if not binary:
            roc[name], precision_recall[name] = micro_curves(facts, answers)
            if name == CHALLENGER:
                singles = {name: list(of_labels[0].values())}, {name: list(of_labels[1].values())}
        elif 1 in of_labels[0]:
            roc[name], precision_recall[name] = of_labels[0][1], of_labels[1][1]
    positive = facts.labels[1] if binary else None
    drawn = [figures.calibration(calibrated)]
    if roc:
        drawn = [
            figures.roc(roc, singles[0], positive),
            figures.precision_recall(precision_recall, singles[1], positive),
            *drawn,
        ]
    return drawn


def _slice_figure(facts: Facts, slices: Sequence[Any]) -> Drawing | None:
    if not slices:
        return None
    compared = facts.metrics["comparison"] is not None
    margin = facts.verdict["policy"]["slice_margin"] if compared else None
    what = "accuracy, challenger minus champion" if compared else "accuracy of the challenger"
    return figures.slice_intervals(slices[:_DRAWN_SLICES], margin, what)


def _sweep(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sweep_figures": [],
        "loss_figure": None,
        "hardware_figure": None,
        "trials": [],
        "varied": [],
        "no_importance": "",
    }
    if facts.sweep is None:
        return found
    trials = facts.sweep.trials
    shares = importance(trials)
    drawn = [figures.scores_over_time(facts.sweep), figures.learning_rates(facts.sweep)]
    drawn.append(figures.parameter_importance(shares) if shares is not None else None)
    found |= {
        "sweep_figures": [figure for figure in drawn if figure is not None],
        "loss_figure": figures.losses(facts.sweep),
        "hardware_figure": figures.hardware_use(facts.sweep),
        "trials": trials,
        "varied": varied(trials),
    }
    if shares is None:
        found["no_importance"] = (
            f"not estimated: it takes {LEAST_TRIALS_FOR_IMPORTANCE} trials that ended on their own, with different "
            "parameters and scores"
        )
    return found
