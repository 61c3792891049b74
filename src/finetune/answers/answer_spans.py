"""Answers that are a piece of the context."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed, mean_of
from finetune.data.label_texts import read_spans
from finetune.data.manifest import LABEL, DatasetManifest
from finetune.errors import InputError
from finetune.metrics.extraction import EXTRACTION_METRICS, extraction_metrics, extraction_scores

CONTEXT, QUESTION = "context", "question"
SCORE = ":score"


def accepted_answers(frame: pd.DataFrame) -> list[list[str]]:
    """Return the texts that are right, at least one for each row."""
    return [[span.text for span in read_spans(text)] for text in frame[LABEL]]


def _read(answer: pd.DataFrame, rows: pd.DataFrame, manifest: DatasetManifest, labels: Sequence[str]) -> Columns:
    if len(answer) != len(rows):
        raise InputError(f"it answers {len(answer)} rows; it was asked for {len(rows)}")
    scores = np.asarray(answer["score"].tolist(), dtype=np.float64)
    if scores.shape != (len(rows),) or not np.isfinite(scores).all():
        raise InputError(f"its scores are not {len(rows)} finite numbers")
    columns = (answer[name].tolist() for name in ("answer", "start", "end"))
    for row, (text, start, end, context) in enumerate(zip(*columns, rows[CONTEXT], strict=True)):
        if not _is_offset(start) or not _is_offset(end) or not 0 <= start <= end <= len(context):
            raise InputError(
                f"its answer to test row {row} lies from {start} to {end} of a context of {len(context)} characters"
            )
        if text != context[start:end]:
            raise InputError(f"its answer to test row {row} is {text!r}; from {start} to {end} stands another text")
    return {"": answer["answer"].tolist(), SCORE: scores}


def _is_offset(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _empty(manifest: DatasetManifest) -> Columns:
    return {"": np.zeros(0, dtype=object), SCORE: np.zeros(0)}


def _scored(frame: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored:
    answers = frame[model].tolist()
    for row, (answer, context) in enumerate(zip(answers, frame[CONTEXT], strict=True)):
        if not isinstance(answer, str) or answer not in context:
            raise InputError(f"the {model}'s answer to test row {row} does not stand in the context")
    try:
        scores = frame[f"{model}{SCORE}"].to_numpy(dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"no scores of the {model}: {error}") from None
    if not np.isfinite(scores).all():
        raise InputError(f"the {model}'s scores are not all finite numbers")
    return Scored((extraction_scores(answers, accepted_answers(frame)),))


def _place(name: str) -> int:
    return EXTRACTION_METRICS.index(name)


def _by_sums(name: str, scored: Scored) -> Summed:
    return mean_of(scored.arrays[0][:, _place(name)])


def _right(name: str, scored: Scored) -> np.ndarray | None:
    return scored.arrays[0][:, _place(name)] == 1 if name == "exact_match" else None


def _baseline(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, float]:
    return extraction_metrics(extraction_scores([""] * len(frame), accepted_answers(frame)))


ANSWER_SPANS = AnswerKind(
    read=_read,
    empty=_empty,
    scored=_scored,
    metrics=lambda scored: extraction_metrics(*scored.arrays),
    metric=lambda name, scored: float(scored.arrays[0][:, _place(name)].mean()),
    by_sums=_by_sums,
    right=_right,
    per_label=lambda scored: [],
    baseline=_baseline,
    baseline_name="no answer",
    label_slices=lambda frame, manifest: {},
    unmeasured=lambda frame, manifest: (),
)
