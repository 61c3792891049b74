"""A workspace inside the process that tests it: the same applications, no sockets, no child processes."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlocal.testing.environment import point_clients
from amlocal.testing.faults import Answer, Call, Faults
from amlocal.testing.holds import CURRENT_CALL, Holds
from amlocal.testing.jobs import ScriptedJobs
from amlocal.testing.scoring import ScoringScripts, ScriptedInstance
from amlocal.testing.transports import intercepted
from amlocal.testing.wire import HOSTS, Request, Wire
from amlocal.workspace import names
from amlocal.workspace.connection import cloud_environment
from amlocal.workspace.layout import Layout

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from starlette.types import ASGIApp

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SCORING_HOST = f"scoring.{names.DOMAIN}"
NO_TIME = 0.001
"""Seconds: enough for the workspace's thread to get on."""
MLFLOW_HOST = f"mlflow.{names.DOMAIN}"
PARTIES = {**HOSTS, SCORING_HOST: "scoring", MLFLOW_HOST: "mlflow"}


@dataclass(frozen=True)
class InProcessWorkspace:
    """A workspace in this process; Azure's clients that run here reach it, and nothing beyond it.

    Attributes:
        home: The ``--home`` folder that holds its state.
        faults: Strikes calls of the clients, and records them.
        deployments: Says what deployments answer.
        operations: Makes long-running operations slow.
        jobs: Says how submitted jobs end.
        environment: The variables that are set meanwhile.
    """

    home: Path
    faults: Faults
    deployments: ScoringScripts
    operations: Holds
    jobs: ScriptedJobs
    environment: dict[str, str]

    @property
    def calls(self) -> list[Call]:
        """The calls so far; see :attr:`Faults.calls`."""
        return self.faults.calls

    def client(self) -> MLClient:
        """Make Azure's client, with the credential that cloud code uses."""
        return make_client()


def make_client() -> MLClient:
    """Make Azure's client for the workspace of this machine, with the credential that cloud code uses."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), names.SUBSCRIPTION_ID, names.RESOURCE_GROUP, names.WORKSPACE_NAME)


@contextlib.contextmanager
def in_process(home: Path) -> Iterator[InProcessWorkspace]:
    """Run a workspace in this process, and point the clients in it there, while the context lasts.

    Requests of ``requests`` (and so of azure-ai-ml, azure-storage-blob, azure-identity), ``httpx`` and ``urllib`` to
    the workspace's host names are answered by its applications in a thread; to other hosts than this machine they are
    refused. Waits of Azure's clients, between polls and between retries, take no time. MLflow's server is loaded when
    it is first asked.

    Args:
        home: Folder for its state, which another one may have left.
    """
    import httpx

    from amlocal.endpoints.serving import Serving
    from amlocal.testing.mlflow import InProcessMlflow
    from amlocal.workspace.mlflow_server import AZURE_PREFIX, PREFIX
    from amlocal.workspace.services import Addresses, running_services

    layout = Layout(home.resolve())
    layout.create()
    key = secrets.token_urlsafe(32)
    environment = cloud_environment(key, f"http://{MLFLOW_HOST}{PREFIX}")
    faults, scripts, holds, jobs = Faults(), ScoringScripts(), Holds(), ScriptedJobs(layout.home)
    with running_loop() as run, pytest.MonkeyPatch.context() as patch:
        mlflow = InProcessMlflow(layout, key, patch)
        services = running_services(
            layout,
            key,
            Addresses(names.TRACKING_URI, f"http://{SCORING_HOST}", f"http://localhost{AZURE_PREFIX}"),
            lambda router: Serving(
                router, layout.socket_folder(), {}, lambda spec, _path, _base: ScriptedInstance(spec, scripts)
            ),
            jobs,
            holds.hold,
            httpx.ASGITransport(mlflow),
        )
        applications = run(services.__aenter__())
        others: dict[str, ASGIApp] = {SCORING_HOST: applications.scoring, MLFLOW_HOST: mlflow}

        def perform(call: Call, request: Request) -> Answer:
            return run(_answer(others.get(_host(request), applications.https), holds, call, request))

        wire = Wire(faults, PARTIES, perform, refuse_others=True, longest_wait=NO_TIME)
        try:
            point_clients(patch, environment)
            with intercepted(wire):
                yield InProcessWorkspace(layout.home, faults, scripts, holds, jobs, environment)
        finally:
            run(services.__aexit__(None, None, None))


@pytest.fixture
def in_process_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessWorkspace]:
    """A fresh workspace in this process, in a temporary folder."""
    with in_process(tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace


@pytest.fixture
def in_process_client(in_process_workspace: InProcessWorkspace) -> MLClient:
    """Azure's client, with the credential that cloud code uses, of ``in_process_workspace``."""
    return in_process_workspace.client()


@contextlib.contextmanager
def running_loop() -> Iterator[Run]:
    """Run an event loop in a thread while the context lasts; gives a function that runs a coroutine there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="amlocal workspace", daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _host(request: Request) -> str:
    return urllib.parse.urlsplit(request.url).hostname or ""


async def _answer(app: ASGIApp, holds: Holds, call: Call, request: Request) -> Answer:
    """Let the application that a request is for answer it."""
    import httpx

    CURRENT_CALL.set(call)
    sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.body)
    if sent.url.host == MLFLOW_HOST:
        # MLflow's server answers to names of its own machine alone.
        sent.headers["host"] = "localhost"
    received = await httpx.ASGITransport(app).handle_async_request(sent)
    body = await received.aread()
    holds.asked(call)
    return Answer(received.status_code, list(received.headers.multi_items()), body)
