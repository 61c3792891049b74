"""Deployments as real processes, without a workspace."""

import asyncio
import errno
import gzip
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from amlocal.endpoints.deployment import (
    Deployment,
    ProcessDied,
    QueueTimeout,
    RequestTimeout,
    TooManyRequests,
)
from amlocal.endpoints.environment import scoring_environment
from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.instance import ProvisioningError, back_off
from amlocal.endpoints.router import Router
from amlocal.endpoints.serving import Serving
from amlocal.endpoints.spec import DeploymentSpec

ECHO = Path(__file__).parent / "fixtures" / "echo"


@pytest.fixture
def sockets() -> Iterator[Path]:
    # pytest's own folders are too deep for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="amlocal-test-") as folder:
        yield Path(folder, "0")


@pytest.fixture
def spec(tmp_path: Path) -> DeploymentSpec:
    return DeploymentSpec("chat", "blue", ECHO, "score.py", None, tmp_path / "log", {"COLOUR": "blue"})


def scoring_processes() -> list[psutil.Process]:
    """List the processes of deployments started by these tests; a workspace may be running beside them."""
    masters = [child for child in psutil.Process().children() if "scoring_process.py" in " ".join(child.cmdline())]
    return [process for master in masters for process in [master, *master.children(recursive=True)]]


def make(spec: DeploymentSpec, sockets: Path, on_restart: Callable[[], None] = lambda: None) -> Deployment:
    return Deployment(spec, sockets, os.environ, on_restart)


def run_deployment(
    spec: DeploymentSpec,
    sockets: Path,
    test: Callable[[Deployment], Awaitable[Any]],
    on_restart: Callable[[], None] = lambda: None,
) -> Any:
    async def run() -> Any:
        deployment = make(spec, sockets, on_restart)
        await deployment.start()
        try:
            return await test(deployment)
        finally:
            await deployment.stop()

    return asyncio.run(run())


async def score(deployment: Deployment, **body: object) -> Any:
    answer = await deployment.score(
        Scoring("POST", "/score", [("content-type", "application/json")], json.dumps(body).encode())
    )
    return json.loads(answer.body)


