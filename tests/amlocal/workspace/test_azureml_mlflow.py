"""A user's process with unmodified azureml-mlflow against the workspace's own tracking address.

In a process of its own: azureml-mlflow reads the cloud's addresses once, when it is imported.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amlocal.workspace import names
from amlocal.workspace.connection import WorkspaceConnection

USER = """
import json, os, sys
from pathlib import Path
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from azure.identity import DefaultAzureCredential
import mlflow
from mlflow.entities import Param

folder = Path(sys.argv[1])
variables = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
ml_client = MLClient(DefaultAzureCredential(), *(os.environ[name] for name in variables))
seen = {"uri": ml_client.workspaces.get(ml_client.workspace_name).mlflow_tracking_uri}
mlflow.set_tracking_uri(seen["uri"])
client = mlflow.MlflowClient()

def refused(call):
    try:
        call()
    except Exception as error:
        return str(error)
    return "taken"

def names_below(uri):
    top = Path(mlflow.artifacts.download_artifacts(uri))
    return sorted(p.relative_to(top).as_posix() for p in top.rglob("*") if p.is_file())

model = folder / "classifier"
(model / "deep er").mkdir(parents=True)
(model / "MLmodel").write_text("flavors: {}")
(model / "deep er" / "weights.bin").write_bytes(b"weights")

mlflow.set_experiment("of a user")
with mlflow.start_run(run_name="parent") as run:
    mlflow.log_params({"a": 1})
    mlflow.log_metric("loss", 2.0, step=1)
    mlflow.log_metrics({"loss": 1.0, "f1": 0.5}, step=2)
    mlflow.log_metrics({"later": 3.0}, synchronous=False).wait()
    mlflow.set_tag("who", "me")
    mlflow.log_text("a note", "notes/note.txt")
    mlflow.log_artifacts(str(model), "model")
    with mlflow.start_run(nested=True) as child:
        mlflow.log_param("nested", "yes")
os.environ["MLFLOW_RUN_ID"] = run.info.run_id
with mlflow.start_run() as resumed:
    mlflow.log_param("b", 2)
seen["resumed"] = resumed.info.run_id == run.info.run_id
seen["run"], seen["artifacts"] = run.info.run_id, run.info.artifact_uri
stored = client.get_run(run.info.run_id)
seen["params"], seen["metrics"], seen["tag"] = stored.data.params, stored.data.metrics, stored.data.tags["who"]
seen["history"] = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
seen["parent"] = client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"]
seen["found"] = len(client.search_runs([run.info.experiment_id], "params.b = '2'"))
seen["listed"] = sorted(item.path for item in client.list_artifacts(run.info.run_id))
seen["downloaded"] = names_below(run.info.artifact_uri + "/model")
seen["again"] = refused(lambda: client.log_text(run.info.run_id, "another", "notes/note.txt"))

client.create_registered_model("of-a-run")
version = client.create_model_version("of-a-run", run.info.artifact_uri + "/model", run.info.run_id, {"k": "v"})
shown = ml_client.models.get("of-a-run", label="latest")
seen["of_a_run"] = [version.version, version.run_id, shown.version, shown.type, shown.tags, shown.path]
seen["of_a_run_files"] = names_below("models:/of-a-run/1")
ml_client.models.download("of-a-run", "1", download_path=folder / "downloaded")
seen["of_a_run_download"] = sorted(p.name for p in (folder / "downloaded").rglob("*") if p.is_file())

mlflow.register_model(model.as_uri(), "of-a-folder")
seen["of_a_folder"] = ml_client.models.get("of-a-folder", "1").path
seen["of_a_folder_files"] = names_below("models:/of-a-folder/1")

ml_client.models.create_or_update(Model(name="of-the-client", path=model, type="mlflow_model", tags={"x": "y"}))
found = client.search_model_versions("name = 'of-the-client'")[0]
seen["of_the_client"] = [found.version, found.tags, found.status]
seen["of_the_client_files"] = names_below("models:/of-the-client/1")
client.transition_model_version_stage("of-the-client", "1", "Production")
seen["of_the_client_stage"] = names_below("models:/of-the-client/Production")

