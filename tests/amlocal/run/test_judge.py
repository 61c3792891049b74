"""The policy applied to trials as they report, once to each report; and the best of them."""

import math

from amlocal.reader.search import EarlyTermination
from amlocal.run.records import TrialRecord
from amlocal.run.sweep.choice import best_trial, best_value
from amlocal.run.sweep.judge import Judge

BANDIT = EarlyTermination("bandit", slack_amount=0.1)


def trials(*curves):
    return {number: TrialRecord(number, {}, "Running", curve=curve) for number, curve in enumerate(curves)}


def test_each_report_is_judged_once():
    judge = Judge(BANDIT, "maximize")
    assert judge.reason_to_end(trials((0.5, 0.5), (0.5,)), 1) is None
    # Trial 0 has become better at interval 1 meanwhile (it cannot, but would show a second look).
    assert judge.reason_to_end(trials((0.9, 0.5), (0.5, 0.5)), 1) is not None
    assert judge.reason_to_end(trials((0.9, 0.9), (0.5, 0.5)), 1) is None


def test_several_new_reports_are_judged_one_after_the_other():
    judge = Judge(EarlyTermination("bandit", 2, 3, slack_amount=0.1), "maximize")
    curves = trials((0.1, 0.1, 0.1, 0.9, 0.9, 0.9), (0.1, 0.1, 0.1, 0.1, 0.95, 0.95))

    assert judge.reason_to_end(curves, 1).startswith("bandit at interval 4:")


def test_a_metric_that_is_no_finite_number_is_worse_than_any():
    for goal in ("maximize", "minimize"):
        for odd in (math.nan, math.inf, -math.inf):
            assert Judge(BANDIT, goal).reason_to_end(trials((0.5,), (odd,)), 1)
            assert Judge(BANDIT, goal).reason_to_end(trials((0.5,), (odd,)), 0) is None
            assert Judge(BANDIT, goal).reason_to_end(trials((odd,), (odd,)), 1) is None
    median = EarlyTermination("median_stopping")
    assert Judge(median, "minimize").reason_to_end(trials((0.5,), (0.6,), (math.nan,)), 2)
    assert Judge(median, "minimize").reason_to_end(trials((0.5,), (0.6,), (math.nan,)), 1) is None


def test_best_value_and_trial():
    assert (best_value("maximize", (0.1, 0.3, 0.2)), best_value("minimize", (0.1, 0.3, 0.2))) == (0.3, 0.1)
    assert best_value("maximize", (math.nan, math.inf, 0.2)) == 0.2
    assert best_value("minimize", (math.nan, -math.inf)) is None
    assert best_value("minimize", ()) is None

    def trial(number, best, status="Completed"):
        return TrialRecord(number, {}, status, best=best)

    several = [trial(0, 1.0), trial(1, 3.0), trial(2, 3.0), trial(3, 9.0, "Canceled"), trial(4, None), trial(5, 1.0)]
    assert best_trial("maximize", several).number == 1
    assert best_trial("minimize", several).number == 0
    assert best_trial("minimize", several[3:5]) is None
