"""What takes long is done beside the event loop, in which requests are routed."""

import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, Model
from azure.core.exceptions import ResourceExistsError
from support import echo_deployment

from amlocal.endpoints import deployment as deployments
from amlocal.testing import InProcessWorkspace
from amlocal.workspace import online_deployments
from amlocal.workspace.deployment_files import DeploymentFiles
from amlocal.workspace.deployment_python import DeploymentPythons, write_mode
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Store


def test_files_and_interpreters_are_looked_at_beside_the_event_loop(
    in_process_workspace: InProcessWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[str]] = {}

    def watch(owner: Any, name: str, function: Callable[..., Any]) -> None:
        def watched(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    async def provide(*_: object) -> Path:
        return Path(sys.executable)

    watch(DeploymentPythons, "check", lambda *_: None)
    monkeypatch.setattr(DeploymentPythons, "provide", provide)
    watch(online_deployments, "tail", online_deployments.tail)
    watch(online_deployments, "remove_other_snapshots", online_deployments.remove_other_snapshots)
    watch(deployments, "rotate", deployments.rotate)
    watch(DeploymentFiles, "remove", DeploymentFiles.remove)
    watch(shutil, "rmtree", shutil.rmtree)
    with closing(Store(Layout(in_process_workspace.home).database)) as store:
        write_mode(store, "isolated")
    client = in_process_workspace.client()
    (tmp_path / "greeting.txt").write_text("hi")
    client.models.create_or_update(Model(path=str(tmp_path), name="greeter", version="1"))
    in_process_workspace.deployments.answer_with(lambda request: {})
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="greet")).result()
    for colour in ("blue", "green"):
        client.online_deployments.begin_create_or_update(echo_deployment("greet", colour, "greeter:1")).result()
    client.online_deployments.get_logs("blue", "greet", 5)
    client.online_deployments.begin_delete("blue", "greet").result()
    client.online_endpoints.begin_delete("greet").result()
    assert set(threads) == {"check", "tail", "remove_other_snapshots", "rotate", "remove", "rmtree"}
    assert {name for name, where in threads.items() if "amlocal workspace" in where} == set()


def test_a_key_of_an_endpoint_that_is_being_deleted_brings_no_route_back(
    in_process_workspace: InProcessWorkspace, in_process_client: MLClient
) -> None:
    client = in_process_client
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="greet")).result()
    in_process_workspace.operations.slow("DELETE …/onlineEndpoints/greet", polls=3)
    poller = client.online_endpoints.begin_delete("greet")
    with pytest.raises(ResourceExistsError, match="greet is being deleted"):
        client.online_endpoints.begin_regenerate_keys("greet", key_type="primary").result()
    poller.result()
    assert list(client.online_endpoints.list()) == []
