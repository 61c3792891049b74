"""Steps have an identity, as on an Azure ML compute: unmodified credentials, clients and trackers work in them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from azure.identity import ManagedIdentityCredential

from amlocal.run.create import Request, create_job
from amlocal.workspace import credentials, names
from amlocal.workspace.connection import WorkspaceConnection

SCOPE = f"https://{names.MANAGEMENT_HOST}/.default"

STEP = """
import json, os, sys
import mlflow
from azure.ai.ml import MLClient
from azure.ai.ml.identity import AzureMLOnBehalfOfCredential
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

seen = {"uri": mlflow.get_tracking_uri()}
with mlflow.start_run() as run:
    mlflow.log_metric("score", 0.5)
seen["run"] = run.info.run_id == os.environ["AZUREML_RUN_ID"]
seen["score"] = mlflow.get_run(run.info.run_id).data.metrics["score"]
variables = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
for credential in (DefaultAzureCredential, ManagedIdentityCredential, AzureMLOnBehalfOfCredential):
    ml_client = MLClient(credential(), *(os.environ[name] for name in variables))
    seen[credential.__name__] = ml_client.compute.get("cpu-cluster").name
json.dump(seen, open(os.path.join(sys.argv[1], "seen.json"), "w"))
"""

JOB = """
type: command
experiment_name: identity
environment: azureml:any:1
code: .
command: python step.py ${{outputs.seen}}
outputs:
  seen: {type: uri_folder}
"""

REFRESH = """
import os, sys
from azureml.mlflow._common._authentication.azureml_token_authentication import AzureMLTokenAuthentication
workspace = [os.environ["AZUREML_ARM_" + name] for name in ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME")]
authentication = AzureMLTokenAuthentication.create(
    sys.argv[1], None, sys.argv[2], *workspace, experiment_name=None, run_id="run", experiment_id="1"
)
print(authentication.token)
"""


def test_a_step_uses_azures_credentials_and_its_own_run(workspace: WorkspaceConnection, tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    (tmp_path / "job.yml").write_text(JOB)
    record, code = create_job(Request(tmp_path / "job.yml", workspace.home, azure_tracking=True))
    folder = workspace.home / "jobs" / record.name
    assert code == 0, "".join(path.read_text() for path in folder.rglob("std*.txt"))
    seen = json.loads(next(folder.rglob("seen.json")).read_text())
    assert seen == {
        "uri": names.STEP_TRACKING_URI,
        "run": True,
        "score": 0.5,
        "DefaultAzureCredential": "cpu-cluster",
        "ManagedIdentityCredential": "cpu-cluster",
        "AzureMLOnBehalfOfCredential": "cpu-cluster",
    }


def test_a_credential_asks_again_before_its_token_expires(
    in_process_workspace: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = ManagedIdentityCredential()
    monkeypatch.setattr(credentials, "TOKEN_SECONDS", 60)
    soon = credential.get_token(SCOPE).expires_on
    assert soon <= time.time() + 60
    monkeypatch.setattr(credentials, "TOKEN_SECONDS", 3600)
    later = credential.get_token(SCOPE)
    assert later.expires_on >= soon + 3000
    assert credential.get_token(SCOPE).token == later.token


def test_azureml_mlflow_renews_a_runs_token(workspace: WorkspaceConnection) -> None:
    token, _ = credentials.issue_token(workspace.key, SCOPE, seconds=60)
    command = [sys.executable, "-c", REFRESH, token, f"https://{names.API_HOST}"]
    environment = os.environ | workspace.client_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    renewed = done.stdout.strip()
    assert renewed != token
    assert credentials.token_is_valid(workspace.key, renewed)


def test_a_runs_token_outlives_long_jobs(workspace: WorkspaceConnection) -> None:
    import jwt

    claims = jwt.decode(
        workspace.client_environment()["MLFLOW_TRACKING_TOKEN"],
        options={"verify_signature": False, "verify_aud": False},
    )
    assert claims["exp"] - time.time() > 29 * 24 * 3600
