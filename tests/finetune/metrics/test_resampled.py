import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from finetune.metrics.classification import classification_metric
from finetune.metrics.resampled import COUNTED_METRICS, auc_weighted_by_ranks, metric_of_counts


@pytest.mark.parametrize("name", COUNTED_METRICS)
def test_counts_give_the_same_figures_as_answers(name: str) -> None:
    generator = np.random.default_rng(0)
    for labels, rows in ((2, 3), (2, 50), (5, 4), (5, 200), (28, 60)):
        true, probabilities = generator.integers(0, labels, rows), generator.random((rows, labels))
        counts = confusion_matrix(true, probabilities.argmax(axis=1), labels=np.arange(labels))
        names = [str(i) for i in range(labels)]
        assert metric_of_counts(name, counts) == pytest.approx(
            classification_metric(name, names, true, probabilities / probabilities.sum(axis=1, keepdims=True))
        )


def test_one_answer_to_everything_has_no_correlation() -> None:
    assert metric_of_counts("mcc", np.array([[3, 0], [2, 0]])) == 0.0


def test_ranks_give_the_same_area_as_curves() -> None:
    generator = np.random.default_rng(0)
    for labels, rows in ((2, 40), (3, 60), (6, 300)):
        true = generator.permutation(np.arange(rows) % labels)
        probabilities = generator.random((rows, labels)).round(2) + 0.01  # with ties
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        names = [str(i) for i in range(labels)]
        assert auc_weighted_by_ranks(true[:, None] == np.arange(labels), probabilities) == pytest.approx(
            classification_metric("auc_weighted", names, true, probabilities)
        )
    assert np.isnan(auc_weighted_by_ranks(np.tile([True, False], (4, 1)), np.full((4, 2), 0.5)))
