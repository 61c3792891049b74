"""One command as several processes that find each other: what Azure ML's ``distribution`` starts on a cluster."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from amlocal.reader.distribution import Processes
from amlocal.run.process import ProcessResult, run_process

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Rank:
    """One process of a distributed command.

    Attributes:
        name: for messages.
        variables: the environment variables that tell it who it is.
        serves: it serves the others and goes on until they are done.
    """

    name: str
    variables: Mapping[str, str]
    serves: bool = False


def ranks_of(processes: Processes) -> list[Rank]:
    """Make the ranks of a command, with the variables that Azure's "Distributed GPU training guide" documents.

    Ports are given by the system and let go at once, so start the processes soon.
    """
    if processes.type == "tensorflow":
        return _tensorflow(processes)
    variables = _pytorch if processes.type == "pytorch" else _mpi
    [port] = _free_ports(1)
    return [
        Rank(f"rank {rank} of {processes.count}", variables(rank, processes, port)) for rank in range(processes.count)
    ]


def _pytorch(rank: int, processes: Processes, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(processes.count),
        "LOCAL_RANK": str(rank % processes.per_node),
        "NODE_RANK": str(rank // processes.per_node),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
    }


def _mpi(rank: int, processes: Processes, port: int) -> dict[str, str]:
    local = str(rank % processes.per_node)
    return {
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_SIZE": str(processes.count),
        "OMPI_COMM_WORLD_LOCAL_RANK": local,
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(processes.per_node),
        # Open MPI's "node rank" counts within a node; the guide warns of its name.
        "OMPI_COMM_WORLD_NODE_RANK": local,
        "AZ_BATCH_MASTER_NODE": f"{_HOST}:{port}",
        "AZ_BATCHAI_MPI_MASTER_NODE": _HOST,
    }


def _tensorflow(processes: Processes) -> list[Rank]:
    addresses = [f"{_HOST}:{port}" for port in _free_ports(processes.count)]
    cluster = {"worker": addresses[: processes.nodes]}
    if processes.parameter_servers:
        cluster["ps"] = addresses[processes.nodes :]
    tasks = [(kind, index) for kind, members in cluster.items() for index in range(len(members))]
    return [
        Rank(f"{'parameter server' if kind == 'ps' else kind} {index}", _tf_config(cluster, kind, index), kind == "ps")
        for kind, index in tasks
    ]


def _tf_config(cluster: Mapping[str, Sequence[str]], kind: str, index: int) -> dict[str, str]:
    config = {"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"}
    return {"TF_CONFIG": json.dumps(config)}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


async def run_ranks(
    command: str,
    cwd: Path,
    ranks: Sequence[tuple[Rank, Mapping[str, str]]],
    log: Path,
    timeout: float | None,
    on_end: Callable[[ProcessResult], None] | None = None,
) -> ProcessResult:
    """Run a command as several processes at the same time, each in a process group of its own.

    Args:
        command: the command line.
        cwd: the working directory of them all.
        ranks: each with all of its environment variables.
        log: where the first one's output goes; the others' goes beside it.
        timeout: seconds after which all are ended.
        on_end: told how they ended, also when canceled.

    Returns:
        How they ended: the exit code and log of the first one to fail, which ends the others.

    Raises:
        asyncio.CancelledError: when canceled, after all process groups have been ended.
    """
    started = time.monotonic()
    logs = [log.parent / f"std_log_process_{number}.txt" for number in range(len(ranks))]
    log.parent.mkdir(parents=True, exist_ok=True)
    log.symlink_to(logs[0].name)
    cpu_seconds: list[float] = []

    def used(result: ProcessResult) -> None:
        cpu_seconds.append(result.cpu_seconds)

    tasks = [
        asyncio.create_task(run_process(command, cwd, environment, path, on_end=used))
        for (_, environment), path in zip(ranks, logs, strict=True)
    ]
    timed_out, failed = False, None
    try:
        async with asyncio.timeout(timeout):
            failed = await _first_failure(tasks, [rank for rank, _ in ranks])
    except TimeoutError:
        timed_out = True
    finally:
        canceled = await _end_all(tasks)
        code = 0 if failed is None else tasks[failed].result().exit_code
        result = ProcessResult(
            exit_code=code,
            timed_out=timed_out,
            seconds=time.monotonic() - started,
            cpu_seconds=sum(cpu_seconds),
            failure=None if failed is None else f"{ranks[failed][0].name}: exit code {code}",
            log=log if failed is None else logs[failed],
        )
        if on_end is not None:
            on_end(result)
        if canceled:
            raise asyncio.CancelledError
    return result


async def _first_failure(tasks: Sequence[asyncio.Task[ProcessResult]], ranks: Sequence[Rank]) -> int | None:
    """Wait until all but the serving ranks are done, or one failed; give that one's number."""
    while True:
        for number, task in enumerate(tasks):
            if task.done() and task.result().exit_code != 0:
                return number
        if all(task.done() for task, rank in zip(tasks, ranks, strict=True) if not rank.serves):
            return None
        await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)


async def _end_all(tasks: Sequence[asyncio.Task[ProcessResult]]) -> bool:
    """End what still runs, each process group in good order; being canceled meanwhile takes the patience away.

    Returns:
        Whether it was canceled meanwhile.
    """
    left = {task for task in tasks if not task.done()}
    canceled = False
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left)
        except asyncio.CancelledError:
            canceled = True
            left = {task for task in left if not task.done()}
    return canceled
