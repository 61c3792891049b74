"""The policies against the worked examples of Azure ML's documentation (quoted), and the cases it leaves open."""

import pytest

from amlocal.reader.search import EarlyTermination
from amlocal.run.sweep.termination import due, verdict


def bandit(**slack):
    return EarlyTermination("bandit", **slack)


MEDIAN = EarlyTermination("median_stopping")


def truncation(percentage):
    return EarlyTermination("truncation_selection", truncation_percentage=percentage)


PAGE = "learn.microsoft.com: Hyperparameter tuning a model (v2), Specify early termination policy"
BANDIT_CLASS = "learn.microsoft.com: azureml.train.hyperdrive.BanditPolicy, Remarks"


@pytest.mark.parametrize(
    ("evaluation_interval", "delay_evaluation", "applied", "said_by"),
    [
        # "applied at every interval when metrics are reported, starting at evaluation interval 5"
        (1, 5, [5, 6, 7, 8, 9, 10], PAGE),
        # "An evaluation_interval of 1 will apply the policy every time the training script reports"
        (1, 0, list(range(1, 11)), PAGE),
        # "An evaluation_interval of 2 will apply the policy every other time"
        (2, 0, [2, 4, 6, 8, 10], PAGE),
        # "every multiple of evaluation_interval that is greater than or equal to delay_evaluation"
        (3, 4, [6, 9], PAGE),
        (5, 5, [5, 10], PAGE),
        # "If delay_evaluation = 200, then the first time the policy will be applied is at interval 200"
        (100, 200, [200, 300, 400], BANDIT_CLASS),
    ],
)
def test_when_a_policy_is_applied(evaluation_interval, delay_evaluation, applied, said_by):
    policy = EarlyTermination("median_stopping", evaluation_interval, delay_evaluation)

    assert [number for number in range(1, applied[-1] + 1) if due(policy, number)] == applied, said_by


@pytest.mark.parametrize(
    ("policy", "interval", "best", "allowed", "said_by"),
    [
        # "applied at interval 10 ... a primary metric is 0.8 with a goal to maximize ... slack_factor of 0.2, any
        # training jobs whose best metric at interval 10 is less than 0.66 (0.8/(1+slack_factor)) will be terminated"
        (bandit(slack_factor=0.2), 10, 0.8, 0.6666667, PAGE),
        # "slack_factor = 0.1: Any jobs whose best metric is less than (1/(1+0.1) or 91% of the best performing"
        (bandit(slack_factor=0.1), 5, 1.0, 0.9090909, PAGE),
        # "slack_factor = 0.2 and evaluation_interval = 100 ... compares the value (Y + Y * 0.2) to 0.8, and if
        # smaller, cancels the run"
        (bandit(slack_factor=0.2), 100, 0.8, 0.8 / 1.2, BANDIT_CLASS),
        # "slack_amount = 0.2 ... any run with an AUC less than 0.6 (0.8 - 0.2) after 100 iterations"
        (bandit(slack_amount=0.2), 100, 0.8, 0.6, BANDIT_CLASS),
    ],
)
def test_bandit_of_the_documentation(policy, interval, best, allowed, said_by):
    def decide(value):
        # The best trial has its value at that very interval, a better one later, which does not count.
        leader = [0.5] * (interval - 1) + [best, 5.0]
        return verdict(policy, "maximize", {0: leader, 1: [0.1] * (interval - 1) + [value]}, 1, interval)

    assert decide(allowed + 1e-6) is None, said_by
    assert f"bandit at interval {interval}" in decide(allowed - 1e-6), said_by


def test_bandit_to_minimize():
    def decide(value, policy):
        return verdict(policy, "minimize", {0: [2.0], 1: [value]}, 1, 1)

    assert decide(2.39, bandit(slack_factor=0.2)) is None
    assert decide(2.41, bandit(slack_factor=0.2))
    assert decide(2.49, bandit(slack_amount=0.5)) is None
    assert decide(2.51, bandit(slack_amount=0.5))


def test_bandit_never_ends_the_best_trial_whatever_the_sign():
    for goal in ("maximize", "minimize"):
        for best in (-1.0, 0.0, 1.0):
            assert verdict(bandit(slack_factor=0.5), goal, {0: [best]}, 0, 1) is None


def test_bandit_looks_at_the_best_so_far_not_at_the_last_value():
    curves = {0: [0.8, 0.8, 0.8], 1: [0.8, 0.1, 0.1]}

    assert verdict(bandit(slack_factor=0.1), "maximize", curves, 1, 3) is None


