"""What is asked of a new version at one state of the traffic."""

from collections.abc import Callable
from dataclasses import replace

from actions import Stage
from health import HealthCheck, judge, judge_tracebacks
from live import Record
from plan import MIRROR, SMOKE
from probes import ScoringTarget, probe
from request import RolloutRequest, World
from smoke import smoke_test


def check_stage(
    stage: Stage,
    record: Record,
    target: ScoringTarget,
    request: RolloutRequest,
    logs: Callable[[str], str],
    world: World,
) -> tuple[HealthCheck, ...]:
    """Ask candidate, incumbent and endpoint what the stage takes, and judge the answers.

    Args:
        stage: its traffic is set.
        record: names candidate and incumbent.
        target: the endpoint, following its traffic.
        request: example, golden requests and policy.
        logs: returns the end of a deployment's log.
        world: sends requests and waits.
    """
    candidate = replace(target, deployment=record.candidate)
    if stage.name == SMOKE:
        return smoke_test(request.example, request.golden, lambda body: world.send(candidate, body))
    incumbent = None if record.incumbent is None else replace(target, deployment=record.incumbent)
    before = logs(record.candidate) if stage.name == MIRROR else ""
    probing = probe(
        (candidate, incumbent, target),
        [request.example.body, *(golden.body for golden in request.golden)],
        request.policy.probes,
        stage.seconds,
        request.policy.maximum_error_rate,
        world.send,
        world.sleep,
        world.now,
    )
    checks = judge(probing, request.policy)
    if stage.name == MIRROR:
        checks += (judge_tracebacks(before, logs(record.candidate), request.policy),)
    if dict(stage.traffic) == {record.candidate: 100}:
        checks += smoke_test(request.example, request.golden, lambda body: world.send(target, body))
    return checks
