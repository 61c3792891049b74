"""A short soak: rollouts by the deploy component under load, with the real client and processes."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import yaml

from amlocal.testing import running_workspace

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    yield soak
    for name in ("soak", "traffic_windows"):
        sys.modules.pop(name, None)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import load

    yield load
    sys.modules.pop("load", None)


def test_rollouts_under_load_drop_no_request_and_mix_no_models(
    soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = tmp_path / "definition"
    shutil.copytree(soak.DEFINITION, definition)
    policy = yaml.safe_load((definition / "rollout.yml").read_text())
    (definition / "rollout.yml").write_text(yaml.safe_dump(policy | {"canary_percents": [25, 50, 100]}))
    with running_workspace(tmp_path / "home") as connection:
        for name, value in connection.client_environment().items():
            monkeypatch.setenv(name, value)
        behaviours = (soak.GOOD, soak.LIVE_ONLY, soak.GOOD)
        result = soak.soak(connection, tmp_path, 3, 40.0, 30.0, definition, behaviours)
    assert result.problems == []
    assert [outcome.state for outcome in result.outcomes] == ["live", "rolled back", "live"]
    assert {answer.model for answer in result.answers} == {"soak:1", "soak:2", "soak:3"}
    assert len(result.answers) == result.sent
    shares = [split.shares for split in result.splits if split.shares]
    assert shares[:2] == [{"soak:1": 100}, {"soak:1": 75, "soak:2": 25}]
    # Back from a canary under live traffic; the second good model came by way of the canaries.
    assert shares[-4:] == [
        {"soak:1": 100},
        {"soak:1": 75, "soak:3": 25},
        {"soak:1": 50, "soak:3": 50},
        {"soak:3": 100},
    ]


def made(soak: ModuleType, **change: Any) -> Any:
    """Make a soak of a hundred good answers, one second, one model."""
    windows = sys.modules["traffic_windows"]
    candidate = soak.Candidate(soak.ModelVersion("soak", "1"), soak.GOOD, "digest", "verdict", "2999-01-01")
    split = windows.Split(0, 0, {"soak:1": 100})
    outcome = soak.Outcome(candidate, 0, 1, 0, "live", (), (split,))
    answers = [windows.Answer(10 + number / 100, 10.5 + number / 100, "soak:1") for number in range(101)]
    return soak.Soak(**{"outcomes": [outcome], "answers": answers, "sent": 101, "minimum_rate": 50.0, **change})


def test_a_soak_that_was_too_slow_or_lost_a_request_proves_nothing(soak: ModuleType) -> None:
    assert made(soak).problems == []
    assert made(soak, minimum_rate=100.5).problems == ["100.0 requests were sent per second; expected at least 100.5"]
    assert made(soak, sent=102).problems == ["102 requests were sent, and 101 of them came to an end"]
    assert made(soak, answers=[], sent=0).problems[0] == "0.0 requests were sent per second; expected at least 50"


@pytest.mark.parametrize(
    ("behaviour", "shares", "problem"),
    [
        ("wrong", {"soak:1": 100}, None),
        ("wrong", {"soak:1": 90, "soak:2": 10}, "soak:2 (wrong) had live traffic"),
        ("wrong under load", {"soak:1": 90, "soak:2": 10}, None),
        ("wrong under load", {"soak:1": 100}, "soak:2 (wrong under load) had no live traffic"),
    ],
)
def test_which_models_may_have_had_traffic(soak: ModuleType, behaviour: str, shares: dict, problem: str | None) -> None:
    candidate = soak.Candidate(soak.ModelVersion("soak", "2"), behaviour, "digest", "verdict", "2999-01-01")
    split = sys.modules["traffic_windows"].Split(0, 0, shares)
    assert soak.Outcome(candidate, 0, 1, 1, "rolled back", (), (split,)).problem == problem


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"json": [{"model": "m:1"}]}, {"status": 200, "model": "m:1"}),
        ({"json": []}, {"status": 200, "error": "[]"}),
        ({"json": {"model": "m:1"}}, {"status": 200, "error": '{"model":"m:1"}'}),
        ({"json": [{"model": 1}]}, {"status": 200, "error": '[{"model":1}]'}),
        ({"text": "not JSON"}, {"status": 200, "error": "not JSON"}),
        ({"text": ""}, {"status": 200, "error": "OK"}),
        ({"status_code": 503, "text": "busy"}, {"status": 503, "error": "busy"}),
    ],
)
def test_every_request_becomes_a_line(load: ModuleType, answer: dict, line: dict) -> None:
    async def ask() -> dict:
        transport = httpx.MockTransport(lambda request: httpx.Response(**{"status_code": 200, **answer}))
        async with httpx.AsyncClient(transport=transport) as client:
            return await load.send_one(client, "http://endpoint/score", 0)

    found = asyncio.run(ask())
    assert {name: value for name, value in found.items() if name not in ("began", "ended")} == line


def test_a_load_that_fails_ends_the_soak(soak: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text("import signal, sys\nsignal.signal(15, lambda *_: sys.exit(3))\nsignal.pause()\n")
    process = subprocess.Popen([sys.executable, tmp_path / "load.py"])
    try:
        time.sleep(1)
        with pytest.raises(SystemExit, match="the load ended with exit code 3"):
            soak.end(process)
    finally:
        process.kill()
        process.wait()