def test_later_reports_do_not_count_at_an_earlier_interval():
    curves = {0: [0.2, 0.9, 0.9], 1: [0.19]}

    assert verdict(bandit(slack_factor=0.1), "maximize", curves, 1, 1) is None


def test_median_stopping_of_the_documentation():
    """ "A job is stopped at interval 5 if its best primary metric is worse than the median of the running averages
    over intervals 1:5 across all training jobs" (PAGE)."""
    # Running averages over 1:5 are 0.3, 0.5 and 0.7, whatever comes after; their median is 0.5.
    others = {0: [0.1, 0.2, 0.3, 0.4, 0.5], 1: [0.5] * 5 + [9.0], 2: [0.9, 0.8, 0.7, 0.6, 0.5]}

    assert verdict(MEDIAN, "maximize", others, 0, 5) is None  # its best is the median itself, which is not worse
    worse = {**others, 0: [0.1, 0.2, 0.3, 0.4, 0.499]}
    assert "best 0.499 is worse than the median of running averages 0.5" in verdict(MEDIAN, "maximize", worse, 0, 5)
    early = {**others, 0: [0.5, 0.0, 0.0, 0.0, 0.0]}
    assert verdict(MEDIAN, "maximize", early, 0, 5) is None  # its best counts, not its last


def test_median_stopping_compares_the_best_with_running_averages():
    # Running averages over intervals 1 to 3: 0.2, 0.5, 0.8; their median is 0.5.
    curves = {0: [0.1, 0.2, 0.3], 1: [0.4, 0.5, 0.6], 2: [0.7, 0.8, 0.9]}

    assert "median of running averages 0.5" in verdict(MEDIAN, "maximize", curves, 0, 3)
    assert verdict(MEDIAN, "maximize", curves, 1, 3) is None
    assert verdict(MEDIAN, "minimize", curves, 2, 3)
    assert verdict(MEDIAN, "minimize", curves, 0, 3) is None


def test_median_stopping_takes_only_trials_that_got_as_far():
    curves = {0: [0.3, 0.4], 1: [0.9], 2: [0.35, 0.3]}

    # Of 0 and 2: averages 0.35 and 0.325, median 0.3375; trial 1 has not reported twice.
    assert verdict(MEDIAN, "maximize", curves, 2, 2) is None
    assert verdict(MEDIAN, "maximize", {**curves, 1: [0.9, 0.9]}, 2, 2) is None
    assert verdict(MEDIAN, "maximize", {**curves, 1: [0.9, 0.9], 2: [0.3, 0.3]}, 2, 2)


def test_truncation_ends_the_lowest_share():
    # "A job terminates at interval 5 if its performance at interval 5 is in the lowest 20% of performance of all jobs
    # at interval 5" (PAGE)
    curves = {number: [number / 10] * 5 for number in range(10)}
    ended = [number for number in curves if verdict(truncation(20), "maximize", curves, number, 5)]

    assert ended == [0, 1]
    ended = [number for number in curves if verdict(truncation(20), "minimize", curves, number, 5)]
    assert ended == [8, 9]


def test_truncation_compares_with_what_others_had_at_the_same_interval():
    """ "its performance is only compared with the performance of other runs up to interval N even if they reported
    metrics for intervals greater than N" (azureml.train.hyperdrive.TruncationSelectionPolicy, Remarks)."""
    young = {0: [0.2] * 4 + [0.3, 0.9], **{number: [0.1] * 4 + [0.2, 0.95] for number in (1, 2, 3)}, 4: [0.25] * 5}

    assert verdict(truncation(20), "maximize", young, 4, 5) is None
    assert verdict(truncation(20), "maximize", {**young, 4: [0.1] * 5}, 4, 5)


def test_truncation_rounds_down_and_spares_a_lone_trial():
    assert verdict(truncation(50), "maximize", {0: [0.1]}, 0, 1) is None
    assert verdict(truncation(30), "maximize", {0: [0.1], 1: [0.2], 2: [0.3]}, 0, 1) is None
    assert verdict(truncation(34), "maximize", {0: [0.1], 1: [0.2], 2: [0.3]}, 0, 1)


def test_truncation_of_equals_spares_the_earlier():
    curves = {0: [0.5], 1: [0.5]}

    assert verdict(truncation(50), "maximize", curves, 0, 1) is None
    assert verdict(truncation(50), "maximize", curves, 1, 1)
