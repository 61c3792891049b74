"""The table of labels, of the problems whose answers have names."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

from finetune.report.curves import Curve
from finetune.report.facts import Facts
from finetune.report.markdown import figure, table
from finetune.report.texts import escaped
from finetune.verdict import CHAMPION

_FIGURES = ("precision", "recall", "f1")
_MOST_LABELS = 40


@dataclass(frozen=True)
class LabelRow:
    """One label's figures; those of a model that was not measured, or of a label without rows, are None."""

    label: str
    rows: int
    challenger: Mapping[str, float | None]
    """precision, recall, f1."""
    champion: Mapping[str, float | None] | None
    roc_area: float | None
    average_precision: float | None


def label_rows(
    facts: Facts, roc: Mapping[int, Curve] | None = None, precision_recall: Mapping[int, Curve] | None = None
) -> list[LabelRow]:
    """Return a row per label or type of entities, in the order of metrics.json.

    Args:
        facts: of the report.
        roc: the challenger's curves by label id, where answers have probabilities.
        precision_recall: likewise.
    """
    champion = facts.scored.get(CHAMPION)
    old = None if champion is None else facts.kind.per_label(champion)
    roc, precision_recall = roc or {}, precision_recall or {}
    return [
        LabelRow(
            str(figures["label"]),
            int(figures["support"]),
            {name: figures[name] for name in _FIGURES},
            None if old is None else {name: old[i][name] for name in _FIGURES},
            roc[i].area if i in roc else None,
            precision_recall[i].area if i in precision_recall else None,
        )
        for i, figures in enumerate(facts.metrics["labels"])
    ]


def confusion(true: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Return counts, shape (labels, labels): rows are true label ids, columns those of the answers."""
    return confusion_matrix(true, predicted, labels=np.arange(labels))


def frequent_confusions(counts: np.ndarray, labels: tuple[str, ...], most: int) -> list[tuple[str, str, int]]:
    """Return (true label, answer, count) of the most frequent mistakes."""
    wrong = counts * ~np.eye(len(labels), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(labels[i], labels[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]


def labels_brief(rows: list[LabelRow], title: str, counted: str) -> str:
    """Return the table for report.md, lowest F1 first.

    Args:
        rows: of all labels.
        title: such as "Labels".
        counted: what is counted of each, such as "test rows".
    """
    found = sorted(rows, key=lambda row: -1.0 if row.challenger["f1"] is None else row.challenger["f1"])
    cells = [
        [
            escaped(row.label, 60),
            f"{row.rows:,}",
            *(figure(row.challenger[name]) for name in _FIGURES),
            figure(row.champion["f1"] if row.champion is not None else None),
        ]
        for row in found[:_MOST_LABELS]
    ]
    more = f"\nand {len(found) - _MOST_LABELS} {title.lower()} more\n" if len(found) > _MOST_LABELS else ""
    names = [title.lower().removesuffix("s"), counted, "precision", "recall", "F1", "champion's F1"]
    summary = f"<details><summary>{len(found)} {title.lower()}, lowest F1 first</summary>"
    return "\n".join(["", f"### {title}", "", summary, "", table(names, cells), more, "</details>", ""])


def weakest(facts: Facts, what: str, counted: str) -> list[str]:
    """Return what the label with the lowest F1 says about the model's limits, and labels that no row has."""
    labels = facts.metrics["labels"]
    lowest = min((row for row in labels if row["support"]), key=lambda row: row["f1"], default=None)
    unmeasured = [row["label"] for row in labels if not row["support"]]
    found = []
    if lowest is not None:
        found.append(
            f"Its weakest {what} is {lowest['label']}: F1 {lowest['f1']:.4f} on {lowest['support']:,} {counted}."
        )
    if unmeasured:
        found.append(f"No test row of {', '.join(unmeasured[:8])}: how it answers such texts was not measured.")
    return found
