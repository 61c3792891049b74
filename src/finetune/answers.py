"""The untouched test split, and the answers that models gave to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune.comparison import count_slices
from finetune.data.manifest import LABEL, SEEN_IN_TRAIN, TEST_FILE, DatasetManifest, examples_sha256, slices_sha256
from finetune.errors import InputError
from finetune.gate import TestRows


def read_test_rows(dataset: Path, manifest: DatasetManifest) -> pd.DataFrame:
    """Read the test split and prove that it is the one prep wrote.

    Raises:
        InputError: the file is missing, unreadable, or its rows do not have the digest in the manifest.
    """
    path = dataset / TEST_FILE
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable: {error}; expected the test split that prep writes") from None
    expected = manifest.splits["test"].sha256
    if (found := examples_sha256(frame)) != expected:
        raise InputError(
            f"{path}: the rows' sha256 is {found}, expected {expected}: the test split was changed after prep"
        )
    if slices_sha256(frame) != manifest.slices_sha256:
        raise InputError(f"{path}: the columns to slice by were changed after prep")
    summary, marks = manifest.splits["test"], frame.get(SEEN_IN_TRAIN, pd.Series(dtype=str)).value_counts()
    counts = {mark: int(marks.get(mark, 0)) for mark in ("exact", "normalised", "no")}
    expected_counts = {"exact": summary.seen_in_train, "normalised": summary.nearly_seen_in_train}
    expected_counts["no"] = summary.rows - sum(expected_counts.values())
    if counts != expected_counts:
        raise InputError(
            f"{path}: its column {SEEN_IN_TRAIN} counts {counts}, expected {expected_counts}: it was changed after prep"
        )
    return frame


def choose_test_rows(
    frame: pd.DataFrame, sha256: str, labels: Sequence[str], text_columns: Sequence[str], subtract: bool
) -> tuple[pd.DataFrame, TestRows]:
    """Leave test rows that occur in train out, where the policy says so.

    Args:
        frame: the whole test split.
        sha256: its digest.
        labels: the label names.
        text_columns: those with texts.
        subtract: leave them out; else they stay and are counted.

    Returns:
        The rows to measure on, and what the gate has to know of them.
    """
    seen = frame[SEEN_IN_TRAIN] != "no"
    kept = frame[~seen].reset_index(drop=True) if subtract else frame
    counts = count_slices(frame, ~seen.to_numpy() if subtract else np.ones(len(frame), dtype=bool), text_columns)
    unmeasured = tuple(label for label in labels if label not in set(kept[LABEL]))
    found = int(seen.sum())
    return kept, TestRows(sha256, len(kept), 0 if subtract else found, found if subtract else 0, unmeasured, counts)


def label_ids(frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return the rows' label ids, shape (n,)."""
    ids = {label: i for i, label in enumerate(labels)}
    return frame[LABEL].map(ids).to_numpy(dtype=np.int64)


def predictions_frame(
    frame: pd.DataFrame, labels: Sequence[str], probabilities: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return the test rows with each model's label, and its probability of every label as "<model>:<label>".

    Args:
        frame: the measured rows.
        labels: the label names.
        probabilities: of each model, shape (n, labels).
    """
    answers: dict[str, Any] = {}
    for model, found in probabilities.items():
        answers[model] = np.array([labels[i] for i in found.argmax(axis=1)], dtype=object)
        answers |= {f"{model}:{label}": found[:, i] for i, label in enumerate(labels)}
    return pd.concat([frame, pd.DataFrame(answers, index=frame.index)], axis=1)


def answered_probabilities(answered: pd.DataFrame, model: str, labels: Sequence[str]) -> np.ndarray | None:
    """Return a model's probabilities, shape (n, labels); None when predictions.parquet does not hold it."""
    if model not in answered.columns:
        return None
    probabilities: np.ndarray = answered[[f"{model}:{label}" for label in labels]].to_numpy(dtype=np.float64)
    return probabilities
