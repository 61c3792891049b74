from types import SimpleNamespace

import pytest
from azure.core.exceptions import ResourceNotFoundError

from finetune.errors import InputError
from finetune.workspace import ModelVersion, connect, parse_model_reference, serving_model

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


@pytest.mark.parametrize("reference", ["m:10", "azureml:m:10", f"{ARM}/models/m/versions/10"])
def test_model_references(reference: str) -> None:
    assert parse_model_reference(reference) == ModelVersion("m", "10")


@pytest.mark.parametrize("reference", ["m", "azureml:m", "", f"{ARM}/models/m"])
def test_a_reference_without_a_version_is_refused(reference: str) -> None:
    with pytest.raises(InputError, match="expected an exact name:version"):
        parse_model_reference(reference)


def test_outside_a_job_there_is_no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZUREML_ARM_WORKSPACE_NAME", raising=False)
    with pytest.raises(InputError, match=r"AZUREML_ARM_WORKSPACE_NAME.* not set; run the stage in a job"):
        connect()


def client(traffic: dict[str, int] | None) -> SimpleNamespace:
    def get_endpoint(name: str) -> SimpleNamespace:
        if traffic is None:
            raise ResourceNotFoundError(name)
        return SimpleNamespace(traffic=traffic)

    models = {"blue": "azureml:m:1", "green": SimpleNamespace(id=f"{ARM}/models/m/versions/2")}
    return SimpleNamespace(
        online_endpoints=SimpleNamespace(get=get_endpoint),
        online_deployments=SimpleNamespace(get=lambda name, endpoint: SimpleNamespace(model=models[name])),
    )


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (None, None),
        ({}, None),
        ({"blue": 0, "green": 0}, None),
        ({"blue": 100}, ModelVersion("m", "1")),
        ({"blue": 10, "green": 90}, ModelVersion("m", "2")),
    ],
)
def test_the_champion_is_the_model_with_most_traffic(traffic: dict | None, expected: ModelVersion | None) -> None:
    assert serving_model(client(traffic), "endpoint") == expected
