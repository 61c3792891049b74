"""Nothing answers without a key, and unmodified credentials have one."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import requests
from azure.ai.ml.identity import AzureMLOnBehalfOfCredential
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from amlocal.workspace import names
from amlocal.workspace.connection import WorkspaceConnection

SCOPE = f"https://{names.MANAGEMENT_HOST}/.default"
MODELS = f"https://{names.MANAGEMENT_HOST}{names.WORKSPACE_ARM_ID}/models?api-version=2025-12-01"


@pytest.mark.parametrize(
    "credential",
    [DefaultAzureCredential, ManagedIdentityCredential, AzureMLOnBehalfOfCredential],
)
def test_unmodified_credentials_open_the_workspace(
    client_environment: WorkspaceConnection, credential: Callable[[], DefaultAzureCredential]
) -> None:
    token = credential().get_token(SCOPE).token
    assert requests.get(MODELS, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code == 200


def test_a_user_assigned_identity_is_no_obstacle(client_environment: WorkspaceConnection) -> None:
    assert DefaultAzureCredential(managed_identity_client_id="some-client").get_token(SCOPE).token


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        (MODELS, {}, 401),
        (MODELS, {"Authorization": "Bearer nonsense"}, 401),
        (f"https://{names.IDENTITY_HOST}/msi/token?resource=x", {}, 401),
        (f"https://{names.IDENTITY_HOST}/msi/token?resource=x", {"secret": "wrong"}, 401),
        (f"https://{names.IDENTITY_HOST}/obo/wrong/token?resource=x", {}, 401),
        (f"https://{names.BLOB_HOST}/{names.DEFAULT_CONTAINER}?comp=list", {}, 403),
        ("{mlflow}/api/2.0/mlflow/experiments/search", {}, 401),
        ("{mlflow}/api/2.0/mlflow/experiments/search", {"Authorization": "Bearer wrong"}, 401),
        ("{mlflow}/", {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}, 401),
        ("{mlflow}/health", {}, 401),
    ],
)
def test_every_surface_wants_its_key(
    client_environment: WorkspaceConnection, url: str, headers: dict[str, str], status: int
) -> None:
    # trust_env is what finds the proxy; the netrc that it would also read does not know these hosts.
    address = url.format(mlflow=client_environment.mlflow_tracking_uri)
    assert requests.get(address, headers=headers, timeout=5).status_code == status


def test_the_workspaces_own_key_is_no_access_token(client_environment: WorkspaceConnection) -> None:
    headers = {"Authorization": f"Bearer {client_environment.key}"}
    assert requests.get(MODELS, headers=headers, timeout=5).status_code == 401


def test_other_hosts_are_out_of_reach(client_environment: WorkspaceConnection) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get("https://example.com/", timeout=5)


def test_other_workspaces_do_not_exist(client_environment: WorkspaceConnection) -> None:
    token = DefaultAzureCredential().get_token(SCOPE).token
    answer = requests.get(MODELS.replace("/local/", "/other/"), headers={"Authorization": f"Bearer {token}"}, timeout=5)
    assert answer.status_code == 404
    assert "the one workspace on this machine" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["models/%2e%2e/versions/1", "models/a%20b/versions/1", "onlineEndpoints/-x/deployments/y"]
)
def test_names_that_lead_elsewhere_are_refused(client_environment: WorkspaceConnection, path: str) -> None:
    token = DefaultAzureCredential().get_token(SCOPE).token
    request = requests.Request("PUT", MODELS, json={"properties": {}}, headers={"Authorization": f"Bearer {token}"})
    prepared = request.prepare()
    prepared.url = MODELS.replace("/models?", f"/{path}?")  # as it is, without tidying
    with requests.Session() as session:
        proxies = session.merge_environment_settings(prepared.url, {}, None, None, None)
        answer = session.send(prepared, timeout=5, **proxies)
    assert answer.status_code == 400
    assert "is no name or version" in answer.text or "is not valid" in answer.text


def test_mlflow_runs_params_metrics_tags_and_artifacts(client_environment: WorkspaceConnection, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(client_environment.mlflow_tracking_uri)
    try:
        mlflow.set_experiment("workspace-test")
        (tmp_path / "report.md").write_text("all is well")
        with mlflow.start_run() as parent, mlflow.start_run(nested=True) as run:
            mlflow.log_params({"learning_rate": "2e-4"})
            for step in range(3):
                mlflow.log_metric("score", step / 10, step=step)
            mlflow.set_tag("stage", "train")
            mlflow.log_artifact(str(tmp_path / "report.md"), "reports")
        found = mlflow.get_run(run.info.run_id)
        assert found.data.params == {"learning_rate": "2e-4"}
        assert found.data.metrics == {"score": 0.2}
        assert found.data.tags["mlflow.parentRunId"] == parent.info.run_id
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "score")
        assert [metric.value for metric in history] == [0.0, 0.1, 0.2]
        down = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="reports/report.md")
        assert Path(down).read_text() == "all is well"
    finally:
        mlflow.set_tracking_uri(None)


def test_a_browser_sees_mlflow_with_the_key_as_password(workspace: WorkspaceConnection) -> None:
    answer = requests.get(workspace.mlflow_tracking_uri + "/", auth=("anyone", workspace.key), timeout=5)
    assert answer.status_code == 200
    assert "<html" in answer.text
