"""Pytest fixtures with a workspace of its own processes, which child processes can reach too."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from amlocal.testing.environment import point_clients
from amlocal.testing.faults import Faults
from amlocal.testing.in_process import make_client
from amlocal.testing.transports import intercepted
from amlocal.testing.wire import HOSTS, Wire
from amlocal.workspace import lifecycle
from amlocal.workspace.connection import WorkspaceConnection

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@contextlib.contextmanager
def running_workspace(home: Path) -> Iterator[WorkspaceConnection]:
    """Run a workspace that reaches no other host, and stop it whatever happens.

    Args:
        home: Folder for its state.
    """
    try:
        yield lifecycle.start(home, allow_egress=False)
    finally:
        lifecycle.stop(home)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceConnection]:
    """One workspace for all tests of a session; give what you make in it names of its own."""
    with running_workspace(tmp_path_factory.mktemp("workspace")) as connection:
        yield connection


@pytest.fixture
def client_environment(workspace: WorkspaceConnection, monkeypatch: pytest.MonkeyPatch) -> WorkspaceConnection:
    """Point the unmodified Azure and MLflow clients of this process to the workspace while a test runs."""
    point_clients(monkeypatch, workspace.client_environment())
    return workspace


@pytest.fixture
def ml_client(client_environment: WorkspaceConnection) -> MLClient:
    """Azure's client, with the credential that cloud code uses."""
    return make_client()


@pytest.fixture
def client_faults(client_environment: WorkspaceConnection) -> Iterator[Faults]:
    """Faults between the clients of this process and ``workspace``, whose child processes are not struck."""
    with faulty(client_environment) as faults:
        yield faults


@contextlib.contextmanager
def faulty(connection: WorkspaceConnection) -> Iterator[Faults]:
    """Strike and record the calls that this process makes to a running workspace while the context lasts.

    Azure's clients wait a twentieth of a second at most meanwhile, between polls and between retries.

    Args:
        connection: The workspace.
    """
    parties = {
        **HOSTS,
        _netloc(connection.scoring_base_url): "scoring",
        _netloc(connection.mlflow_tracking_uri): "mlflow",
    }
    faults = Faults()
    with intercepted(Wire(faults, parties, perform=None, refuse_others=False, longest_wait=0.05)):
        yield faults


def _netloc(address: str) -> str:
    return urllib.parse.urlsplit(address).netloc


def processes_of(home: Path) -> list[psutil.Process]:
    """List the processes that run for a workspace: its daemon, MLflow and scoring processes.

    Args:
        home: Folder with its state.
    """
    root = str(home.resolve())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if root in " ".join(process.cmdline()) or process.cwd().startswith(root):
                found.append(process)
    return found
