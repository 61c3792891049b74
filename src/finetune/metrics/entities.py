"""Metrics of token classification, on whole entities: an entity counts when its words and its type are right.

Entities are read from tags as CoNLL's own script reads them, by seqeval (Nakayama 2018,
github.com/chakki-works/seqeval).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from seqeval.metrics.sequence_labeling import get_entities

ENTITY_METRICS = ("f1", "precision", "recall", "f1_macro", "accuracy")
LOWER_IS_BETTER: tuple[str, ...] = ()
OUTSIDE = "O"


def entity_types(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the types that tags such as B-PER and I-PER name, sorted."""
    return tuple(sorted({label.partition("-")[2] for label in labels if label != OUTSIDE}))


def entities_of(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return the entities of a row's tags: type, number of the first word and of the last."""
    return set(get_entities(list(tags)))


def entity_counts(
    types: Sequence[str], true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> np.ndarray:
    """Count each row's entities and words; sums over rows give every metric.

    Args:
        types: the entity types.
        true: a row's tags, one for each word.
        predicted: likewise.

    Returns:
        Shape (n, 3 * types + 2), int: for each type the entities that are right, answered and there; then the words
        with the right tag, and all words.
    """
    place = {name: i for i, name in enumerate(types)}
    counts = np.zeros((len(true), 3 * len(types) + 2), dtype=np.int64)
    for row, (wanted, found) in enumerate(zip(true, predicted, strict=True)):
        there, answered = entities_of(wanted), entities_of(found)
        for column, entities in enumerate((there & answered, answered, there)):
            for kind, _, _ in entities:
                if kind in place:
                    counts[row, 3 * place[kind] + column] += 1
        counts[row, -2] = sum(left == right for left, right in zip(wanted, found, strict=True))
        counts[row, -1] = len(wanted)
    return counts


def entity_metrics(counts: np.ndarray) -> dict[str, float]:
    """Measure predictions from `entity_counts` of the rows.

    Returns:
        f1, precision and recall over all entities, f1_macro (the mean of the types' F1), accuracy (share of words with
        the right tag).
    """
    return {name: entity_metric(name, counts) for name in ENTITY_METRICS}


def entity_metric(name: str, counts: np.ndarray) -> float:
    """Return one of `entity_metrics`; what has no entity to divide by is 0, as in seqeval."""
    total = counts.sum(axis=0)
    if name == "accuracy":
        return float(total[-2] / max(total[-1], 1))
    by_type = total[:-2].reshape(-1, 3)
    if name == "f1_macro":
        return float((2 * by_type[:, 0] / np.maximum(by_type[:, 1] + by_type[:, 2], 1)).mean())
    right, answered, there = by_type.sum(axis=0)
    divisor = {"f1": (answered + there) / 2, "precision": answered, "recall": there}[name]
    return float(right / divisor) if divisor else 0.0


def per_type_metrics(types: Sequence[str], counts: np.ndarray) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support (entities) of each type; None where there is no entity of it."""
    rows = []
    for name, (right, answered, there) in zip(types, counts.sum(axis=0)[:-2].reshape(-1, 3), strict=True):
        figures = {
            "precision": float(right / answered) if answered else 0.0,
            "recall": float(right / there) if there else 0.0,
            "f1": float(2 * right / (answered + there)) if answered + there else 0.0,
        }
        rows.append({"label": name, **{k: v if there else None for k, v in figures.items()}, "support": int(there)})
    return rows
