import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from finetune.metrics.classification import (
    CLASSIFICATION_METRICS,
    classification_metrics,
    majority_class_metrics,
    per_label_metrics,
    softmax,
)

LABELS = ["a", "b", "c"]


def test_metrics_of_a_worked_example() -> None:
    true = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    metrics = classification_metrics(["a", "b"], true, probabilities, positive=1)
    assert tuple(metrics) == CLASSIFICATION_METRICS
    assert metrics["f1"] == pytest.approx(4 / 5)
    assert metrics["accuracy"] == 0.75
    # Label a: precision 1, recall 1/2, F1 2/3. Label b: precision 2/3, recall 1, F1 4/5.
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    # All four (a, b) pairs are ranked as they should be.
    assert metrics["auc_weighted"] == 1.0
    assert metrics["mcc"] == pytest.approx((1 * 2 - 1 * 0) / np.sqrt(3 * 2 * 2 * 1))
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.8, 0.7])))


def test_f1_is_absent_without_a_positive_label() -> None:
    metrics = classification_metrics(["a", "b"], np.array([0, 1]), np.array([[0.9, 0.1], [0.4, 0.6]]))
    assert "f1" not in metrics


def test_auc_is_weighted_by_the_labels_counts() -> None:
    true = np.array([0, 0, 0, 1, 2])
    probabilities = softmax(np.array([[2, 0, 0], [0, 1, 0], [2, 0, 1], [1, 2, 0], [0, 0.5, 0]], dtype=float))
    metrics = classification_metrics(LABELS, true, probabilities)
    expected = [roc_auc_score(true == i, probabilities[:, i]) for i in range(3)]
    assert metrics["auc_weighted"] == pytest.approx(np.average(expected, weights=[3, 1, 1]))


def test_auc_is_absent_when_a_label_has_no_row() -> None:
    metrics = classification_metrics(LABELS, np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    assert "auc_weighted" not in metrics
    assert metrics["accuracy"] == 1.0


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1000.0, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_per_label() -> None:
    rows = per_label_metrics(LABELS, np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert [row["label"] for row in rows] == LABELS
    assert [row["support"] for row in rows] == [2, 1, 0]
    assert rows[0]["recall"] == 0.5
    assert rows[1]["precision"] == 0.5
    assert [rows[2][name] for name in ("precision", "recall", "f1")] == [None] * 3


def test_the_majority_baseline_has_no_skill() -> None:
    metrics = majority_class_metrics(["a", "b"], [30, 10], np.array([0, 1, 0, 0]))
    assert metrics["accuracy"] == 0.75
    assert metrics["mcc"] == 0.0
    assert metrics["auc_weighted"] == 0.5
