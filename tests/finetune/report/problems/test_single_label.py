from collections.abc import Callable

import numpy as np
import pytest

from finetune.answers import Scored
from finetune.report.curves import label_roc_curves, micro_curves
from finetune.report.facts import Facts
from finetune.report.labels import confusion, frequent_confusions
from finetune.report.problems.single_label import answers_reliability, confident_errors, hits, predicted
from finetune.verdict import CHALLENGER

MakeFacts = Callable[..., Facts]
LABELS = ("a", "b")


def scored(true: list[int], rows: list[list[float]]) -> Scored:
    return Scored((np.array(true), np.array(rows)), LABELS)


def test_calibration_error_is_the_weighted_distance() -> None:
    # Four answers at 0.9, of which three are right; one at 0.6, right: (4 · 0.15 + 1 · 0.4) / 5.
    found = answers_reliability(scored([0, 0, 0, 1, 0], [[0.9, 0.1]] * 4 + [[0.6, 0.4]]))
    assert found is not None
    assert found.error == pytest.approx((4 * 0.15 + 0.4) / 5)
    assert found.rows.tolist() == [1, 4]
    assert found.accuracy.tolist() == [1.0, 0.75]


def test_sure_answers_fall_into_the_last_bin() -> None:
    found = answers_reliability(scored([0, 1], [[1.0, 0.0], [0.0, 1.0]]))
    assert found is not None
    assert found.error == 0
    assert answers_reliability(Scored((np.zeros(0, dtype=int), np.zeros((0, 2))), LABELS)) is None


def test_areas_agree_with_the_metrics(make_facts: MakeFacts) -> None:
    facts = make_facts(labels=LABELS)
    model = facts.scored[CHALLENGER]
    curves = label_roc_curves(LABELS, hits(model), model.arrays[1])
    assert curves[1].area == pytest.approx(facts.metrics["metrics"][CHALLENGER]["auc_weighted"])


def test_labels_without_rows_have_no_roc_curve() -> None:
    model = scored([0, 0], [[0.9, 0.1], [0.4, 0.6]])
    assert label_roc_curves(LABELS, hits(model), model.arrays[1]) == {}
    roc, precision_recall = micro_curves(hits(model), model.arrays[1])
    assert 0 <= roc.area <= 1
    assert 0 <= precision_recall.area <= 1


def test_errors_are_those_the_challenger_was_surest_of(make_facts: MakeFacts) -> None:
    facts = make_facts()
    errors = confident_errors(facts, 5)
    assert [error.row for error in errors] == [0, 1, 2, 3, 4]
    assert all(error.true != error.predicted for error in errors)
    assert sorted((error.probability for error in errors), reverse=True) == [error.probability for error in errors]
    assert errors[0].champion == facts.predictions["champion"].iloc[0]


def test_confusions_are_counted_without_right_answers() -> None:
    model = scored([0, 0, 0, 1], [[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]])
    counts = confusion(model.arrays[0], predicted(model), 2)
    assert counts.tolist() == [[1, 2], [1, 0]]
    assert frequent_confusions(counts, LABELS, 5) == [("a", "b", 2), ("b", "a", 1)]
