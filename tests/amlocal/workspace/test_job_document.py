"""Jobs that azure-ai-ml submits, written back: they must mean what the files mean that it loaded them from."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from azure.ai.ml import MLClient, load_job
from azure.ai.ml.entities import Environment

from amlocal.reader.plan import Plan, examine
from amlocal.testing import InProcessWorkspace, in_process
from amlocal.workspace.errors import ArmError
from amlocal.workspace.job_document import job_document
from amlocal.workspace.registry import Registry

ROOT = Path(__file__).parents[3]
# azure-ai-ml itself does not submit it: it takes ``file:`` addresses in a file and not here.
NOT_SUBMITTED = {"input_types"}
JOBS = sorted((ROOT / "tests/amlocal/fixtures/jobs").glob("*/job.yml"))
AUTOML = ROOT / "tests/amlocal/fixtures/automl"
FILES = [
    *(path for path in JOBS if path.parent.name not in NOT_SUBMITTED),
    *sorted((ROOT / "pipelines").glob("*.yml")),
    *(AUTOML / name for name in ("job.yml", "pipeline.yml")),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessWorkspace]:
    with in_process(tmp_path_factory.mktemp("workspace")) as running:
        running.client().environments.create_or_update(Environment(name="any", version="1", image="none"))
        yield running


@pytest.fixture(scope="module")
def client(workspace: InProcessWorkspace) -> MLClient:
    return workspace.client()


@pytest.fixture(scope="module")
def readings() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("readings", ROOT / "benchmarks" / "readings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["readings"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["readings"]


def name_of(path: Path) -> str:
    return path.parent.name if path.name == "job.yml" else path.stem


def plan_of(path: Path, home: Path) -> Plan:
    plan, problems = examine(path, (), Registry(home))
    assert problems == []
    assert plan is not None
    assert plan.job.unresolved == ()
    return plan


def is_change_of_place(difference: str) -> bool:
    """Say whether two readings differ only in where data lies, or in what a command in its node leaves undeclared."""
    return "/workspace/folders/" in difference or "declared inputs: ours None" in difference


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_submitted_job_means_what_its_file_means(
    path: Path,
    workspace: InProcessWorkspace,
    client: MLClient,
    readings: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if path.parent == AUTOML:
        monkeypatch.chdir(AUTOML)  # azure-ai-ml looks for the tables of an AutoML job from where it is submitted
    job = client.jobs.create_or_update(load_job(path))

    submitted = plan_of(workspace.home / "workspace" / "jobs" / f"{job.name}.yml", workspace.home)
    stated = plan_of(path, workspace.home)

    found = readings.differences(readings.ours(stated.job), readings.ours(submitted.job))
    assert [difference for difference in found if not is_change_of_place(difference)] == []
    assert [(step.name, step.depends) for step in submitted.steps] == [
        (step.name, step.depends) for step in stated.steps
    ]
    assert submitted.outputs == stated.outputs
    content = [difference.rpartition(" ")[2].strip("'") for difference in found if "/workspace/folders/" in difference]
    assert all(Path(place).exists() for place in content)


def command(**more: object) -> dict[str, object]:
    return {"jobType": "Command", "command": "true", "environmentId": "azureml:any:1", **more}


def test_the_words_of_the_rest_interface_become_those_of_yaml() -> None:
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    document = job_document(
        command(
            environmentId=f"{workspace}/environments/any/versions/3",
            computeId=f"{workspace}/computes/gpu-cluster",
            displayName="shown",
            isArchived=False,
            properties={"mlflow.source.git.branch": "main"},
            limits={"timeout": "PT1H30M", "jobLimitsType": "Command"},
            distribution={"distributionType": "PyTorch", "processCountPerInstance": 2},
            resources={"instanceCount": 2, "shmSize": "2g"},
            inputs={"n": {"jobInputType": "literal", "value": "3"}},
            outputs={"m": {"jobOutputType": "mlflow_model", "assetName": "m", "mode": "ReadWriteMount"}},
            environmentVariables={"CamelCase": "kept"},
        )
    )

    assert document == {
        "type": "command",
        "command": "true",
        "environment": "azureml:any:3",
        "compute": "azureml:gpu-cluster",
        "display_name": "shown",
        "limits": {"timeout": 5400},
        "distribution": {"type": "pytorch", "process_count_per_instance": 2},
        "resources": {"instance_count": 2, "shm_size": "2g"},
        "inputs": {"n": "3"},
        "outputs": {"m": {"type": "mlflow_model", "name": "m", "mode": "rw_mount"}},
        "environment_variables": {"CamelCase": "kept"},
    }


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        (["choice", [[1, 2]]], {"type": "choice", "values": [1, 2]}),
        (["uniform", [0, 1]], {"type": "uniform", "min_value": 0, "max_value": 1}),
        (["qlognormal", [0, 1, 2]], {"type": "qlognormal", "mu": 0, "sigma": 1, "q": 2}),
        (["randint", [5]], {"type": "randint", "upper": 5}),
    ],
)
def test_search_spaces(expression: object, written: object) -> None:
    document = job_document({"jobType": "Sweep", "searchSpace": {"x": expression}})

    assert document["search_space"] == {"x": written}


def test_an_automl_job_is_the_file_that_it_came_from() -> None:
    details = {
        "taskType": "TextClassification",
        "targetColumnName": "label",
        "primaryMetric": "AUCWeighted",
        "logVerbosity": "Info",
        "trainingData": {"jobInputType": "mltable", "uri": "azureml:train:1"},
        "validationData": {"jobInputType": "mltable", "uri": "azureml:validation:1"},
        "limitSettings": {"maxTrials": 8, "timeout": "PT1H10M", "trialTimeout": "PT3M", "maxNodes": 1},
        "featurizationSettings": {"datasetLanguage": "eng"},
        "fixedParameters": {"numberOfEpochs": 3, "modelName": None},
        "searchSpace": [{"learningRate": "uniform(0.00001,0.0001)"}],
        "sweepSettings": {"samplingAlgorithm": "random"},
    }

    assert job_document({"jobType": "AutoML", "displayName": "texts", "taskDetails": details}) == {
        "type": "automl",
        "display_name": "texts",
        "task": "text_classification",
        "target_column_name": "label",
        "primary_metric": "AUCWeighted",
        "log_verbosity": "Info",
        "training_data": {"type": "mltable", "path": "azureml:train:1"},
        "validation_data": {"type": "mltable", "path": "azureml:validation:1"},
        "limits": {"max_trials": 8, "timeout_minutes": 70, "trial_timeout_minutes": 3, "max_nodes": 1},
        "featurization": {"dataset_language": "eng"},
        "training_parameters": {"number_of_epochs": 3},
        "search_space": [{}],
        "sweep": {"sampling_algorithm": "random"},
    }


def test_what_is_not_known_goes_on_to_the_reader() -> None:
    """So that nothing that means something is dropped in silence."""
    assert job_document(command(somethingNew={"aB": 1}))["something_new"] == {"a_b": 1}


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"jobType": "Labeling"}, "Jobs of type Labeling do not run on this machine"),
        ({"jobType": "Spark"}, "these do: Pipeline, Command, Sweep, AutoML"),
        (command(inputs=["a"]), "The job's inputs cannot be read"),
        ({"jobType": "Sweep", "searchSpace": {"x": ["guess", []]}}, "there is no distribution 'guess'"),
        ({"jobType": "Sweep", "searchSpace": {"x": ["uniform", [1]]}}, "The job's searchSpace cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(properties: dict[str, object], message: str) -> None:
    with pytest.raises(ArmError) as caught:
        job_document(properties)

    assert caught.value.status == 400
    assert message in caught.value.message


def test_documents_are_plain_yaml(client: MLClient, workspace: InProcessWorkspace) -> None:
    job = client.jobs.create_or_update(load_job(ROOT / "tests/amlocal/fixtures/jobs/sweep_job/job.yml"))

    document = yaml.safe_load((workspace.home / "workspace" / "jobs" / f"{job.name}.yml").read_text())

    assert document["type"] == "sweep"
    assert document["trial"]["environment"] == "azureml:any:1"
