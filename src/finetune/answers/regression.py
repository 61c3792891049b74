"""Answers that are a number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed, mean_of
from finetune.data.manifest import LABEL, MANIFEST, DatasetManifest
from finetune.errors import InputError
from finetune.metrics.known import NEGATIVE_ERROR
from finetune.metrics.regression import regression_metric, regression_metrics

_ROUNDING = 1e-12
"""A variance below this share of the mean square is what rounding leaves of 0."""


def label_values(frame: pd.DataFrame) -> np.ndarray:
    """Return the rows' labels as numbers, shape (n,)."""
    return frame[LABEL].map(float).to_numpy(dtype=np.float64)


def _read(answer: pd.DataFrame, rows: pd.DataFrame, manifest: DatasetManifest, labels: Sequence[str]) -> Columns:
    values = np.asarray(answer["value"].tolist(), dtype=np.float64)
    if values.shape != (len(rows),) or not np.isfinite(values).all():
        raise InputError(f"its values are not {len(rows)} finite numbers")
    return {"": values}


def _empty(manifest: DatasetManifest) -> Columns:
    return {"": np.zeros(0)}


def _scored(frame: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored:
    try:
        values = frame[model].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {model}'s answers are no numbers: {error}") from None
    if not np.isfinite(values).all():
        raise InputError(f"the {model}'s answers are not all finite numbers")
    return Scored((label_values(frame), values))


def _metrics(scored: Scored) -> dict[str, float]:
    return regression_metrics(*scored.arrays)


def _metric(name: str, scored: Scored) -> float:
    if name == NEGATIVE_ERROR:
        return -regression_metric("mae", *scored.arrays)
    return regression_metric(name, *scored.arrays)


def _by_sums(name: str, scored: Scored) -> Summed | None:
    true, values = scored.arrays
    if name in ("mae", NEGATIVE_ERROR):
        return mean_of(np.abs(values - true) * (1 if name == "mae" else -1))
    squares = (values - true) ** 2
    if name == "rmse":
        mean = mean_of(squares)
        return Summed(mean.rows, lambda sums: float(mean.of(sums) ** 0.5))
    # From their means, so that sums of squares keep their digits.
    x, y = true - true.mean(), values - values.mean()
    if name == "r2":
        return Summed(np.column_stack([np.ones(len(x)), x, x * x, squares]), _explained)
    if name == "pearson":
        return Summed(np.column_stack([np.ones(len(x)), x, x * x, y, y * y, x * y]), _correlation)
    return None


def _explained(sums: np.ndarray) -> float:
    rows, x, xx, squares = sums
    spread = _spread(rows, x, xx)
    return float(1 - squares * rows / spread) if spread else float("nan")


def _correlation(sums: np.ndarray) -> float:
    rows, x, xx, y, yy, xy = sums
    spread = _spread(rows, x, xx) * _spread(rows, y, yy)
    return float((rows * xy - x * y) / spread**0.5) if spread else float("nan")


def _spread(rows: float, total: float, squares: float) -> float:
    """Return the variance times the squared number of rows; 0 where all values are the same."""
    found = rows * squares - total**2
    return found if found > _ROUNDING * rows * squares else 0.0


def _baseline(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, float]:
    mean = manifest.splits["train"].label_mean
    if mean is None:
        raise InputError(f"{MANIFEST}: the train split has no label_mean; run prep again")
    true = label_values(frame)
    return regression_metrics(true, np.full(len(true), mean))


REGRESSION = AnswerKind(
    read=_read,
    empty=_empty,
    scored=_scored,
    metrics=_metrics,
    metric=_metric,
    by_sums=_by_sums,
    right=lambda name, scored: None,
    per_label=lambda scored: [],
    baseline=_baseline,
    baseline_name="train's mean",
    label_slices=lambda frame, manifest: {},
    unmeasured=lambda frame, manifest: (),
)
