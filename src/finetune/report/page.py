"""report.html: one file, no script, no request to anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from finetune.gate import signed
from finetune.metrics.known import LESS_IS_BETTER, slice_metric
from finetune.report import figures
from finetune.report.analysis import (
    LEAST_TRIALS_FOR_IMPORTANCE,
    SliceRow,
    importance,
    primary_with_interval,
    slice_rows,
    varied,
)
from finetune.report.facts import Facts
from finetune.report.limits import intended_use, limits
from finetune.report.markdown import interval_text
from finetune.report.problems import report_of
from finetune.report.svg import Drawing
from finetune.report.texts import visible
from finetune.report.training_record import plain, training_arguments, training_rows
from finetune.verdict import BASELINE, CHALLENGER, CHAMPION, REFERENCE

_CUT, _WHOLE = 220, 5_000
"""Characters of a text that are shown, and that can be unfolded."""
_DRAWN_SLICES = 40


@dataclass(frozen=True)
class MetricRow:
    """A metric of all measured models."""

    name: str
    challenger: float | None
    champion: float | None
    baseline: float | None
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
        baseline = measured.get(BASELINE, {}).get(name)
        rows.append(MetricRow(name, new.get(name), old.get(name), baseline, difference, better, interval))
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
        "figure4": _figure,
        "signed": _signed,
        "interval": lambda part: interval_text(part.low, part.high, _signed),
        "plain_interval": lambda part: interval_text(part.low, part.high, _figure),
        "thousands": lambda value: f"{value:,}",
        "percent": lambda value: "–" if value is None else f"{value:.1%}",
        "time": lambda value: f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M %Z}",
        "plain": plain,
        "cut": lambda text: f"{text[:_CUT].rstrip()}…" if len(text) > _CUT else text,
        "whole": lambda text: text[:_WHOLE],
    }
    template = environment.get_template(f"problems/{facts.task.problem}.html")
    page = template.render(context, style=(folder / "page.css").read_text())
    return page, list(_drawings(context))


def _drawings(value: Any) -> Iterator[Drawing]:
    """Yield the figures in a template's context, wherever they are."""
    if isinstance(value, Drawing):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _drawings(part)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else signed(value).replace("-", "−")


def _context(facts: Facts) -> dict[str, Any]:
    slices, report = slice_rows(facts), report_of(facts)
    checks = sorted(facts.verdict["checks"], key=lambda check: check["passed"])
    champion = facts.metrics["champion"]
    rows = metric_rows(facts)
    return {
        "facts": facts,
        "verdict": facts.verdict,
        "sections": report.sections,
        "checks": checks,
        "failed": sum(not check["passed"] for check in checks),
        "champion": champion_name(facts),
        "champion_serves": champion is not None and champion["name"] != REFERENCE,
        "no_champion": no_champion(facts),
        "unusable": champion.get("unusable") if champion is not None else None,
        "metric_rows": rows,
        "less_is_better": [row.name for row in rows if row.name in LESS_IS_BETTER],
        "baseline_name": facts.kind.baseline_name,
        "baseline": report.baseline,
        "comparison": facts.metrics["comparison"],
        "primary_with_interval": primary_with_interval(facts),
        "slices": slices,
        "slice_figure": _slice_figure(facts, slices),
        "slice_metric": slice_metric(facts.task),
        "slices_are_shares": facts.kind.right(slice_metric(facts.task), facts.scored[CHALLENGER]) is not None,
        "whole_characters": _WHOLE,
        "cut_characters": _CUT,
        "length_figure": figures.token_lengths(facts.manifest),
        "training_rows": training_rows(facts.training or {}),
        "training_arguments": training_arguments(facts.training or {}),
        **_sweep(facts),
        "intended_use": intended_use(facts, report.use(facts)),
        "limits": limits(facts, report.limits(facts), slices),
        **report.page(facts),
    }


def _slice_figure(facts: Facts, slices: Sequence[SliceRow]) -> Drawing | None:
    if not slices:
        return None
    compared = facts.metrics["comparison"] is not None
    margin = facts.verdict["policy"]["slice_margin"] if compared else None
    metric = slice_metric(facts.task)
    what = f"{metric}, challenger minus champion" if compared else f"{metric} of the challenger"
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