many = [Param(f"p{i}", "x") for i in range(99)]
client.log_batch(run.info.run_id, params=many)
seen["too_many"] = refused(lambda: client.log_batch(run.info.run_id, params=[Param(f"q{i}", "") for i in range(100)]))
seen["too_long"] = refused(lambda: client.log_param(child.info.run_id, "long", "x" * 501))
seen["logged_model"] = refused(lambda: mlflow.create_external_model("m"))
seen["no_model"] = refused(lambda: client.get_model_version("nobody", "1"))
seen["no_version"] = refused(lambda: client.get_model_version("of-a-run", "9"))
seen["no_files"] = refused(lambda: client.create_model_version("of-a-run", run.info.artifact_uri + "/none"))
seen["foreign"] = refused(lambda: client.create_model_version("of-a-run", "s3://bucket/model"))
seen["rename"] = refused(lambda: client.rename_registered_model("of-a-run", "else"))
seen["alias"] = refused(lambda: client.set_registered_model_alias("of-a-run", "best", "1"))
Path(sys.argv[1], "seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(workspace: WorkspaceConnection, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a user sees who does all there is to do, once."""
    folder = tmp_path_factory.mktemp("user")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AZUREML_"))}
    command = [sys.executable, "-c", USER, str(folder)]
    done = subprocess.run(
        command, env=environment | workspace.client_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return result


def test_the_workspace_names_an_address_as_azure_does(seen: dict[str, Any]) -> None:
    assert seen["uri"] == f"azureml://{names.API_HOST}/mlflow/v2.0{names.WORKSPACE_ARM_ID}"
    assert seen["artifacts"].startswith(seen["uri"] + "/experiments/")
    assert seen["artifacts"].endswith(f"/runs/{seen['run']}/artifacts")


def test_runs_are_logged_and_read(seen: dict[str, Any]) -> None:
    assert seen["params"] == {"a": "1", "b": "2"}
    assert seen["metrics"] == {"loss": 1.0, "f1": 0.5, "later": 3.0}
    assert seen["history"] == [[1, 2.0], [2, 1.0]]
    assert seen["tag"] == "me"
    assert seen["parent"] == seen["run"]
    assert seen["resumed"]
    assert seen["found"] == 1


@pytest.mark.rule("An artefact is not overwritten (`azureml://`)")
def test_artefacts_are_uploaded_listed_and_downloaded(seen: dict[str, Any]) -> None:
    assert seen["listed"] == ["model", "notes"]
    assert seen["downloaded"] == ["MLmodel", "deep er/weights.bin"]
    assert f"ExperimentRun/dcid.{seen['run']}/notes/note.txt already exists" in seen["again"]


def test_the_plain_address_shows_the_same_run(seen: dict[str, Any], client_environment: WorkspaceConnection) -> None:
    import mlflow

    client = mlflow.MlflowClient(client_environment.mlflow_tracking_uri)
    run = client.get_run(seen["run"])
    assert run.data.params["a"] == "1"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert [item.path for item in client.list_artifacts(seen["run"])] == ["model", "notes"]
    assert client.get_model_version("of-the-client", "1").tags == {"x": "y"}
    uri = client.get_model_version_download_uri("of-the-client", "1")
    downloaded = mlflow.artifacts.download_artifacts(uri, tracking_uri=client_environment.mlflow_tracking_uri)
    assert (Path(downloaded) / "deep er" / "weights.bin").read_bytes() == b"weights"


def test_what_mlflow_registers_azures_client_shows(seen: dict[str, Any]) -> None:
    version, run, shown, kind, tags, path = seen["of_a_run"]
    assert (version, run, shown, kind, tags) == ("1", seen["run"], "1", "mlflow_model", {"k": "v"})
    assert path.endswith(f"/datastores/{names.ARTIFACT_DATASTORE}/paths/{path.partition('/paths/')[2]}")
    assert {"MLmodel", "deep er/weights.bin"} < set(seen["of_a_run_files"]) | {"registered_model_meta"}
    assert seen["of_a_run_download"] == ["MLmodel", "weights.bin"]
    assert "/LocalUpload/" in seen["of_a_folder"]
    assert {"MLmodel", "deep er/weights.bin"} <= set(seen["of_a_folder_files"])


def test_what_azures_client_registers_mlflow_shows(seen: dict[str, Any]) -> None:
    assert seen["of_the_client"] == ["1", {"x": "y"}, "READY"]
    assert {"MLmodel", "deep er/weights.bin"} <= set(seen["of_the_client_files"])
    assert seen["of_the_client_stage"] == seen["of_the_client_files"]


@pytest.mark.parametrize(
    ("what", "code", "text"),
    [
        ("too_many", "INVALID_PARAMETER_VALUE", "FieldName=Parameters, Limit=200, Size=201"),
        ("too_long", "INVALID_PARAMETER_VALUE", "Limit=500, Size=501 (value of parameter 'long')"),
        ("logged_model", "ENDPOINT_NOT_FOUND", "log_model fails there"),
        ("no_model", "RESOURCE_DOES_NOT_EXIST", "nobody"),
        ("no_version", "RESOURCE_DOES_NOT_EXIST", "of-a-run has no version 9"),
        ("no_files", "RESOURCE_DOES_NOT_EXIST", "There are no files at"),
        ("foreign", "INVALID_PARAMETER_VALUE", "is not in this workspace"),
        ("rename", "NOT_IMPLEMENTED", "cannot be renamed"),
        ("alias", "NOT_IMPLEMENTED", "no aliases"),
    ],
)
def test_refusals_say_what_is_wrong(seen: dict[str, Any], what: str, code: str, text: str) -> None:
    assert code in seen[what]
    assert text in seen[what]
