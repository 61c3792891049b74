"""The untouched test split, and the table of the answers that models gave to it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from finetune.answers.kind import Columns
from finetune.answers.slices import count_slices
from finetune.answers.table import kind_of
from finetune.data.manifest import SEEN_IN_TRAIN, TEST_FILE, DatasetManifest, annotations_sha256, examples_sha256
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
    summary, marks = manifest.splits["test"], frame.get(SEEN_IN_TRAIN, pd.Series(dtype=str)).value_counts()
    counts = {mark: int(marks.get(mark, 0)) for mark in ("exact", "normalised", "no")}
    expected_counts = {"exact": summary.seen_in_train, "normalised": summary.nearly_seen_in_train}
    expected_counts["no"] = summary.rows - sum(expected_counts.values())
    if counts != expected_counts:
        raise InputError(
            f"{path}: its column {SEEN_IN_TRAIN} counts {counts}, expected {expected_counts}: it was changed after prep"
        )
    if annotations_sha256(frame) != manifest.annotations_sha256:
        raise InputError(f"{path}: the column {SEEN_IN_TRAIN} or one to slice by was changed after prep")
    return frame


def choose_test_rows(frame: pd.DataFrame, manifest: DatasetManifest, subtract: bool) -> tuple[pd.DataFrame, TestRows]:
    """Leave test rows that occur in train out, where the policy says so.

    Args:
        frame: the whole test split.
        manifest: of the data set.
        subtract: leave them out; else they stay and are counted.

    Returns:
        The rows to measure on, and what the gate has to know of them.
    """
    seen = frame[SEEN_IN_TRAIN] != "no"
    kept = frame[~seen].reset_index(drop=True) if subtract else frame
    counts = count_slices(frame, ~seen.to_numpy() if subtract else np.ones(len(frame), dtype=bool), manifest)
    unmeasured = kind_of(manifest).unmeasured(kept, manifest)
    found = int(seen.sum())
    sha256 = manifest.splits["test"].sha256
    return kept, TestRows(sha256, len(kept), 0 if subtract else found, found if subtract else 0, unmeasured, counts)


def predictions_frame(frame: pd.DataFrame, answers: Mapping[str, Columns]) -> pd.DataFrame:
    """Return the test rows with each model's answer as "<model>", and what else its kind keeps as "<model>:…".

    Args:
        frame: the measured rows.
        answers: columns of each model.
    """
    given = {f"{model}{name}": values for model, columns in answers.items() for name, values in columns.items()}
    return pd.concat([frame, pd.DataFrame(given, index=frame.index)], axis=1)
