"""Reading a deployment's body."""

from typing import Any

import pytest

from amlocal.workspace.deployment_body import parse_deployment
from amlocal.workspace.errors import ArmError

CODE = {"codeConfiguration": {"codeId": "c:1", "scoringScript": "score.py"}}


def body(**properties: Any) -> dict[str, Any]:
    return {"properties": CODE | properties, "sku": {"capacity": 2}}


def test_defaults_are_azures() -> None:
    request = parse_deployment(body())
    assert (request.instance_count, request.max_concurrent_requests_per_instance, request.request_timeout) == (
        2,
        1,
        5.0,
    )
    assert request.max_queue_wait is None
    assert (request.readiness.period, request.readiness.failure_threshold) == (10.0, 30)


def test_settings_are_read() -> None:
    request = parse_deployment(
        body(
            model={"assetId": "m:1"},
            requestSettings={
                "requestTimeout": "PT1M30.5S",
                "maxConcurrentRequestsPerInstance": 4,
                "maxQueueWait": "PT0.25S",
            },
            readinessProbe={"initialDelay": "PT1S", "period": "PT2S", "timeout": "PT3S", "failureThreshold": 4},
        )
    )
    assert request.model == "m:1"
    assert (request.request_timeout, request.max_concurrent_requests_per_instance) == (90.5, 4)
    assert request.max_queue_wait == 0.25
    assert request.readiness.patience == 9.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (body(codeConfiguration=None), "no code_configuration"),
        (body(requestSettings={"requestTimeout": "5 seconds"}), "ISO 8601"),
        (body(requestSettings={"requestTimeout": "PT10M"}), "request_timeout_ms is 600000"),
        (body(requestSettings={"maxConcurrentRequestsPerInstance": 0}), "max_concurrent_requests_per_instance is 0"),
        (body() | {"sku": {"capacity": 0}}, "instance_count is 0"),
    ],
)
def test_what_breaks_a_rule_is_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ArmError, match=words):
        parse_deployment(wrong)
