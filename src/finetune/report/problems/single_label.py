"""One label a row: confusion, curves of each label, calibration, the most confident errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.answers import Scored
from finetune.report import figures
from finetune.report.curves import (
    Curve,
    Reliability,
    label_precision_recall_curves,
    label_roc_curves,
    micro_curves,
    reliability,
)
from finetune.report.facts import Facts
from finetune.report.labels import confusion, frequent_confusions, label_rows, labels_brief, weakest
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

_MATRIX_TABLE_LABELS = 40


@dataclass(frozen=True)
class ConfidentError:
    """A wrong answer."""

    row: int
    """Of predictions.parquet, counted from 0."""
    texts: Mapping[str, str]
    true: str
    predicted: str
    probability: float
    champion: str | None


def predicted(scored: Scored) -> np.ndarray:
    """Return the ids of the answers, shape (n,)."""
    return scored.arrays[1].argmax(axis=1)


def hits(scored: Scored) -> np.ndarray:
    """Return whether a row has a label, bool, shape (n, labels)."""
    return scored.arrays[0][:, None] == np.arange(len(scored.names))


def answers_reliability(scored: Scored) -> Reliability | None:
    """Return how well the probability of a model's answers fits how often they are right; None without a row."""
    return reliability(scored.arrays[1].max(axis=1), predicted(scored) == scored.arrays[0])


def confident_errors(facts: Facts, most: int) -> list[ConfidentError]:
    """Return the wrong answers that the challenger was surest of."""
    scored, frame = facts.scored[CHALLENGER], facts.predictions
    true, confidence = scored.arrays[0], scored.arrays[1].max(axis=1)
    wrong = np.flatnonzero(predicted(scored) != true)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        ConfidentError(
            int(row),
            facts.texts_of(row),
            str(facts.labels[true[row]]),
            str(frame[CHALLENGER].iloc[row]),
            float(confidence[row]),
            str(frame[CHAMPION].iloc[row]) if CHAMPION in frame else None,
        )
        for row in surest
    ]


def _page(facts: Facts) -> dict[str, Any]:
    models = {name: scored for name, scored in facts.scored.items() if len(scored)}
    calibrated = {name: fit for name, scored in models.items() if (fit := answers_reliability(scored)) is not None}
    challenger = facts.scored[CHALLENGER]
    matrices = {
        name: confusion(scored.arrays[0], predicted(scored), len(facts.labels)) for name, scored in models.items()
    }
    return {
        "label_rows": label_rows(
            facts,
            label_roc_curves(facts.labels, hits(challenger), challenger.arrays[1]),
            label_precision_recall_curves(facts.labels, hits(challenger), challenger.arrays[1]),
        ),
        "confusions": [
            (
                name,
                figures.confusion_matrix(name, facts.labels, counts),
                frequent_confusions(counts, facts.labels, MOST_CONFUSIONS),
                counts.tolist() if len(facts.labels) <= _MATRIX_TABLE_LABELS else None,
            )
            for name, counts in matrices.items()
        ],
        "curve_figures": _curve_figures(facts.labels, models, calibrated),
        "curveless": [row["label"] for row in facts.metrics["labels"] if not row["support"]],
        "calibrated": calibrated,
        "errors": confident_errors(facts, MOST_ERRORS),
        "wrong": int((predicted(challenger) != challenger.arrays[0]).sum()),
    }


def _curve_figures(
    labels: Sequence[str], models: Mapping[str, Scored], calibrated: Mapping[str, Reliability]
) -> Sequence[Drawing]:
    if not calibrated:
        return []
    binary = len(labels) == 2
    roc: dict[str, Curve] = {}
    precision_recall: dict[str, Curve] = {}
    singles: tuple[dict[str, Sequence[Curve]], dict[str, Sequence[Curve]]] = ({}, {})
    for name, scored in models.items():
        there, probabilities = hits(scored), scored.arrays[1]
        of_labels = (
            label_roc_curves(labels, there, probabilities),
            label_precision_recall_curves(labels, there, probabilities),
        )
        if not binary:
            roc[name], precision_recall[name] = micro_curves(there, probabilities)
            if name == CHALLENGER:
                singles = {name: list(of_labels[0].values())}, {name: list(of_labels[1].values())}
        elif 1 in of_labels[0]:
            roc[name], precision_recall[name] = of_labels[0][1], of_labels[1][1]
    positive = labels[1] if binary else None
    drawn = [figures.calibration(calibrated, "probability of the answer", "share right")]
    if roc:
        drawn = [
            figures.roc(roc, singles[0], positive),
            figures.precision_recall(precision_recall, singles[1], positive),
            *drawn,
        ]
    return drawn


def _results_brief(facts: Facts) -> dict[str, str]:
    return {"labels": labels_brief(label_rows(facts), "Labels", "test rows")}


def _errors_brief(facts: Facts) -> str:
    rows = [
        [
            texts_cell(error.texts),
            escaped(error.true, 60),
            escaped(error.predicted, 60),
            figure(error.probability),
        ]
        for error in confident_errors(facts, MOST_BRIEF_ERRORS)
    ]
    return errors_section(facts, "Most confident errors", ["text", "true label", "answer", "probability"], rows)


def _use(facts: Facts) -> str:
    return f"Gives {rows_of(facts)} one of {len(facts.labels)} labels: {', '.join(facts.labels)}"


def _limits(facts: Facts) -> list[str]:
    calibration = answers_reliability(facts.scored[CHALLENGER])
    found = [
        "It always answers one of its labels, also to a text that none of them fits; how it answers such texts was not "
        "measured.",
        *weakest(facts, "label", "rows"),
    ]
    if calibration is not None:
        found.append(f"Its probabilities are off by {calibration.error:.4f} on average (expected calibration error).")
    return found


SINGLE_LABEL = ProblemReport(
    sections={"labels": "Labels", "curves": "Curves"},
    page=_page,
    results_brief=_results_brief,
    errors_brief=_errors_brief,
    use=_use,
    limits=_limits,
    baseline="always answers what is most frequent in train",
)