def test_a_deployment_answers_and_leaves_nothing_behind(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> tuple[Any, list[psutil.Process]]:
        return await score(deployment, text="hi"), scoring_processes()

    answer, processes = run_deployment(spec, sockets, test)
    assert answer["echo"] == {"text": "hi"}
    assert answer["colour"] == "blue"
    assert processes
    assert not any(process.is_running() for process in processes)
    assert not sockets.exists()
    assert "loaded: no model" in spec.log.read_text()


def test_it_listens_on_no_network_address(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(_deployment: Deployment) -> list[Any]:
        processes = scoring_processes()
        return [connection for process in processes for connection in process.net_connections("inet")]

    assert run_deployment(spec, sockets, test) == []


def test_requests_are_spread_over_instances_and_share_the_cores(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> list[Any]:
        return await asyncio.gather(*(score(deployment, sleep=0.2) for _ in range(2)))

    answers = run_deployment(replace(spec, instance_count=2), sockets, test)
    assert len({answer["pid"] for answer in answers}) == 2
    environment = scoring_environment(replace(spec, instance_count=2), {}, cores=8)
    assert environment["OMP_NUM_THREADS"] == "4"
    own = replace(spec, environment_variables={"OMP_NUM_THREADS": "1"})
    assert scoring_environment(own, {}, cores=8)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("asked", "instances", "workers", "threads"),
    [("2", 1, "2", "4"), ("8", 1, "8", "1"), ("9", 1, "8", "1"), ("4", 4, "2", "1"), ("1", 16, "1", "1")],
)
def test_workers_share_their_processs_cores_and_are_no_more_than_those(
    spec: DeploymentSpec, asked: str, instances: int, workers: str, threads: str
) -> None:
    made = replace(spec, instance_count=instances, environment_variables={"WORKER_COUNT": asked})
    environment = scoring_environment(made, {}, cores=8)
    assert (environment["WORKER_COUNT"], environment["OMP_NUM_THREADS"]) == (workers, threads)


@pytest.mark.parametrize("asked", ["many", "0", "-1", ""])
def test_a_number_of_workers_that_is_none_is_left_to_the_server(spec: DeploymentSpec, asked: str) -> None:
    environment = scoring_environment(replace(spec, environment_variables={"WORKER_COUNT": asked}), {}, cores=8)
    assert (environment["WORKER_COUNT"], environment["OMP_NUM_THREADS"]) == (asked, "8")


def test_more_requests_than_it_may_hold_are_refused_at_once(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> tuple[list[Any], float]:
        held = [asyncio.create_task(score(deployment, sleep=0.3)) for _ in range(2)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(TooManyRequests):
            await score(deployment)
        refused_after = time.monotonic() - began
        return await asyncio.gather(*held), refused_after

    answers, refused_after = run_deployment(spec, sockets, test)
    assert len(answers) == 2
    assert refused_after < 0.1


def test_a_request_that_takes_too_long_is_given_up(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> None:
        with pytest.raises(RequestTimeout):
            await score(deployment, sleep=1.0)

    run_deployment(replace(spec, request_timeout=0.3), sockets, test)


def test_a_request_that_waits_too_long_for_its_turn_is_given_up(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> Any:
        held = asyncio.create_task(score(deployment, sleep=0.4))
        await asyncio.sleep(0.05)
        with pytest.raises(QueueTimeout):
            await score(deployment)
        return await held, await score(deployment)  # the place of the one that was given up is free again

    held, later = run_deployment(replace(spec, max_queue_wait=0.1), sockets, test)
    assert held["echo"] == {"sleep": 0.4}
    assert later["echo"] == {}


def test_draining_waits_for_the_last_answer(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> bool:
        last = asyncio.create_task(score(deployment, sleep=0.3))
        await asyncio.sleep(0.05)
        await deployment.drain()
        return last.done()

    assert run_deployment(spec, sockets, test)


def test_a_script_that_cannot_load_fails_with_its_log(spec: DeploymentSpec, sockets: Path) -> None:
    broken = replace(spec, environment_variables={"FAIL_INIT": "1"})

    async def run() -> None:
        await make(broken, sockets).start()

    with pytest.raises(ProvisioningError, match="last lines of its log") as caught:
        asyncio.run(run())
    assert "the model cannot be loaded, on purpose" in str(caught.value)
    assert scoring_processes() == []


def test_a_silent_script_fails_within_its_readiness_probe(spec: DeploymentSpec, sockets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "score.py").write_text(
        "import time\n\ndef init():\n    time.sleep(60)\n\ndef run(data):\n    return data\n"
    )
    probe = replace(spec.readiness, initial_delay=0.5, period=0.1, failure_threshold=5)

    async def run() -> None:
        await make(replace(spec, app_root=folder, readiness=probe), sockets).start()

    with pytest.raises(ProvisioningError, match="did not answer healthy within 1 s"):
        asyncio.run(run())


def test_a_dead_process_is_started_again_and_requests_wait_for_it(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> tuple[Any, Any]:
        before = await score(deployment)
        held = asyncio.create_task(score(deployment, sleep=5))
        await asyncio.sleep(0.1)
        for process in scoring_processes()[:1]:
            process.kill()
        with pytest.raises(ProcessDied):  # at once, not when its five seconds are over
            await asyncio.wait_for(held, 2)
        return before, await score(deployment)

    restarts: list[None] = []
    before, after = run_deployment(spec, sockets, test, lambda: restarts.append(None))
    assert before["pid"] != after["pid"]
    assert "started again in 0.5 s" in spec.log.read_text()
    assert len(restarts) == 1


def test_a_request_whose_worker_dies_fails_alone(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> Any:
        with pytest.raises(ProcessDied):
            await score(deployment, die=True)
        return await score(deployment)

    assert run_deployment(spec, sockets, test)["echo"] == {}


def test_a_process_that_misses_its_liveness_probes_is_replaced(spec: DeploymentSpec, sockets: Path) -> None:
    probe = replace(spec.liveness, initial_delay=0.1, period=0.1, timeout=0.1, failure_threshold=2)

    async def test(deployment: Deployment) -> tuple[Any, Any]:
        await asyncio.sleep(0.3)
        # Even then the request it is busy with gets its answer.
        return await score(deployment, sleep=1), await score(deployment)

    before, after = run_deployment(replace(spec, liveness=probe), sockets, test)
    assert before["pid"] != after["pid"]
    assert "missed 2 liveness probes" in spec.log.read_text()


def test_a_compressed_answer_stays_as_the_script_made_it(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> Scored:
        return await deployment.score(Scoring("POST", "/score", [("content-type", "application/json")], b'{"gzip": 1}'))

    answer = run_deployment(spec, sockets, test)
    assert dict(answer.headers)["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == b'{"packed": true}'


def test_the_other_process_answers_while_one_is_dead(spec: DeploymentSpec, sockets: Path) -> None:
    async def test(deployment: Deployment) -> tuple[int, list[Any], float, set[int]]:
        masters = [child for child in psutil.Process().children() if "scoring_process.py" in " ".join(child.cmdline())]
        first = masters[0]
        workers = {process.pid for process in first.children(recursive=True)}
        first.kill()
        await asyncio.sleep(0.1)
        began = time.monotonic()
        answers = [await score(deployment) for _ in range(10)]
        took = time.monotonic() - began
        async with asyncio.timeout(20):
            while (
                len(
                    pids := {
                        answer["pid"]
                        for answer in await asyncio.gather(*(score(deployment, sleep=0.2) for _ in range(2)))
                    }
                )
                < 2
            ):
                """Its successor is still loading."""
        return workers, answers, took, pids

    dead, answers, took, pids = run_deployment(replace(spec, instance_count=2), sockets, test)
    assert len({answer["pid"] for answer in answers}) == 1
    assert took < 0.4  # the dead one is started again after 0.5 s
    assert not dead & pids


@dataclass
class StandIn:
    """In place of a scoring process; `full` says that the machine has no room for it."""

    full: bool = False
    busy: int = 0
    running: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def start(self) -> None:
        if self.full:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.running = True

    async def wait_until_ready(self) -> None:
        self.ready.set()

    def keep_running(self, on_restart: Callable[[], None]) -> None:
        """Nothing to keep."""

    async def send(self, scoring: Scoring) -> Scored:
        self.asked += 1
        return Scored(200, "OK", [], b"{}")

    async def stop(self, grace: float = 0) -> None:
        self.running = False


def stand_ins(spec: DeploymentSpec, sockets: Path, *processes: StandIn) -> Deployment:
    left = iter(processes)
    return Deployment(replace(spec, instance_count=len(processes)), sockets, {}, lambda: None, lambda *_: next(left))


def test_a_process_that_is_not_ready_gets_nothing_however_idle_it_is(spec: DeploymentSpec, sockets: Path) -> None:
    async def run() -> tuple[int, int]:
        idle, busy = StandIn(), StandIn(busy=5)
        deployment = stand_ins(spec, sockets, idle, busy)
        await deployment.start()
        idle.ready.clear()
        for _ in range(3):
            await score(deployment)
        asked = (idle.asked, busy.asked)
        idle.ready.set()
        await score(deployment)
        await deployment.stop()
        return (*asked, idle.asked)

    assert asyncio.run(run()) == (0, 3, 1)


def test_requests_wait_for_the_first_process_that_is_ready(spec: DeploymentSpec, sockets: Path) -> None:
    async def run() -> list[int]:
        processes = [StandIn(), StandIn()]
        deployment = stand_ins(spec, sockets, *processes)
        await deployment.restore()
        waiting = asyncio.create_task(score(deployment))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        processes[1].ready.set()
        await asyncio.wait_for(waiting, 1)
        processes[1].ready.clear()
        with pytest.raises(RequestTimeout):
            await score(deployment)
        await deployment.stop()
        return [process.asked for process in processes]

    assert asyncio.run(run()) == [0, 1]


@pytest.mark.parametrize("begin", [Deployment.start, Deployment.restore])
def test_a_machine_without_room_for_all_processes_keeps_none(
    spec: DeploymentSpec, sockets: Path, begin: Callable[[Deployment], Awaitable[None]]
) -> None:
    processes = [StandIn(), StandIn(full=True)]

    async def run() -> None:
        await begin(stand_ins(spec, sockets, *processes))

    with pytest.raises(ProvisioningError, match=r"cannot be started: .*Resource temporarily unavailable"):
        asyncio.run(run())
    assert [process.running for process in processes] == [False, False]
    assert not sockets.exists()


def test_a_deployment_that_cannot_be_restored_gets_no_requests(spec: DeploymentSpec, sockets: Path) -> None:
    router = Router()

    async def placed() -> Any:
        serving = Serving(router, sockets, {}, lambda *_: StandIn(full=True))
        serving.publish("chat", ("key",), {"blue": 100}, {})
        with pytest.raises(ProvisioningError):
            await serving.restore(spec)
        return dict(router.routes["chat"].deployments)

    assert asyncio.run(placed()) == {}


def test_back_off_grows_in_a_crash_loop(spec: DeploymentSpec, sockets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "once"
    folder.mkdir()
    (folder / "score.py").write_text(
        "from pathlib import Path\n\n\ndef init():\n    Path('loaded').open('x').close()\n\n\n"
        "def run(data):\n    return data\n"
    )

    async def test(deployment: Deployment) -> None:
        scoring_processes()[0].kill()
        async with asyncio.timeout(30):
            while "2.0 s" not in spec.log.read_text():
                await asyncio.sleep(0.1)

    restarts: list[None] = []
    run_deployment(replace(spec, app_root=folder), sockets, test, lambda: restarts.append(None))
    notes = [line for line in spec.log.read_text().splitlines() if line.startswith("amlocal: ")]
    assert [note.rpartition(" in ")[2] for note in notes] == ["0.5 s", "1.0 s", "2.0 s"]
    assert len(restarts) == 2


def test_back_off_grows_to_a_limit() -> None:
    assert [back_off(failures) for failures in (1, 2, 3, 20)] == [0.5, 1.0, 2.0, 30.0]
