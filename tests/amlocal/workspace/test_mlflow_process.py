"""MLflow's process is kept, whatever the machine has no room for."""

import asyncio
import errno
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amlocal.workspace import mlflow_process
from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_process import running_mlflow


@dataclass
class StandIn:
    """In place of the process."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        await self.ended.wait()
        return 1

    async def terminate(self, grace: float) -> None:
        self.ended.set()


def test_a_machine_without_room_for_mlflow_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[StandIn] = []
    full = [OSError(errno.EAGAIN, "fork"), OSError(errno.ENOSPC, "log")]

    async def spawn(*_: object, **__: object) -> StandIn:
        if started and full:
            raise full.pop(0)
        started.append(StandIn())
        return started[-1]

    async def run() -> None:
        monkeypatch.setattr(mlflow_process, "spawn", spawn)
        monkeypatch.setattr(mlflow_process, "RESTART_SECONDS", 0.001)
        async with asyncio.timeout(5), running_mlflow(Layout(tmp_path), "key", socket.socket()):
            for number in range(3):
                started[number].ended.set()
                while len(started) < number + 2:
                    await asyncio.sleep(0.001)

    asyncio.run(run())
    assert len(started) == 4
    assert [each.message for each in caplog.records if "cannot" in each.message] == [
        "mlflow cannot be started: [Errno 11] fork",
        "mlflow cannot be started: [Errno 28] log",
    ]
