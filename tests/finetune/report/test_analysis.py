from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from finetune.report.analysis import importance, slice_rows
from finetune.report.facts import Facts
from finetune.report.trials import Sweep, Trial

MakeFacts = Callable[..., Facts]


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
