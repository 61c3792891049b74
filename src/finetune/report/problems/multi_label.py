"""Any number of labels a row: curves of each label, calibration over (row, label) pairs, the most confident errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.answers import Scored
from finetune.metrics.multi_label import THRESHOLD
from finetune.report import figures
from finetune.report.curves import (
    Reliability,
    label_precision_recall_curves,
    label_roc_curves,
    micro_curves,
    reliability,
)
from finetune.report.facts import Facts
from finetune.report.labels import label_rows, labels_brief, weakest
from finetune.report.markdown import figure
from finetune.report.problems.kind import (
    MOST_BRIEF_ERRORS,
    MOST_CONFUSIONS,
    MOST_ERRORS,
    ProblemReport,
    errors_section,
    rows_of,
    texts_cell,
)
from finetune.report.svg import Drawing
from finetune.report.texts import escaped
from finetune.verdict import CHALLENGER, CHAMPION


@dataclass(frozen=True)
class WrongPair:
    """A label that a row was given without having it, or has without being given it."""

    row: int
    """Of predictions.parquet, counted from 0."""
    texts: Mapping[str, str]
    label: str
    there: bool
    """The row has the label."""
    true: str
    """All labels of the row."""
    probability: float
    """Of the label."""
    champion: float | None
    """Likewise."""


def pairs_reliability(scored: Scored) -> Reliability | None:
    """Return how well the probabilities of labels fit how often rows have them, over all pairs; None without a row."""
    true, probabilities = scored.arrays
    return reliability(probabilities.ravel(), true.ravel())


def wrong_pairs(facts: Facts, most: int) -> list[WrongPair]:
    """Return the wrong (row, label) pairs that the challenger was surest of."""
    true, probabilities = facts.scored[CHALLENGER].arrays
    champion = facts.scored.get(CHAMPION)
    rows, labels = np.nonzero(true != (probabilities >= THRESHOLD))
    surest = np.argsort(-np.abs(probabilities[rows, labels] - THRESHOLD), kind="stable")[:most]
    return [
        WrongPair(
            int(row),
            facts.texts_of(row),
            facts.labels[label],
            bool(true[row, label]),
            ", ".join(name for name, hit in zip(facts.labels, true[row], strict=True) if hit) or "none",
            float(probabilities[row, label]),
            None if champion is None else float(champion.arrays[1][row, label]),
        )
        for row, label in zip(rows[surest], labels[surest], strict=True)
    ]


def frequent_mistakes(facts: Facts, scored: Scored, most: int) -> list[tuple[str, str, int]]:
    """Return (label, "missed" or "added", rows) of the most frequent mistakes."""
    true, given = scored.arrays[0], scored.arrays[1] >= THRESHOLD
    counts = [
        *(
            (label, "missed", int(count))
            for label, count in zip(facts.labels, (true & ~given).sum(axis=0), strict=True)
        ),
        *((label, "added", int(count)) for label, count in zip(facts.labels, (given & ~true).sum(axis=0), strict=True)),
    ]
    return sorted((mistake for mistake in counts if mistake[2]), key=lambda mistake: -mistake[2])[:most]


def _page(facts: Facts) -> dict[str, Any]:
    models = {name: scored for name, scored in facts.scored.items() if len(scored)}
    true, probabilities = facts.scored[CHALLENGER].arrays
    roc = label_roc_curves(facts.labels, true, probabilities)
    precision_recall = label_precision_recall_curves(facts.labels, true, probabilities)
    calibrated = {name: fit for name, scored in models.items() if (fit := pairs_reliability(scored)) is not None}
    return {
        "label_rows": label_rows(facts, roc, precision_recall),
        "mistakes": {name: frequent_mistakes(facts, scored, MOST_CONFUSIONS) for name, scored in models.items()},
        "curve_figures": _curve_figures(facts, models, calibrated),
        "curveless": [row["label"] for row in facts.metrics["labels"] if not row["support"]],
        "calibrated": calibrated,
        "errors": wrong_pairs(facts, MOST_ERRORS),
        "wrong": int((true != (probabilities >= THRESHOLD)).sum()),
        "pairs": true.size,
    }


def _curve_figures(facts: Facts, models: Mapping[str, Scored], calibrated: Mapping[str, Reliability]) -> list[Drawing]:
    if not calibrated:
        return []
    drawn = [figures.calibration(calibrated, "probability of a label", "share that has it", "pairs")]
    both = {name: scored.arrays for name, scored in models.items()}
    true, probabilities = both[CHALLENGER]
    if 0 < true.sum() < true.size:
        curves = {name: micro_curves(*arrays) for name, arrays in both.items()}
        singles = (
            label_roc_curves(facts.labels, true, probabilities),
            label_precision_recall_curves(facts.labels, true, probabilities),
        )
        drawn = [
            figures.roc(
                {name: pair[0] for name, pair in curves.items()}, {CHALLENGER: list(singles[0].values())}, None
            ),
            figures.precision_recall(
                {name: pair[1] for name, pair in curves.items()}, {CHALLENGER: list(singles[1].values())}, None
            ),
            *drawn,
        ]
    return drawn


def _results_brief(facts: Facts) -> dict[str, str]:
    return {"labels": labels_brief(label_rows(facts), "Labels", "test rows")}


def _errors_brief(facts: Facts) -> str:
    rows = [
        [
            texts_cell(error.texts),
            escaped(error.label, 60),
            "missed" if error.there else "added",
            figure(error.probability),
        ]
        for error in wrong_pairs(facts, MOST_BRIEF_ERRORS)
    ]
    return errors_section(facts, "Most confident errors", ["text", "label", "answer", "probability"], rows)


def _use(facts: Facts) -> str:
    return f"Gives {rows_of(facts)} any number of {len(facts.labels)} labels, also none: {', '.join(facts.labels)}"


def _limits(facts: Facts) -> list[str]:
    calibration = pairs_reliability(facts.scored[CHALLENGER])
    found = [
        f"A row gets the labels whose probability is at least {THRESHOLD:g}; no other threshold was measured.",
        *weakest(facts, "label", "rows"),
    ]
    if calibration is not None:
        found.append(
            f"The probability of a label is off by {calibration.error:.4f} on average (expected calibration error)."
        )
    return found


MULTI_LABEL = ProblemReport(
    sections={"labels": "Labels", "curves": "Curves"},
    page=_page,
    results_brief=_results_brief,
    errors_brief=_errors_brief,
    use=_use,
    limits=_limits,
    baseline="gives each label the share of train's rows that have it as its probability",
)
