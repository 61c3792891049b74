"""The policies against the worked examples of Azure ML's documentation, and the cases it leaves open."""

import pytest

from amlocal.reader.search import EarlyTermination
from amlocal.run.sweep.termination import due, verdict


def bandit(**slack):
    return EarlyTermination("bandit", **slack)


MEDIAN = EarlyTermination("median_stopping")


def truncation(percentage):
    return EarlyTermination("truncation_selection", truncation_percentage=percentage)


@pytest.mark.parametrize(
    ("interval", "delay", "expected"),
    [
        # evaluation_interval 1, delay_evaluation 5: "applied at every interval, starting at interval 5"
        (1, 5, [5, 6, 7, 8, 9, 10]),
        # "every multiple of evaluation_interval greater than or equal to delay_evaluation"
        (2, 0, [2, 4, 6, 8, 10]),
        (3, 4, [6, 9]),
        (1, 0, list(range(1, 11))),
    ],
)
def test_when_a_policy_is_applied(interval, delay, expected):
    policy = EarlyTermination("median_stopping", interval, delay)

    assert [number for number in range(1, 11) if due(policy, number)] == expected


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        # "best 0.8, slack_factor 0.2: less than 0.66 (0.8 / (1 + slack_factor)) is terminated"
        (bandit(slack_factor=0.2), 0.8 / 1.2),
        # "slack_amount 0.2: less than 0.6"
        (bandit(slack_amount=0.2), 0.6),
    ],
)
def test_bandit_of_the_documentation(policy, allowed):
    def decide(value):
        return verdict(policy, "maximize", {0: [0.5, 0.8], 1: [0.1, value]}, 1, 2)

    assert decide(allowed + 1e-6) is None
    assert "bandit at interval 2" in decide(allowed - 1e-6)


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
    # "20 %: terminated if its performance at interval 5 is in the lowest 20 % of all jobs at interval 5"
    curves = {number: [number / 10] * 5 for number in range(10)}
    ended = [number for number in curves if verdict(truncation(20), "maximize", curves, number, 5)]

    assert ended == [0, 1]
    ended = [number for number in curves if verdict(truncation(20), "minimize", curves, number, 5)]
    assert ended == [8, 9]


def test_truncation_rounds_down_and_spares_a_lone_trial():
    assert verdict(truncation(50), "maximize", {0: [0.1]}, 0, 1) is None
    assert verdict(truncation(30), "maximize", {0: [0.1], 1: [0.2], 2: [0.3]}, 0, 1) is None
    assert verdict(truncation(34), "maximize", {0: [0.1], 1: [0.2], 2: [0.3]}, 0, 1)


def test_truncation_of_equals_spares_the_earlier():
    curves = {0: [0.5], 1: [0.5]}

    assert verdict(truncation(50), "maximize", curves, 0, 1) is None
    assert verdict(truncation(50), "maximize", curves, 1, 1)
