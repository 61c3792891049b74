"""Parts of the test rows."""

import numpy as np
import pandas as pd

from finetune.answers.table import kind_of
from finetune.data.manifest import SLICE_PREFIX, DatasetManifest

MOST_SLICE_VALUES = 20


def slices(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, np.ndarray]:
    """Name parts of the test rows in which a loss could hide behind a gain elsewhere.

    Args:
        frame: the test rows.
        manifest: of the data set: the kind of its labels, and the text columns.

    Returns:
        A mask of shape (n,) per slice: each label that has a name, or type of entities; the shortest, middle and
        longest third of the texts by characters (of all text columns together), thirds that are equal in length not
        being told apart; and the values of the source's columns that prep kept, the 20 most frequent of each and one
        slice for all others. No row, no slice.
    """
    if frame.empty:
        return {}
    parts = kind_of(manifest).label_slices(frame, manifest)
    length = frame[list(manifest.text_columns)].apply(lambda column: column.str.len()).sum(axis=1).to_numpy()
    first, second = np.quantile(length, [1 / 3, 2 / 3])
    thirds = {"short": length <= first, "medium": (length > first) & (length <= second), "long": length > second}
    parts.update({f"length: {name}": mask for name, mask in thirds.items() if mask.any() and not mask.all()})
    for column in frame.columns:
        if column.startswith(SLICE_PREFIX):
            parts.update(_by_value(column.removeprefix(SLICE_PREFIX), frame[column]))
    return parts


def _by_value(name: str, values: pd.Series) -> dict[str, np.ndarray]:
    counts = values.value_counts()
    # The most rows first, and by name where they are equal: the same rows give the same slices.
    ordered = sorted(counts.index, key=lambda value: (-counts[value], value))
    parts = {f"{name}: {value}": (values == value).to_numpy() for value in ordered[:MOST_SLICE_VALUES]}
    if len(ordered) > MOST_SLICE_VALUES:
        parts[f"{name}: all other values"] = values.isin(ordered[MOST_SLICE_VALUES:]).to_numpy()
    return parts


def count_slices(split: pd.DataFrame, measured: np.ndarray, manifest: DatasetManifest) -> dict[str, int]:
    """Return how many rows were measured of each slice; 0 for a slice of the whole split of which none is left.

    Args:
        split: the whole test split.
        measured: mask of its rows that are measured, shape (n,).
        manifest: of the data set.
    """
    emptied = {name: 0 for name, mask in slices(split, manifest).items() if not (mask & measured).any()}
    return emptied | {name: int(mask.sum()) for name, mask in slices(split[measured], manifest).items()}
