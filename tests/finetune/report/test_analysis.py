from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finetune.report.analysis import (
    confident_errors,
    frequent_confusions,
    importance,
    micro_curves,
    reliability,
    roc_curves,
    slice_rows,
)
from finetune.report.facts import Answered, Facts, Sweep, Trial
from finetune.verdict import CHALLENGER

MakeFacts = Callable[..., Facts]


def answered(true: list[str], rows: list[list[float]]) -> tuple[pd.DataFrame, Answered]:
    probabilities = np.array(rows)
    frame = pd.DataFrame({"text": ["t"] * len(true), "label": true})
    return frame, Answered(probabilities.argmax(axis=1), probabilities)


def test_calibration_error_is_the_weighted_distance(make_facts: MakeFacts) -> None:
    # Four answers at 0.9, of which three are right; one at 0.6, right: (4 · 0.15 + 1 · 0.4) / 5.
    frame, model = answered(["a", "a", "a", "b", "a"], [[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    facts = replace(make_facts(labels=("a", "b")), predictions=frame)
    found = reliability(facts, model)
    assert found.error == pytest.approx((4 * 0.15 + 0.4) / 5)
    assert found.rows.tolist() == [1, 4]
    assert found.accuracy.tolist() == [1.0, 0.75]


def test_sure_answers_fall_into_the_last_bin(make_facts: MakeFacts) -> None:
    frame, model = answered(["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
    assert reliability(replace(make_facts(labels=("a", "b")), predictions=frame), model).error == 0


def test_areas_agree_with_the_metrics(make_facts: MakeFacts) -> None:
    facts = make_facts(labels=("a", "b"))
    model = facts.answered(CHALLENGER)
    assert model is not None
    assert roc_curves(facts, model)[1].area == pytest.approx(facts.metrics["metrics"][CHALLENGER]["auc_weighted"])


def test_labels_without_rows_have_no_roc_curve(make_facts: MakeFacts) -> None:
    frame, model = answered(["a", "a"], [[0.9, 0.1], [0.4, 0.6]])
    facts = replace(make_facts(labels=("a", "b")), predictions=frame)
    assert roc_curves(facts, model) == {}
    roc, precision_recall = micro_curves(facts, model)
    assert 0 <= roc.area <= 1
    assert 0 <= precision_recall.area <= 1


def test_errors_are_those_the_challenger_was_surest_of(make_facts: MakeFacts) -> None:
    facts = make_facts()
    errors = confident_errors(facts, 5)
    assert [error.row for error in errors] == [0, 1, 2, 3, 4]
    assert all(error.true != error.predicted for error in errors)
    assert sorted((error.probability for error in errors), reverse=True) == [error.probability for error in errors]
    assert errors[0].champion == facts.predictions["champion"].iloc[0]


def test_confusions_are_counted_without_right_answers(make_facts: MakeFacts) -> None:
    frame, model = answered(["a", "a", "a", "b"], [[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]])
    facts = replace(make_facts(labels=("a", "b")), predictions=frame)
    assert frequent_confusions(facts, model, 5) == [("a", "b", 2), ("b", "a", 1)]


def test_slices_are_those_of_the_metrics_worst_first(make_facts: MakeFacts) -> None:
    facts = make_facts()
    rows = slice_rows(facts)
    compared = facts.metrics["comparison"]["slices"]
    assert {row.name for row in rows} == set(compared)
    assert [row.low for row in rows] == sorted(part["low"] for part in compared.values())
    for row in rows:
        assert row.champion is not None
        assert row.challenger - row.champion == pytest.approx(compared[row.name]["value"])


def test_slices_of_a_first_model_have_intervals_of_their_own(make_facts: MakeFacts) -> None:
    for row in slice_rows(make_facts(champion=None)):
        assert 0 <= row.low <= row.challenger <= row.high <= 1
        assert row.champion is None


def trials(count: int) -> tuple[Trial, ...]:
    rates = np.geomspace(1e-5, 1e-2, count)
    return tuple(
        Trial(str(i), "FINISHED", {"learning_rate": str(rate), "seed": str(i % 2), "optim": "x"}, ((0, float(i)),))
        for i, rate in enumerate(rates)
    )


def test_importance_finds_what_the_score_hangs_on() -> None:
    found = importance(trials(12))
    assert found is not None
    assert next(iter(found)) == "learning_rate"
    assert "optim" not in found
    assert sum(found.values()) == pytest.approx(1)
    assert found["learning_rate"] > 0.9


def test_importance_is_not_guessed_from_few_trials() -> None:
    assert importance(trials(7)) is None
    early = tuple(replace(trial, status="KILLED") for trial in trials(12)[:6])
    assert importance((*early, *trials(12)[6:])) is None
    assert importance(tuple(replace(trial, scores=((0, 0.5),)) for trial in trials(12))) is None


def test_a_sweep_of_one_trial_is_drawn(make_facts: MakeFacts) -> None:
    from finetune.report.page import render_page

    page = render_page(make_facts(sweep=Sweep(trials(1))))
    assert "1 trial logged a score" in page
    assert "not estimated: it takes 8 trials" in page
    assert "Loss curves: not known" in page
