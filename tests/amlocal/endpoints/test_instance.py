"""One scoring process as its keeper sees it; the processes are stand-ins that answer on the same socket."""

import asyncio
import errno
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from amlocal.endpoints import instance as instances
from amlocal.endpoints.exchange import Scoring
from amlocal.endpoints.instance import Instance
from amlocal.endpoints.spec import DeploymentSpec, Probe

QUICK = Probe(initial_delay=0.0, period=0.02, timeout=0.5, failure_threshold=2)
NEVER = Probe(initial_delay=600.0)
ASKED = Scoring("POST", "/score", [("x-own", "1")], b"{}")


@dataclass
class StandIn:
    """A scoring process: answers on the listening socket that it inherits, until it dies."""

    number: int
    listener: socket.socket
    healthy: bool = True
    asked: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None

    async def serve(self) -> None:
        self.server = await asyncio.start_unix_server(self._answer, sock=self.listener)

    async def wait(self) -> int:
        await self.ended.wait()
        return 9

    async def terminate(self, grace: float) -> None:
        self.die()

    def die(self) -> None:
        if self.server is not None:
            self.server.close()
        self.ended.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("POST"):
            self.asked.append(head)
        status = "200 OK" if self.healthy else "503 Not Now"
        text = str(self.number)
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()


@dataclass
class Machine:
    """Starts stand-ins, unless it has no room."""

    started: list[StandIn] = field(default_factory=list)
    full: list[OSError] = field(default_factory=list)
    """What the next starts raise, one each."""

    async def spawn(self, _command: object, *, pass_fds: list[int], **_: object) -> StandIn:
        if self.full:
            raise self.full.pop(0)
        self.started.append(StandIn(len(self.started), socket.socket(fileno=os.dup(pass_fds[0]))))
        await self.started[-1].serve()
        return self.started[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """In place of real processes; back-offs take no time."""
    machine = Machine()
    monkeypatch.setattr(instances, "spawn", machine.spawn)
    monkeypatch.setattr(instances, "back_off", lambda failures: 0.001 * failures)
    return machine


@pytest.fixture
def path() -> Iterator[Path]:
    # pytest's own folders are too deep for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="amlocal-test-") as folder:
        yield Path(folder, "0")


@pytest.fixture
def spec(tmp_path: Path) -> DeploymentSpec:
    return DeploymentSpec("chat", "blue", tmp_path, "score.py", None, tmp_path / "log", liveness=NEVER)


def run(spec: DeploymentSpec, path: Path, test: Callable[[Instance, list[None]], Awaitable[Any]]) -> Any:
    async def start_and_test() -> Any:
        kept, restarts = Instance(spec, path, {}), []
        await kept.start()
        await kept.wait_until_ready()
        kept.keep_running(lambda: restarts.append(None))
        try:
            async with asyncio.timeout(10):
                return await test(kept, restarts)
        finally:
            await kept.stop(0)

    return asyncio.run(start_and_test())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_machine_without_room_for_a_process_is_asked_again(
    spec: DeploymentSpec, path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(kept: Instance, restarts: list[None]) -> bytes:
        machine.full += [OSError(errno.EAGAIN, "fork"), OSError(errno.ENOSPC, "log")]
        machine.started[0].die()
        await until(lambda: len(machine.started) == 2 and kept.ready.is_set())
        assert len(restarts) == 1
        return (await kept.send(ASKED)).body

    assert run(spec, path, test) == b"1"
    assert [record.message.split("started: ")[1] for record in caplog.records if "cannot be" in record.message] == [
        "[Errno 11] fork",
        "[Errno 28] log",
    ]
    assert spec.log.read_text().count("no room for the scoring process") == 2


def test_a_log_that_cannot_be_written_keeps_no_process_from_its_successor(
    spec: DeploymentSpec, path: Path, machine: Machine
) -> None:
    spec.log.mkdir()

    async def test(kept: Instance, _restarts: list[None]) -> bytes:
        machine.started[0].die()
        await until(lambda: len(machine.started) == 2 and kept.ready.is_set())
        return (await kept.send(ASKED)).body

    assert run(spec, path, test) == b"1"


def test_back_off_grows_while_it_dies_and_begins_anew_after_a_while(
    spec: DeploymentSpec, path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[int] = []
    monkeypatch.setattr(instances, "back_off", lambda count: failures.append(count) or 0.001)

    async def test(kept: Instance, _restarts: list[None]) -> None:
        for number in range(5):
            if number == 4:
                monkeypatch.setattr(instances, "WELL_AFTER", 0.0)
            machine.started[number].die()
            await until(lambda number=number: len(machine.started) == number + 2 and kept.ready.is_set())

    run(spec, path, test)
    assert failures == [1, 2, 3, 4, 1]


def test_it_is_ready_from_a_healthy_answer_to_its_end(spec: DeploymentSpec, path: Path, machine: Machine) -> None:
    async def test(kept: Instance, _restarts: list[None]) -> None:
        assert kept.ready.is_set()
        monkey = machine.started[0]
        machine.full += [OSError(errno.EAGAIN, "fork")]
        monkey.die()
        await until(lambda: not kept.ready.is_set())
        await until(kept.ready.is_set)
        assert len(machine.started) == 2

    run(spec, path, test)


def test_it_is_not_ready_while_it_misses_its_readiness_probes(
    spec: DeploymentSpec, path: Path, machine: Machine
) -> None:
    async def test(kept: Instance, restarts: list[None]) -> None:
        await asyncio.sleep(0.1)
        assert kept.ready.is_set()
        machine.started[0].healthy = False
        await until(lambda: not kept.ready.is_set())
        machine.started[0].healthy = True
        await until(kept.ready.is_set)
        assert restarts == []

    run(replace(spec, readiness=replace(QUICK, initial_delay=10.0)), path, test)
    notes = spec.log.read_text()
    assert "missed 2 readiness probes; it gets no requests until it passes one" in notes
    assert "is ready again" in notes


def test_a_process_that_misses_its_liveness_probes_is_ended_and_replaced(
    spec: DeploymentSpec, path: Path, machine: Machine
) -> None:
    async def test(kept: Instance, restarts: list[None]) -> None:
        await asyncio.sleep(0.1)
        machine.started[0].healthy = False
        await until(lambda: len(machine.started) == 2 and kept.ready.is_set())
        assert machine.started[0].ended.is_set()
        assert len(restarts) == 1

    run(replace(spec, liveness=QUICK), path, test)
    assert "missed 2 liveness probes" in spec.log.read_text()


def test_the_script_sees_no_header_that_the_client_did_not_send(
    spec: DeploymentSpec, path: Path, machine: Machine
) -> None:
    async def test(kept: Instance, _restarts: list[None]) -> None:
        await kept.send(ASKED)

    run(spec, path, test)
    (head,) = machine.started[0].asked
    names = {line.partition(":")[0].lower() for line in head.splitlines()[1:] if line}
    assert names == {"host", "content-length", "x-own"}
