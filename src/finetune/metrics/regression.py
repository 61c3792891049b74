"""Metrics of regression: a label is a number."""

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

REGRESSION_METRICS = ("pearson", "spearman", "r2", "mae", "rmse")
LOWER_IS_BETTER = ("mae", "rmse")


def regression_metrics(true: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Measure predictions.

    Args:
        true: the labels, shape (n,).
        values: the answers, shape (n,).

    Returns:
        Pearson's and Spearman's correlation (as GLUE has them for STS-B; absent where labels or answers are all the
        same), r2 (share of the labels' variance explained), mae and rmse (mean absolute, root mean squared error, in
        the label's unit; less is better).
    """
    measured = {name: regression_metric(name, true, values) for name in REGRESSION_METRICS}
    return {name: value for name, value in measured.items() if not np.isnan(value)}


def regression_metric(name: str, true: np.ndarray, values: np.ndarray) -> float:
    """Return one of `regression_metrics`; NaN when it is not defined on these rows."""
    if name == "mae":
        return float(mean_absolute_error(true, values))
    if name == "rmse":
        return float(root_mean_squared_error(true, values))
    if len(true) < 2 or np.ptp(true) == 0:
        return float("nan")
    if name == "r2":
        return float(r2_score(true, values))
    if np.ptp(values) == 0:
        return float("nan")
    correlate = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name]
    return float(correlate(true, values).statistic)
