"""What the stages after training have to know of a kind of answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from finetune.data.manifest import DatasetManifest

Columns = Mapping[str, Any]
"""A model's columns in predictions.parquet, by what follows its name in theirs: "" holds the answer itself."""


@dataclass(frozen=True)
class Scored:
    """One model's answers beside what is right: all that is measured of them."""

    arrays: tuple[np.ndarray, ...]
    """Each with the test rows as its first dimension."""
    names: tuple[str, ...] = ()
    """Of labels or of entity types, where answers are among these."""
    positive: int | None = None
    """Place of the label whose F1 is `f1`, where there is one."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.arrays[0])

    def take(self, rows: np.ndarray) -> "Scored":
        """Return some of the rows, by number or by mask."""
        return replace(self, arrays=tuple(array[rows] for array in self.arrays))

    def above(self, other: "Scored") -> "Scored":
        """Return these rows followed by another model's."""
        pairs = zip(self.arrays, other.arrays, strict=True)
        return replace(self, arrays=tuple(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class Summed:
    """A metric that follows from sums over rows, so that it is cheap to measure again on rows drawn anew."""

    rows: np.ndarray
    """What is summed, shape (n, columns)."""
    of: Callable[[np.ndarray], float]
    """The sums, shape (columns,) → the metric; NaN where it is not defined."""


@dataclass(frozen=True)
class AnswerKind:
    """One row of the table: how answers of a problem are read, kept and measured."""

    read: Callable[[pd.DataFrame, pd.DataFrame, DatasetManifest, Sequence[str]], Columns]
    """(what the model's predict returned, the rows it was asked for, the data set, the model's own labels) → its
    columns. Raises InputError when these are no such answers, without the model's name."""
    empty: Callable[[DatasetManifest], Columns]
    """The columns of a model that was asked for no row."""
    scored: Callable[[pd.DataFrame, str, DatasetManifest], Scored]
    """(contents of predictions.parquet, a model's name in it, the data set) → what is measured. Raises InputError when
    the columns hold no such answers, KeyError when one is missing."""
    metrics: Callable[[Scored], dict[str, float]]
    """Every metric that is defined on the rows, of which there is at least one."""
    metric: Callable[[str, Scored], float]
    """One of them by name, also the slices' metric; NaN where it is not defined."""
    by_sums: Callable[[str, Scored], Summed | None]
    """The same from sums; None where it does not follow from any."""
    right: Callable[[str, Scored], np.ndarray | None]
    """Which rows are right, shape (n,), where the metric is the share of these; None where it is another thing."""
    per_label: Callable[[Scored], list[dict[str, Any]]]
    """Precision, recall, F1 and support of each name; none where answers have no names."""
    baseline: Callable[[pd.DataFrame, DatasetManifest], dict[str, float]]
    """(test rows, the data set) → metrics of answers that look at no text."""
    baseline_name: str
    """What the baseline answers, in a few words."""
    label_slices: Callable[[pd.DataFrame, DatasetManifest], dict[str, np.ndarray]]
    """(test rows, the data set) → masks of shape (n,) by the slice's name, each with a row in it."""
    unmeasured: Callable[[pd.DataFrame, DatasetManifest], tuple[str, ...]]
    """(test rows, the data set) → the names that no row has."""


def mean_of(values: np.ndarray) -> Summed:
    """Return the mean over rows as a metric.

    Args:
        values: shape (n,).
    """
    return Summed(np.column_stack([values, np.ones(len(values))]).astype(np.float64), lambda sums: sums[0] / sums[1])


def share_f1(right: float, answered: float, there: float) -> float:
    """Return the F1 of so many right ones among those answered and those there; 0 where there are none."""
    return float(2 * right / (answered + there)) if answered + there else 0.0
