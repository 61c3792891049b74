"""Models, environments and code with the real client over loopback."""

import os
import uuid
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from amlocal.testing import processes_of
from amlocal.workspace.connection import WorkspaceConnection


@pytest.fixture
def name() -> str:
    return f"intent-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    result = tmp_path / "model"
    (result / "data").mkdir(parents=True)
    (result / "MLmodel").write_text("flavors: {}\n")
    (result / "data" / "weights.bin").write_bytes(os.urandom(5000))
    (result / "empty").touch()
    return result


def model(name: str, folder: Path, **more: object) -> Model:
    return Model(name=name, path=str(folder), type="mlflow_model", **more)


def test_a_model_is_registered_found_and_downloaded(
    ml_client: MLClient, name: str, folder: Path, tmp_path: Path
) -> None:
    first = ml_client.models.create_or_update(
        model(name, folder, tags={"job": "a"}, properties={"sha256": "1"}, description="the first")
    )
    assert first.version == "1"
    found = ml_client.models.get(name, "1")
    assert (found.tags, found.properties["sha256"], found.description) == ({"job": "a"}, "1", "the first")
    assert found.type == "mlflow_model"
    assert found.creation_context.created_by == "amlocal"
    (folder / "MLmodel").write_text("flavors: {python_function: {}}\n")
    assert ml_client.models.create_or_update(model(name, folder)).version == "2"
    assert ml_client.models.get(name, label="latest").version == "2"
    assert [each.version for each in ml_client.models.list(name)] == ["2", "1"]
    latest = {each.name: each.latest_version for each in ml_client.models.list()}
    assert latest[name] == "2"
    ml_client.models.download(name, "2", download_path=str(tmp_path / "down"))
    down = tmp_path / "down" / name / "model"
    assert (down / "MLmodel").read_text() == (folder / "MLmodel").read_text()
    assert (down / "data" / "weights.bin").read_bytes() == (folder / "data" / "weights.bin").read_bytes()
    assert (down / "empty").read_bytes() == b""


def test_a_large_file_goes_up_and_down_in_pieces(ml_client: MLClient, name: str, folder: Path, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 70  # above the client's limit for a single request
    (folder / "data" / "weights.bin").write_bytes(content)
    ml_client.models.create_or_update(model(name, folder))
    ml_client.models.download(name, "1", download_path=str(tmp_path / "down"))
    assert (tmp_path / "down" / name / "model" / "data" / "weights.bin").read_bytes() == content


def test_a_version_is_immutable_but_for_its_tags(ml_client: MLClient, name: str, folder: Path) -> None:
    ml_client.models.create_or_update(model(name, folder, version="7"))
    updated = ml_client.models.get(name, "7")
    updated.tags = {"stage": "live"}
    ml_client.models.create_or_update(updated)
    assert ml_client.models.get(name, "7").tags == {"stage": "live"}
    (folder / "MLmodel").write_text("something else")
    with pytest.raises(ResourceExistsError, match=f"model {name}:7 exists and its modelUri cannot be changed"):
        ml_client.models.create_or_update(model(name, folder, version="7"))
    assert ml_client.models.create_or_update(model(name, folder)).version == "8"


def test_archived_versions_are_listed_on_demand_only(ml_client: MLClient, name: str, folder: Path) -> None:
    ml_client.models.create_or_update(model(name, folder))
    ml_client.models.archive(name, "1")
    assert list(ml_client.models.list(name)) == []
    assert [each.version for each in ml_client.models.list(name, list_view_type="All")] == ["1"]
    ml_client.models.restore(name, "1")
    assert [each.version for each in ml_client.models.list(name)] == ["1"]


def test_what_does_not_exist_is_named(ml_client: MLClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError, match=f"model {name}:3 does not exist in this workspace"):
        ml_client.models.get(name, "3")
    with pytest.raises(HttpResponseError, match="There are no files at"):
        ml_client.models.create_or_update(
            Model(name=name, path="azureml://datastores/workspaceblobstore/paths/nowhere/at/all")
        )
    with pytest.raises(HttpResponseError, match="datastore elsewhere does not exist"):
        ml_client.models.create_or_update(Model(name=name, path="azureml://datastores/elsewhere/paths/x"))


def test_environments_get_a_new_version_when_they_change(ml_client: MLClient, name: str, tmp_path: Path) -> None:
    conda = tmp_path / "conda.yml"
    conda.write_text("dependencies: [python=3.11]\n")
    first = ml_client.environments.create_or_update(Environment(name=name, image="base:1", conda_file=conda))
    again = ml_client.environments.create_or_update(Environment(name=name, image="base:1", conda_file=conda))
    other = ml_client.environments.create_or_update(Environment(name=name, image="base:2", conda_file=conda))
    assert (first.version, again.version, other.version) == ("1", "1", "2")
    assert ml_client.environments.get(name, label="latest").image == "base:2"
    assert ml_client.environments.get(name, "1").conda_file == {"dependencies": ["python=3.11"]}


def test_workspace_and_datastores(ml_client: MLClient, workspace: WorkspaceConnection) -> None:
    found = ml_client.workspaces.get(workspace.workspace_name)
    assert found.location == "local"
    assert ml_client.datastores.get_default().name == "workspaceblobstore"
    with pytest.raises(ResourceNotFoundError, match="datastore other does not exist"):
        ml_client.datastores.get("other")


def test_what_is_not_there_yet_says_so(ml_client: MLClient) -> None:
    with pytest.raises(ResourceNotFoundError, match="nothing that the workspace on this machine answers"):
        ml_client.batch_endpoints.get("nightly")


def test_the_workspace_listens_on_loopback_only(workspace: WorkspaceConnection) -> None:
    listening = [
        connection.laddr.ip
        for process in processes_of(workspace.home)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_a_model_may_be_a_single_file(tmp_path: Path, ml_client: MLClient, name: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"weights")
    registered = ml_client.models.create_or_update(Model(name=name, path=str(path), type="custom_model"))
    assert registered.path.endswith("/model.pkl")


def test_the_declared_computes_are_found_and_no_others(ml_client: MLClient) -> None:
    assert [compute.name for compute in ml_client.compute.list()] == ["cpu-cluster", "gpu-cluster"]
    assert ml_client.compute.get("gpu-cluster").type == "amlcompute"
    with pytest.raises(ResourceNotFoundError, match="Compute nobody"):
        ml_client.compute.get("nobody")
