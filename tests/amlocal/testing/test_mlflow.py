"""MLflow in the workspace of the test's own process answers as over loopback."""

import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from amlocal.testing import InProcessWorkspace, in_process, make_client


@pytest.fixture(params=["in process", "loopback"])
def azure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MLClient]:
    """Azure's client; the environment points MLflow's to the same workspace."""
    mlflow.set_tracking_uri(None)
    if request.param == "loopback":
        request.getfixturevalue("client_environment")
        yield make_client()
    else:
        with in_process(tmp_path / "home") as workspace:
            yield workspace.client()
    mlflow.set_tracking_uri(None)


def test_a_run_has_azures_limits(azure: MLClient) -> None:
    client = MlflowClient()
    run = client.create_run(client.create_experiment(uuid.uuid4().hex)).info.run_id
    for start in (0, 100):
        client.log_batch(run, params=[Param(f"p{number}", "v") for number in range(start, start + 100)])
    with pytest.raises(MlflowException, match="Limit=200, Size=201"):
        client.log_param(run, "one more", "v")
    with pytest.raises(MlflowException, match=r"Limit=500, Size=501 \(value of parameter 'p0'\)"):
        client.log_batch(run, params=[Param("p0", "v" * 501)])
    with pytest.raises(MlflowException, match=r"MetricV2Dto.Value/Count, Limit=250, Size=251"):
        client.log_batch(run, metrics=[Metric("loss", 1.0, 1, step) for step in range(251)])
    with pytest.raises(MlflowException, match="Limit=1000, Size=1001"):
        client.set_tag(run, "k", "v" * 1001)
    client.log_batch(run, metrics=[Metric("loss", 1.0, 1, step) for step in range(250)])
    found = client.get_run(run).data
    assert (len(found.params), found.metrics, "k" in found.tags) == (200, {"loss": 1.0}, False)


def test_there_are_no_logged_models(azure: MLClient) -> None:
    client = MlflowClient()
    experiment = client.create_experiment(uuid.uuid4().hex)
    with pytest.raises(MlflowException, match="Azure ML's MLflow backend has no logged models") as caught:
        client.create_logged_model(experiment)
    assert caught.value.get_http_status_code() == 404


def test_models_are_the_workspaces(azure: MLClient, tmp_path: Path) -> None:
    client, name = MlflowClient(), f"m{uuid.uuid4().hex[:8]}"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    run = client.create_run(client.create_experiment(uuid.uuid4().hex))
    client.log_artifacts(run.info.run_id, str(tmp_path / "model"), "model")
    client.create_registered_model(name)
    client.create_model_version(name, run.info.artifact_uri + "/model", run.info.run_id, tags={"verdict": "promoted"})
    seen = azure.models.get(name, "1")
    assert seen.tags == {"verdict": "promoted"}
    azure.models.download(name, "1", download_path=str(tmp_path / "down"))
    assert [path.read_text() for path in (tmp_path / "down").rglob("MLmodel")] == ["flavors: {}"]
    azure.models.create_or_update(Model(name=name, path=str(tmp_path / "model"), type="mlflow_model"))
    assert client.get_model_version(name, "2").tags == {}
    with pytest.raises(MlflowException, match="cannot be deleted"):
        client.delete_registered_model(name)


def test_nobody_gets_in_without_the_key(azure: MLClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong")
    with pytest.raises(MlflowException, match="401"):
        MlflowClient().search_experiments()


def test_it_needs_no_socket_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.server import handlers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket or process")

    environment, stores = dict(os.environ), (handlers._tracking_store, handlers._model_registry_store)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    kept: list[list[str]] = []
    for number in range(2):
        with in_process(tmp_path / str(number)):
            MlflowClient().create_experiment(f"of {number}")
            kept.append([each.name for each in MlflowClient().search_experiments()])
    assert kept == [["of 0", "Default"], ["of 1", "Default"]]
    with in_process(tmp_path / "0"):
        assert [each.name for each in MlflowClient().search_experiments()] == ["of 0", "Default"]
    assert os.environ == environment
    assert (handlers._tracking_store, handlers._model_registry_store) == stores


def test_faults_strike_its_calls(in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.faults.fail("POST mlflow/*/experiments/create", status=400)
    with pytest.raises(MlflowException, match="Asked for by the test"):
        MlflowClient().create_experiment("x")
    MlflowClient().create_experiment("x")
    (refused, made) = [call.status for call in in_process_workspace.calls if call.matches("* mlflow/*")]
    assert (refused, made) == (400, 200)
