"""What early termination saved: arithmetic that can be done by hand."""

from amlocal.run.records import Savings, TrialRecord
from amlocal.run.sweep.savings import described, estimate, saved_by


def completed(number, cpu, **fields):
    return TrialRecord(number, {}, "Completed", cpu_seconds=cpu, **fields)


def ended(number, cpu):
    return TrialRecord(number, {}, "Canceled", "bandit", cpu_seconds=cpu, ended_early=True)


def test_an_ended_trial_would_have_used_what_the_median_completed_one_did():
    trials = [completed(0, 90.0), completed(1, 100.0), completed(2, 300.0), ended(3, 20.0), ended(4, 60.0)]

    assert [saved_by(trial, trials) for trial in trials] == [None, None, None, 80.0, 40.0]
    assert estimate(trials) == Savings(trials=2, used=570.0, saved=120.0, basis=3)


def test_nothing_is_saved_on_a_trial_that_took_longer_than_the_others():
    assert saved_by(ended(1, 150.0), [completed(0, 100.0)]) == 0.0


def test_reused_trials_tell_what_one_costs_but_cost_nothing_themselves():
    trials = [completed(0, 100.0, reused_from="before"), completed(1, 100.0), ended(2, 10.0)]

    assert estimate(trials) == Savings(trials=1, used=110.0, saved=90.0, basis=2)


def test_failed_timed_out_and_canceled_trials_are_no_savings_and_no_basis():
    failed = TrialRecord(1, {}, "Failed", cpu_seconds=1.0)
    timed_out = TrialRecord(2, {}, "Canceled", "the trial's timeout of 5 s passed", cpu_seconds=5.0)

    assert estimate([completed(0, 10.0), failed, timed_out]) == Savings(trials=0, used=16.0, saved=0, basis=1)


def test_no_figure_without_a_completed_trial():
    assert estimate([ended(0, 10.0)]) == Savings(trials=1, used=10.0, saved=None, basis=0)


def test_in_words():
    assert described(Savings(2, 280.0, 120.0, 5)) == (
        "early termination ended 2 trials and saved about 120 of 400 CPU-seconds (30 %), "
        "estimated from 5 completed trials"
    )
    assert described(Savings(1, 3.0, 0.0, 1)) == (
        "early termination ended 1 trial and saved about 0 of 3 CPU-seconds (0 %), estimated from 1 completed trial"
    )
    assert described(Savings(3, 3.0, None, 0)) == (
        "early termination ended 3 trials; what that saved cannot be estimated, as no trial completed"
    )
    assert described(Savings(0, 3.0, 0.0, 4)) == "early termination ended no trial"
    assert "about 12345 of 24690 CPU-seconds" in described(Savings(1, 12345.0, 12345.0, 1))
