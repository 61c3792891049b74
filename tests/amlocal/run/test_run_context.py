"""What a step learns of Azure's run context from its environment variables."""

from dataclasses import dataclass
from pathlib import Path

from amlocal.run.create import Request, create_job
from amlocal.workspace.connection import WorkspaceConnection

JOB = """\
type: pipeline
experiment_name: trying
outputs:
  variables: {type: uri_file}
jobs:
  show:
    type: command
    environment: azureml:any:1
    inputs: {epochs: 3}
    command: env -0 | sort -z | grep -zE '^(AZUREML|AZURE_ML|MLFLOW|MSI|OBO)_' | tr '\\0' '\\n' > ${{outputs.variables}}
    outputs:
      variables: ${{parent.outputs.variables}}
"""


@dataclass
class Workspace:
    """The test backend, with the variables of a real workspace."""

    backend: object

    def connect(self):
        connection = WorkspaceConnection(
            home=Path("/home"),
            subscription_id="subscription",
            resource_group="group",
            workspace_name="workspace",
            mlflow_tracking_uri="http://127.0.0.1:1",
            scoring_base_url="http://127.0.0.1:2",
            key="key",
            proxy_url="http://127.0.0.1:3",
            ca_bundle=Path("/ca.pem"),
        )
        return self.backend.connect()[0], connection.client_environment()


def test_step_sees_azures_run_context_and_nobody_elses(machine, write, monkeypatch):
    monkeypatch.setenv("AZUREML_RUN_TOKEN", "of another run")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "of another run")
    record, _ = create_job(Request(write("job.yml", JOB), machine.home), Workspace(machine.backend))

    lines = (machine.home / "jobs" / record.name / "outputs" / "variables").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    output = variables.pop("AZURE_ML_OUTPUT_variables")
    assert Path(output).name == "variables"
    assert variables == {
        "AZUREML_ARM_PROJECT_NAME": "trying",
        "AZUREML_ARM_RESOURCEGROUP": "amlocal",
        "AZUREML_ARM_SUBSCRIPTION": "00000000-0000-0000-0000-000000000000",
        "AZUREML_ARM_WORKSPACE_NAME": "local",
        "AZUREML_CURRENT_CLOUD": "AmlocalCloud",
        "AZUREML_EXPERIMENT_ID": "experiment-trying",
        "AZUREML_EXPERIMENT_NAME": "trying",
        "AZUREML_ROOT_RUN_ID": record.name,
        "AZUREML_RUN_ID": record.steps["show"].run_id,
        "AZUREML_WORKSPACE_ID": "00000000-0000-0000-0000-000000000001",
        "AZURE_ML_INPUT_epochs": "3",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_EXPERIMENT_ID": "experiment-trying",
        "MLFLOW_EXPERIMENT_NAME": "trying",
        "MLFLOW_RUN_ID": record.steps["show"].run_id,
        "MLFLOW_TRACKING_TOKEN": variables["MLFLOW_TRACKING_TOKEN"],
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MSI_ENDPOINT": variables["MSI_ENDPOINT"],
        "MSI_SECRET": "key",
        "OBO_ENDPOINT": variables["OBO_ENDPOINT"],
    }
