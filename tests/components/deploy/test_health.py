"""What is made of the probes' answers."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rollout_support import Clock, answer


def sample(deploy: Any, *answers: Any, seconds: float = 0.01) -> Any:
    make = deploy.probes.Answer
    return deploy.probes.Sample(
        tuple(make(seconds, problem=said) if isinstance(said, str) else make(seconds, said) for said in answers)
    )


def judged(
    deploy: Any, policy: Any, candidate: Any, incumbent: Any = None, endpoint: Any = None, bodies: int = 4
) -> dict:
    nothing = deploy.probes.Sample()
    probing = deploy.probes.Probing(bodies, candidate, incumbent or nothing, endpoint or nothing)
    return {check.name: check for check in deploy.health.judge(probing, policy)}


def test_a_first_version_is_held_to_error_rate_and_maximum_alone(deploy: Any, policy: Any) -> None:
    checks = judged(deploy, policy(), sample(deploy, answer(), answer()))
    assert {name: check.passed for name, check in checks.items()} == {"error rate": True, "p95 ms": True}
    slow = judged(deploy, policy(), sample(deploy, answer(), seconds=1.5))["p95 ms"]
    assert (slow.passed, slow.reason) == (False, "1500 ms, at most 1000 allowed: the policy's maximum")


def test_nothing_asked_and_nothing_answered_are_failures(deploy: Any, policy: Any) -> None:
    assert not judged(deploy, policy(), sample(deploy))["error rate"].passed
    checks = judged(deploy, policy(maximum_error_rate=0.9), sample(deploy, "gone"))
    assert not checks["error rate"].passed
    assert checks["p95 ms"].reason == "it answered nothing"


def test_errors_are_counted_against_the_limit(deploy: Any, policy: Any) -> None:
    three_of_four = sample(deploy, answer(), answer(), "status 503", answer())
    assert judged(deploy, policy(maximum_error_rate=0.25), three_of_four)["error rate"].passed
    failed = judged(deploy, policy(maximum_error_rate=0.2), three_of_four)["error rate"]
    assert (failed.passed, failed.candidate, failed.limit) == (False, 0.25, 0.2)
    assert failed.reason == "1 of 4 requests failed, at most 20.0% allowed; the first: status 503"
    ends = judged(deploy, policy(), sample(deploy, answer()), endpoint=sample(deploy, "status 503"))
    assert not ends["endpoint's error rate"].passed


@pytest.mark.parametrize(
    ("candidate", "incumbent", "passed"),
    [(0.02, 0.01, True), (0.0201, 0.01, False), (0.006, 0.001, True), (0.0061, 0.001, False), (1.01, 0.9, False)],
)
def test_the_answering_time_is_held_to_the_incumbents_but_for_the_slack(
    deploy: Any, policy: Any, candidate: float, incumbent: float, passed: bool
) -> None:
    new, old = sample(deploy, answer(), seconds=candidate), sample(deploy, answer(), seconds=incumbent)
    assert judged(deploy, policy(), new, old)["p95 ms"].passed is passed


def test_p95_is_the_nearest_rank(deploy: Any) -> None:
    make = deploy.probes.Answer
    times = deploy.probes.Sample(tuple(make(number / 1000, answer()) for number in range(20, 0, -1)))
    assert times.p95_ms == 19
    assert deploy.probes.Sample((*times.answers, make(9.0, problem="late"))).p95_ms == 19


def test_agreement_is_judged_on_enough_different_rows_only(deploy: Any, policy: Any) -> None:
    same, other = answer(), answer(label="b")
    new, old = sample(deploy, same, same, same, same), sample(deploy, same, other, other, other)
    failed = judged(deploy, policy(agreement_minimum_rows=4), new, old)["agreement"]
    assert (failed.passed, failed.candidate, failed.limit) == (False, 0.25, 0.5)
    assert judged(deploy, policy(agreement_minimum_rows=5), new, old)["agreement"].passed
    assert judged(deploy, policy(agreement_minimum_rows=3), new, old, bodies=2)["agreement"].passed
    assert judged(deploy, policy(minimum_agreement=0.25), new, old)["agreement"].passed
    assert "agreement" not in judged(deploy, policy(), new, sample(deploy, "gone", "gone"))


@pytest.mark.parametrize(
    ("new", "old", "alike"),
    [
        (
            {"labels": ["a", "b"], "probabilities": {"a": 0.9}},
            {"labels": ["a", "b"], "probabilities": {"a": 0.6}},
            True,
        ),
        ({"labels": ["a"]}, {"labels": []}, False),
        ({"value": 3.4}, {"value": 3.0}, True),
        ({"value": 3.6}, {"value": 3.0}, False),
        ({"value": float("nan")}, {"value": 3.0}, False),
        ({"tags": ["O", "B-PER"], "entities": [1]}, {"tags": ["O", "B-PER"], "entities": [2]}, True),
        ({"tags": ["O", "O"]}, {"tags": ["O", "B-PER"]}, False),
        ({"answer": "Monday", "score": 0.9}, {"answer": "Monday", "score": 0.2}, True),
        ({"answer": "Monday"}, {"answer": "on Monday"}, False),
    ],
)
def test_answers_of_every_kind_agree_or_not(deploy: Any, policy: Any, new: Any, old: Any, alike: bool) -> None:
    check = judged(deploy, policy(agreement_tolerance=0.5), sample(deploy, [new]), sample(deploy, [old]))["agreement"]
    assert check.candidate == float(alike)


def test_only_new_tracebacks_count(deploy: Any, policy: Any) -> None:
    line = "Traceback (most recent call last)\n"
    judge = deploy.health.judge_tracebacks
    assert judge(line, line, policy()).passed
    assert not judge(line, line * 2, policy()).passed
    assert judge("", line, policy(maximum_tracebacks=1)).passed
    assert judge(line * 3, line, policy()).passed


def test_probes_take_turns_evenly_and_stop_when_too_much_is_wrong(deploy: Any) -> None:
    clock = Clock(datetime(2026, 11, 20, tzinfo=UTC))
    asked: list[tuple[str | None, Any, float]] = []

    def probing(problem: str | None, rate: float) -> Any:
        asked.clear()
        start = clock.now()

        def send(target: Any, body: Any) -> Any:
            asked.append((target.deployment, body, (clock.now() - start).total_seconds()))
            return deploy.probes.Answer(0.01, answer(), problem if target.deployment == "green" else None)

        targets = [deploy.probes.ScoringTarget("u", "k", name) for name in ("green", "blue", None)]
        return deploy.probes.probe(targets, ["x", "y"], 4, 10.0, rate, send, clock.sleep, clock.now)

    assert len(probing(None, 0.0).candidate.answers) == 4
    assert [(name, body) for name, body, _ in asked][:4] == [("green", "x"), ("blue", "x"), (None, "x"), ("green", "y")]
    assert [at for name, _, at in asked if name == "green"] == [0, 2.5, 5, 7.5]
    assert len(probing("gone", 0.0).candidate.answers) == 1
    assert len(probing("gone", 0.5).candidate.answers) == 3
