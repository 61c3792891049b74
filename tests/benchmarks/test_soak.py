"""A short soak: rollouts by the deploy component under load, with the real client and processes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from amlocal.testing import running_workspace

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    yield soak
    for name in ("soak", "traffic_windows"):
        sys.modules.pop(name, None)


def test_rollouts_under_load_drop_no_request_and_mix_no_models(
    soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_workspace(tmp_path / "home") as connection:
        for name, value in connection.client_environment().items():
            monkeypatch.setenv(name, value)
        result = soak.soak(connection, tmp_path, rollouts=3, rate=20.0)
    assert result.problems == []
    assert [outcome.state for outcome in result.outcomes] == ["live", "rolled back", "live"]
    assert {answer.model for answer in result.answers} == {"soak:1", "soak:3"}
    # The second good model came by way of the canaries.
    assert [split.shares for split in result.splits if split.shares] == [
        {"soak:1": 100},
        {"soak:1": 90, "soak:3": 10},
        {"soak:1": 50, "soak:3": 50},
        {"soak:3": 100},
    ]
