"""What the pipeline files say, to the unmodified client and to a reader."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml import MLClient, load_job

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "pipelines").glob("*.yml"))
CLUSTERS = {"azureml:cpu-cluster", "azureml:gpu-cluster"}


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_the_unmodified_client_accepts_it(path: Path, ml_client: MLClient) -> None:
    result = ml_client.jobs.validate(load_job(path))
    assert result.passed, result.error_messages


def test_the_pipelines_are_these() -> None:
    assert [path.stem for path in PIPELINES] == [
        *("automl_comparison", "compare_skus", "deploy", "finetune", "finetune_compressed", "train"),
        "train_distributed",
    ]


def test_train_and_deploy_say_what_finetune_says() -> None:
    finetune, train, deploy = (read(ROOT / "pipelines" / f"{name}.yml") for name in ("finetune", "train", "deploy"))
    assert list(finetune["jobs"]) == ["prep", "sweep", "evaluate", "register", "deploy"]
    assert {name: finetune["jobs"][name] for name in train["jobs"]} == train["jobs"]
    assert {name: finetune["inputs"][name] for name in train["inputs"]} == train["inputs"]
    assert set(finetune["inputs"]) - set(train["inputs"]) == {"endpoint_definition"}
    assert {name: finetune["inputs"][name] for name in ("model_name", "endpoint_name", "endpoint_definition")} == {
        name: deploy["inputs"][name] for name in ("model_name", "endpoint_name", "endpoint_definition")
    }


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_no_input_is_a_value_that_the_service_takes_for_missing(path: Path) -> None:
    """Empty strings, 0 and false are dropped on the way (azure-sdk-for-python issues 35285, 41834)."""
    for name, value in read(path)["inputs"].items():
        assert value, name


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_input_and_output_is_used(path: Path) -> None:
    value = read(path)
    text = yaml.safe_dump(value["jobs"])
    for side in ("inputs", "outputs"):
        for name in value[side]:
            assert f"${{{{parent.{side}.{name}}}}}" in text, f"{side}.{name}"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_computes_are_the_two_clusters(path: Path) -> None:
    value = read(path)
    computes = {value["settings"]["default_compute"], *(job.get("compute") for job in value["jobs"].values())} - {None}
    assert computes <= CLUSTERS


def test_the_sweep_searches_what_the_trial_takes() -> None:
    sweep = read(ROOT / "pipelines" / "finetune.yml")["jobs"]["sweep"]
    component = read(ROOT / "components" / "train" / "component.yml")
    assert set(sweep["search_space"]) == {"learning_rate", "num_train_epochs", "per_device_train_batch_size"}
    assert set(sweep["search_space"]) | set(sweep["inputs"]) <= set(component["inputs"])
    assert sweep["sampling_algorithm"]["type"] == "random"
    assert sweep["early_termination"]["type"] == "bandit"
    assert sweep["objective"] == {"primary_metric": "score", "goal": "maximize"}
    assert sweep["limits"]["max_total_trials"] >= 4
