"""A number a row: answers against labels, residuals, the largest errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.answers import Scored
from finetune.report.facts import Facts
from finetune.report.markdown import figure, signed_figure, table
from finetune.report.problems import regression_figures
from finetune.report.problems.kind import (
    MOST_BRIEF_ERRORS,
    MOST_ERRORS,
    ProblemReport,
    errors_section,
    rows_of,
    texts_cell,
)
from finetune.verdict import CHALLENGER, CHAMPION

_MOST_RANGES = 6


@dataclass(frozen=True)
class LargeError:
    """An answer that is far from its label."""

    row: int
    """Of predictions.parquet, counted from 0."""
    texts: Mapping[str, str]
    true: float
    value: float
    champion: float | None

    @property
    def error(self) -> float:
        """The answer minus the label."""
        return self.value - self.true


@dataclass(frozen=True)
class RangeRow:
    """What models do where labels lie in a range."""

    low: float
    high: float
    """The greatest label in it."""
    rows: int
    bias: float
    """Mean of answer minus label, the challenger's."""
    error: float
    """Mean absolute error, the challenger's."""
    champion_error: float | None
    residuals: np.ndarray
    """The challenger's answers minus labels, shape (rows,)."""


def large_errors(facts: Facts, most: int) -> list[LargeError]:
    """Return the challenger's answers that are farthest from their labels."""
    true, values = facts.scored[CHALLENGER].arrays
    champion = facts.scored.get(CHAMPION)
    order = np.argsort(-np.abs(values - true), kind="stable")[:most]
    return [
        LargeError(
            int(row),
            facts.texts_of(row),
            float(true[row]),
            float(values[row]),
            None if champion is None else float(champion.arrays[1][row]),
        )
        for row in order
        if values[row] != true[row]
    ]


def range_rows(challenger: Scored, champion: Scored | None) -> list[RangeRow]:
    """Return the labels' range in up to six parts with about as many rows each; equal labels are in one part."""
    true, values = challenger.arrays
    if not len(true):
        return []
    edges = np.unique(np.quantile(true, np.linspace(0, 1, _MOST_RANGES + 1)[1:], method="inverted_cdf"))
    parts = np.searchsorted(edges, true)
    rows = []
    for place in range(len(edges)):
        mask = parts == place
        residuals = (values - true)[mask]
        old = None if champion is None else float(np.abs(champion.arrays[1] - true)[mask].mean())
        bounds = float(true[mask].min()), float(true[mask].max())
        errors = float(residuals.mean()), float(np.abs(residuals).mean())
        rows.append(RangeRow(*bounds, int(mask.sum()), *errors, old, residuals))
    return rows


def _page(facts: Facts) -> dict[str, Any]:
    models = {name: scored.arrays for name, scored in facts.scored.items() if len(scored)}
    ranges = range_rows(facts.scored[CHALLENGER], facts.scored.get(CHAMPION))
    return {
        "range_rows": ranges,
        "answer_figures": regression_figures.answers(models, ranges) if models else [],
        "drawn_points": regression_figures.MOST_POINTS,
        "errors": large_errors(facts, MOST_ERRORS),
    }


def _results_brief(facts: Facts) -> dict[str, str]:
    rows = [
        [
            f"{part.low:g} to {part.high:g}",
            f"{part.rows:,}",
            signed_figure(part.bias),
            figure(part.error),
            figure(part.champion_error),
        ]
        for part in range_rows(facts.scored[CHALLENGER], facts.scored.get(CHAMPION))
    ]
    names = ["labels", "test rows", "mean error", "mean absolute error", "champion's"]
    said = table(names, rows) if rows else "No row was measured."
    return {"errors by label": "\n".join(["", "### Errors by the label's range", "", said, ""])}


def _errors_brief(facts: Facts) -> str:
    rows = [
        [
            texts_cell(error.texts),
            f"{error.true:g}",
            figure(error.value),
            signed_figure(error.error),
        ]
        for error in large_errors(facts, MOST_BRIEF_ERRORS)
    ]
    return errors_section(facts, "Largest errors", ["text", "label", "answer", "error"], rows)


def _use(facts: Facts) -> str:
    return f"Gives {rows_of(facts)} a number"


def _limits(facts: Facts) -> list[str]:
    true, values = facts.scored[CHALLENGER].arrays
    if not len(true):
        return []
    within = float(np.quantile(np.abs(values - true), 0.9))
    return [
        f"Its answers are numbers without an interval; nine in ten are within {within:.4f} of the label.",
        f"Labels lie between {true.min():g} and {true.max():g}; what it answers to a text beyond was not measured.",
    ]


REGRESSION = ProblemReport(
    sections={"answers": "Answers"},
    page=_page,
    results_brief=_results_brief,
    errors_brief=_errors_brief,
    use=_use,
    limits=_limits,
    baseline="always answers the mean of train's labels",
)
