import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import load_component

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.files import folder_sha256
from finetune.registration import read_registration


@pytest.fixture
def verdict(message_dataset: Path, trained_model: Path) -> dict:
    return {
        "promoted": True,
        "reasons": ["good"],
        "checks": [{"name": "minimum", "passed": True, "reason": "good"}],
        "model_sha256": folder_sha256(trained_model),
        "test_sha256": read_manifest(message_dataset).splits["test"].sha256,
        "policy_sha256": "p" * 64,
        "champion": {"name": "messages", "version": "2"},
    }


@pytest.fixture
def run(message_dataset: Path, trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    registered: list = []

    def register(verdict: dict):
        module = load_component("register")
        evaluation = tmp_path / "evaluation"
        evaluation.mkdir()
        (evaluation / "verdict.json").write_text(json.dumps(verdict))
        (evaluation / "metrics.json").write_text(json.dumps({"metrics": {"challenger": {"accuracy": 0.91}}}))

        def create_or_update(model):
            registered.append(model)
            return SimpleNamespace(name=model.name, version=3)

        client = SimpleNamespace(models=SimpleNamespace(create_or_update=create_or_update))
        monkeypatch.setattr(module, "connect", lambda: client)
        monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "job-1")
        module.main(
            [
                *("--model", str(trained_model), "--evaluation", str(evaluation)),
                *("--dataset", str(message_dataset), "--model_name", "messages", "--commit", "abc"),
                *("--registration", str(tmp_path / "registration.json")),
            ]
        )
        return read_registration(tmp_path / "registration.json")

    return SimpleNamespace(run=register, registered=registered)


def test_a_promoted_model_is_registered_with_its_lineage(run, verdict: dict) -> None:
    registration = run.run(verdict)
    (model,) = run.registered
    assert registration.registered is True
    assert str(registration.model) == "messages:3"
    assert registration.model_sha256 == verdict["model_sha256"]
    tags = model.tags
    assert model.type == "mlflow_model"
    assert tags["job"] == "job-1"
    assert tags["commit"] == "abc"
    assert tags["champion"] == "messages:2"
    assert tags["test_accuracy"] == "0.910000"
    assert tags["model_sha256"] == verdict["model_sha256"]
    assert tags["test_sha256"] == verdict["test_sha256"]
    assert tags["verdict"] == "promoted"
    assert all(len(value) <= 256 for value in tags.values())


def test_a_rejected_model_is_not_registered_and_is_no_error(run, verdict: dict) -> None:
    rejected = {**verdict, "promoted": False, "reasons": ["too weak"]}
    rejected["checks"] = [{"name": "minimum", "passed": False, "reason": "too weak"}]
    registration = run.run(rejected)
    assert registration.registered is False
    assert registration.reasons == ("too weak",)
    assert run.registered == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "0" * 64}, "the verdict is about the model 0000"),
        ({"test_sha256": "0" * 64}, "the verdict is about the test rows 0000"),
        ({"promoted": "true"}, "the verdict says promoted: 'true'"),
        ({"promoted": None}, "the verdict says promoted: None"),
        ({"checks": []}, "expected an answer and its checks"),
        ({"checks": [{"name": "x", "passed": False, "reason": "r"}]}, "does not follow from its checks"),
        ({"checks": [{"name": "x", "passed": "true", "reason": "r"}]}, "does not follow from its checks"),
    ],
)
def test_a_verdict_that_does_not_hold_registers_nothing(run, verdict: dict, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run.run({**copy.deepcopy(verdict), **change})
    assert run.registered == []
