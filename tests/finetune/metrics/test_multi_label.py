import numpy as np
import pytest

from finetune.metrics.multi_label import multi_label_metrics, per_label_metrics, sigmoid

TRUE = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)
PROBABILITIES = np.array([[0.9, 0.1, 0.4], [0.2, 0.8, 0.1], [0.3, 0.2, 0.1], [0.6, 0.5, 0.7]])
"""Answers: {0}, {1}, {}, {0, 1, 2}; right are {0, 2}, {1}, {}, {0, 1}."""


def test_figures_worked_out_by_hand() -> None:
    measured = multi_label_metrics(TRUE, PROBABILITIES)
    assert measured["accuracy"] == 0.5
    assert measured["hamming_loss"] == pytest.approx(2 / 12)
    assert measured["f1_micro"] == pytest.approx(2 * 4 / (5 + 5))
    assert measured["f1_macro"] == pytest.approx((1 + 1 + 0) / 3)
    assert measured["f1_samples"] == pytest.approx((2 / 3 + 1 + 1 + 4 / 5) / 4)


def test_areas_are_absent_without_rows_on_both_sides() -> None:
    assert "auc_weighted" in multi_label_metrics(TRUE, PROBABILITIES)
    assert "auc_weighted" not in multi_label_metrics(TRUE & [True, True, False], PROBABILITIES)


def test_a_label_without_rows_has_no_figures() -> None:
    rows = per_label_metrics(["a", "b", "c"], TRUE & [True, True, False], PROBABILITIES >= 0.5)
    assert [row["support"] for row in rows] == [2, 2, 0]
    assert rows[0]["f1"] == 1.0
    assert rows[2]["f1"] is None


def test_sigmoid_of_large_logits_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid(np.array([-200.0, 0.0, 800.0])).tolist() == pytest.approx([0.0, 0.5, 1.0])
