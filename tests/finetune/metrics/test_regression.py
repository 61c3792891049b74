import numpy as np
import pytest

from finetune.metrics.regression import regression_metrics


def test_figures_worked_out_by_hand() -> None:
    measured = regression_metrics(np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 2.0, 1.0, 5.0]))
    assert measured["mae"] == 0.5
    assert measured["rmse"] == pytest.approx(0.5**0.5)
    assert measured["spearman"] == pytest.approx(0.8)
    assert measured["r2"] == pytest.approx(1 - 2 / 14)
    assert measured["pearson"] == pytest.approx(13 / 14)


def test_correlations_are_absent_where_all_are_the_same() -> None:
    assert set(regression_metrics(np.array([1.0, 2.0]), np.array([1.0, 1.0]))) == {"r2", "mae", "rmse"}
    assert set(regression_metrics(np.array([1.0, 1.0]), np.array([1.0, 2.0]))) == {"mae", "rmse"}
