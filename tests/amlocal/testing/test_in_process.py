"""The workspace in this process: the real client, answers that the test gives, faults at any call."""

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from support import echo_deployment, score, set_traffic

from amlocal.testing import InProcessWorkspace, ProcessKilled, ScoringAnswer, ScoringProcessDied, in_process


@pytest.fixture
def endpoint(in_process_client: MLClient, in_process_workspace: InProcessWorkspace, tmp_path: Path) -> str:
    """An endpoint without deployments, and two versions of a model, which answer with their number."""
    for version in ("1", "2"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "weights").write_text(version)
        in_process_client.models.create_or_update(Model(name="greeter", path=str(tmp_path / "model")))
        in_process_workspace.deployments.answer_with(lambda _, v=version: {"from": v}, model=f"greeter:{version}")
    in_process_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="greet")).result()
    return "greet"


def deploy(client: MLClient, colour: str, version: str = "1", **more: Any) -> None:
    deployment = echo_deployment("greet", colour, f"greeter:{version}", **more)
    client.online_deployments.begin_create_or_update(deployment).result()


def test_it_starts_fast_without_sockets_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_process(tmp_path / "first") as workspace:
        # What is imported, and asked of the machine, once in a process does not count.
        workspace.client().workspaces.get("local")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket or process")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    began = time.perf_counter()
    with in_process(tmp_path / "home") as workspace:
        assert time.perf_counter() - began < 1
        assert workspace.client().workspaces.get("local").location == "local"
        (tmp_path / "model").write_text("weights")
        workspace.client().models.create_or_update(Model(name="kept", path=str(tmp_path / "model")))
    with in_process(tmp_path / "home") as workspace:
        assert workspace.client().models.get("kept", "1").version == "1"


def test_whoever_runs_the_tests_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, "somebody")
    with in_process(tmp_path) as workspace:
        assert workspace.client().workspaces.get("local").name == "local"
        assert {call.address for call in workspace.calls if call.matches("* identity/*")} == {"identity/msi/token"}
    assert os.environ["AZURE_CLIENT_ID"] == "somebody"


def test_a_rollout(in_process_client: MLClient, endpoint: str) -> None:
    deploy(in_process_client, "blue")
    set_traffic(in_process_client, "greet", blue=100)
    deploy(in_process_client, "green", "2")
    assert score(in_process_client, "greet").json() == {"from": "1"}
    assert score(in_process_client, "greet", "green").json() == {"from": "2"}
    set_traffic(in_process_client, "greet", blue=50, green=50)
    assert {score(in_process_client, "greet").json()["from"] for _ in range(30)} == {"1", "2"}
    set_traffic(in_process_client, "greet", green=100)
    in_process_client.online_deployments.begin_delete("blue", endpoint).result()
    assert {score(in_process_client, "greet").json()["from"] for _ in range(5)} == {"2"}


def test_the_router_is_the_real_one(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, endpoint: str
) -> None:
    seen = []
    in_process_workspace.deployments.answer_with(lambda request: seen.append(request.model), deployment="greet/green")
    deploy(in_process_client, "blue", request_settings=OnlineRequestSettings(request_timeout_ms=2000))
    deploy(in_process_client, "green", "2")
    set_traffic(in_process_client, "greet", {"green": 50}, blue=100)
    uri = in_process_client.online_endpoints.get(endpoint).scoring_uri
    assert requests.post(uri, json={}, timeout=5).status_code == 401
    for _ in range(30):
        assert score(in_process_client, "greet").json() == {"from": "1"}
    assert 0 < len(seen) < 30
    for answer, status in (({"status": 500}, 424), ({"seconds": 2.5}, 408), ({"seconds": 0.01}, 200)):
        in_process_workspace.deployments.answer_with(lambda _, a=answer: ScoringAnswer(**a), deployment="blue")
        assert score(in_process_client, "greet").status_code == status

    def die(_: object) -> None:
        raise ScoringProcessDied

    in_process_workspace.deployments.answer_with(die, deployment="blue")
    assert score(in_process_client, "greet").status_code == 503


def test_a_deployment_that_fails_to_provision(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, endpoint: str
) -> None:
    in_process_workspace.deployments.fail_provisioning("green", "CUDA out of memory")
    with pytest.raises(HttpResponseError, match="CUDA out of memory"):
        deploy(in_process_client, "green")
    assert in_process_client.online_deployments.get("green", endpoint).provisioning_state == "Failed"
    assert "CUDA out of memory" in in_process_client.online_deployments.get_logs("green", endpoint, lines=20)
    deploy(in_process_client, "green")
    assert in_process_client.online_deployments.get("green", endpoint).provisioning_state == "Succeeded"


def test_a_slow_deployment_is_in_transition_meanwhile(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, endpoint: str
) -> None:
    in_process_workspace.operations.slow("PUT …/deployments/blue", polls=3)
    in_process_workspace.faults.kill("GET …/operations/*", skip=1)
    with pytest.raises(ProcessKilled):
        deploy(in_process_client, "blue")
    in_process_workspace.faults.clear()
    assert in_process_client.online_deployments.get("blue", endpoint).provisioning_state == "Creating"
    with pytest.raises(ResourceExistsError, match="in state Creating"):
        in_process_client.online_deployments.begin_delete("blue", endpoint)
    states = []
    while "Succeeded" not in states and len(states) < 500:
        states.append(in_process_client.online_deployments.get("blue", endpoint).provisioning_state)
    assert states[-1] == "Succeeded"


def test_a_model_without_answers_cannot_be_deployed(in_process_client: MLClient, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("1")
    in_process_client.models.create_or_update(Model(name="greeter", path=str(tmp_path / "weights")))
    in_process_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="greet")).result()
    with pytest.raises(HttpResponseError, match=r"greet/blue with model greeter:1; call answer_with"):
        deploy(in_process_client, "blue")


def test_mlflow_keeps_runs_in_the_folder(in_process_workspace: InProcessWorkspace) -> None:
    import mlflow

    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_metric("score", 0.5)
        mlflow.log_text("x", "note.txt")
    assert mlflow.get_run(run.info.run_id).data.metrics == {"score": 0.5}
    assert [path.name for path in in_process_workspace.home.rglob("note.txt")] == ["note.txt"]


def test_the_workspace_counts_for_more_than_what_mlflow_was_once_told(tmp_path: Path) -> None:
    import mlflow

    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    mlflow.set_tracking_uri(elsewhere)
    try:
        with in_process(tmp_path / "home"), mlflow.start_run(experiment_id="0"):
            mlflow.log_text("x", "note.txt")
        assert len(list((tmp_path / "home").rglob("note.txt"))) == 1
        assert mlflow.get_tracking_uri() == elsewhere
    finally:
        mlflow.set_tracking_uri(None)
