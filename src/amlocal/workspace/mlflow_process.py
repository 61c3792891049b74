"""MLflow's server as a child of the daemon: started, watched, started again."""

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator

import httpx

from amlocal.endpoints.process import Child, spawn
from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_server import KEY_VARIABLE

# Usually 3 seconds; a machine that is busy training may need many more.
READY_SECONDS = 110.0
STOP_SECONDS = 5.0
RESTART_SECONDS = 1.0
RESTART_LIMIT = 10
"""Most seconds between two attempts, in ``RESTART_SECONDS``."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running_mlflow(layout: Layout, key: str, listener: socket.socket) -> AsyncIterator[None]:
    """Keep MLflow's server process running while the context lasts; started again should it die.

    Args:
        layout: Where the workspace keeps its state.
        key: The workspace's key.
        listener: Listening socket, which outlives the process: requests wait while it is started again.
    """
    spawn_mlflow = functools.partial(
        spawn,
        [
            sys.executable,
            "-m",
            "amlocal.workspace.mlflow_server",
            f"--home={layout.home}",
            f"--socket={listener.fileno()}",
        ],
        environment=os.environ | {KEY_VARIABLE: key},
        log=layout.log_file,
        pass_fds=[listener.fileno()],
    )
    children = [await spawn_mlflow()]

    async def keep_running() -> None:
        while True:
            code = await children[0].wait()
            log.warning("mlflow ended with exit code %s; starting it again", code)
            await start_again()

    async def start_again() -> None:
        for failures in itertools.count(1):
            await asyncio.sleep(RESTART_SECONDS * min(failures, RESTART_LIMIT))
            try:
                children[0] = await spawn_mlflow()
            except OSError as error:
                # The machine may have room for it the next time.
                log.error("mlflow cannot be started: %s", error)
            else:
                return

    keeper = asyncio.create_task(keep_running())
    try:
        yield
    finally:
        keeper.cancel()
        child: Child = children[0]
        await child.terminate(STOP_SECONDS)
        listener.close()


async def wait_for_mlflow(port: int, key: str) -> None:
    """Wait until MLflow answers; the request waits in the listener's queue while mlflow loads.

    Args:
        port: MLflow's port.
        key: The workspace's key.

    Raises:
        httpx.HTTPError: It did not answer in time.
    """
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=READY_SECONDS) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/mlflow/health", headers=headers)
        answer.raise_for_status()
