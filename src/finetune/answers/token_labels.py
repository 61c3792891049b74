"""Answers that are a tag for each word."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed
from finetune.data.label_texts import read_tags
from finetune.data.manifest import LABEL, DatasetManifest
from finetune.errors import InputError
from finetune.metrics.entities import (
    OUTSIDE,
    entity_counts,
    entity_metric,
    entity_metrics,
    entity_types,
    per_type_metrics,
)
from finetune.tasks import task_named


def tags_of(texts: pd.Series) -> list[list[str]]:
    """Return each row's tags."""
    return [read_tags(text) for text in texts]


def _words(frame: pd.DataFrame, manifest: DatasetManifest) -> list[list[str]]:
    (column,) = task_named(manifest.task).text_columns
    return [text.split() for text in frame[column]]


def _check_tags(rows: Sequence[Sequence[str]], words: Sequence[Sequence[str]], manifest: DatasetManifest) -> None:
    known = {*manifest.labels, OUTSIDE}
    for row, (tags, asked) in enumerate(zip(rows, words, strict=True)):
        if len(tags) != len(asked):
            raise InputError(f"{len(tags)} tags for the {len(asked)} words of test row {row}")
        unknown = next((tag for tag in tags if tag not in known), None)
        if unknown is not None:
            raise InputError(f"{unknown!r} in test row {row} is none of the data set's tags")


def _read(answer: pd.DataFrame, rows: pd.DataFrame, manifest: DatasetManifest, labels: Sequence[str]) -> Columns:
    tags = [list(found) for found in answer["tags"]]
    if len(tags) != len(rows):
        raise InputError(f"it answers {len(tags)} rows; it was asked for {len(rows)}")
    _check_tags(tags, _words(rows, manifest), manifest)
    return {"": [" ".join(found) for found in tags]}


def _empty(manifest: DatasetManifest) -> Columns:
    return {"": np.zeros(0, dtype=object)}


def _scored(frame: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored:
    words, tags = _words(frame, manifest), tags_of(frame[model])
    try:
        _check_tags(tags, words, manifest)
    except InputError as error:
        raise InputError(f"the {model}'s answers: {error}") from None
    types = entity_types(manifest.labels)
    return Scored((entity_counts(types, tags_of(frame[LABEL]), tags),), types)


def _by_sums(name: str, scored: Scored) -> Summed:
    (counts,) = scored.arrays
    return Summed(counts.astype(np.float64), lambda sums: entity_metric(name, sums[None, :]))


def _baseline(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, float]:
    true = tags_of(frame[LABEL])
    return entity_metrics(entity_counts(entity_types(manifest.labels), true, [[OUTSIDE] * len(tags) for tags in true]))


def type_masks(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, np.ndarray]:
    """Return which rows have an entity, by its type; shape (n,) each."""
    types = [{tag.partition("-")[2] for tag in tags if tag != OUTSIDE} for tags in tags_of(frame[LABEL])]
    return {name: np.array([name in found for found in types], dtype=bool) for name in entity_types(manifest.labels)}


def _label_slices(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, np.ndarray]:
    return {f"label: {name}": mask for name, mask in type_masks(frame, manifest).items() if mask.any()}


def _unmeasured(frame: pd.DataFrame, manifest: DatasetManifest) -> tuple[str, ...]:
    return tuple(name for name, mask in type_masks(frame, manifest).items() if not mask.any())


TOKEN_LABELS = AnswerKind(
    read=_read,
    empty=_empty,
    scored=_scored,
    metrics=lambda scored: entity_metrics(*scored.arrays),
    metric=lambda name, scored: entity_metric(name, *scored.arrays),
    by_sums=_by_sums,
    right=lambda name, scored: None,
    per_label=lambda scored: per_type_metrics(scored.names, *scored.arrays),
    baseline=_baseline,
    baseline_name="no entity",
    label_slices=_label_slices,
    unmeasured=_unmeasured,
)
