from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support import load_component

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.files import folder_sha256, write_json
from finetune.gate import Evidence, GatePolicy, read_policy
from finetune.registration import read_registration
from finetune.verdict import METRICS_FILE, write_verdict
from finetune.workspace import ModelVersion

POLICY = {
    "primary_metric": "f1_macro",
    "minimum": {"accuracy": 0.7},
    "maximum": {},
    "minimum_improvement": 0.01,
    "without_champion": "promote",
}
CHAMPION = ModelVersion("messages", "2")


class Stage:
    """Register, with a verdict that the gate came to, and a registry in memory."""

    def __init__(self, folder: Path, dataset: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.dataset, self.model = folder, dataset, model
        self.evaluation = folder / "evaluation"
        self.evaluation.mkdir()
        self.policy_path = folder / "gate.yml"
        self.policy_path.write_text(yaml.safe_dump(POLICY))
        self.test_sha256 = read_manifest(dataset).splits["test"].sha256
        self.registry: list[Any] = []
        self.module = load_component("register")
        client = SimpleNamespace(models=SimpleNamespace(create_or_update=self.create, list=self.list))
        monkeypatch.setattr(self.module, "connect", lambda: client)
        monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "job-1")

    def create(self, model: Any) -> SimpleNamespace:
        self.registry.append(SimpleNamespace(name=model.name, version=len(self.registry) + 3, tags=model.tags))
        return self.registry[-1]

    def list(self, name: str) -> list[Any]:
        return [model for model in self.registry if model.name == name]

    def evaluate(self, accuracy: float = 0.91, f1: float = 0.9, champion_f1: float = 0.8) -> None:
        figures = {"challenger": {"accuracy": accuracy, "f1_macro": f1}, "champion": {"f1_macro": champion_f1}}
        write_json(self.evaluation / METRICS_FILE, {"test_sha256": self.test_sha256, "metrics": figures})
        policy: GatePolicy = read_policy(self.policy_path, ("accuracy", "f1_macro"), ())
        challenger = Evidence(folder_sha256(self.model), self.test_sha256, figures["challenger"], "challenger")
        champion = Evidence("c" * 64, self.test_sha256, figures["champion"], str(CHAMPION))
        write_verdict(self.evaluation, challenger, (CHAMPION, champion), policy, self.policy_path, "2026-01-01")

    def run(self):
        self.module.main(
            [
                *("--model", str(self.model), "--evaluation", str(self.evaluation), "--commit", "abc"),
                *("--dataset", str(self.dataset), "--model_name", "messages"),
                *("--gate_policy", str(self.policy_path), "--registration", str(self.folder / "registration.json")),
            ]
        )
        return read_registration(self.folder / "registration.json")


@pytest.fixture
def stage(message_dataset: Path, trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, message_dataset, trained_model, monkeypatch)


def test_a_promoted_model_is_registered_with_its_lineage(stage: Stage) -> None:
    stage.evaluate()
    registration = stage.run()
    (model,) = stage.registry
    assert registration.registered is True
    assert str(registration.model) == "messages:3"
    tags = model.tags
    assert tags["job"] == "job-1"
    assert tags["commit"] == "abc"
    assert tags["champion"] == "messages:2"
    assert tags["test_accuracy"] == "0.910000"
    assert tags["model_sha256"] == registration.model_sha256 == folder_sha256(stage.model)
    assert tags["test_sha256"] == stage.test_sha256
    assert tags["verdict"] == "promoted"
    assert all(len(value) <= 256 for value in tags.values())


def test_the_same_model_is_registered_once(stage: Stage) -> None:
    stage.evaluate()
    first, second = stage.run(), stage.run()
    assert first.model == second.model
    assert len(stage.registry) == 1
    stage.registry[0].tags = {**stage.registry[0].tags, "model_sha256": "another"}
    assert stage.run().model != first.model


@pytest.mark.parametrize("figures", [{"accuracy": 0.5}, {"f1": 0.8}, {"f1": 0.7}])
def test_a_rejected_model_is_not_registered_and_is_no_error(stage: Stage, figures: dict[str, float]) -> None:
    stage.evaluate(**figures)
    registration = stage.run()
    assert registration.registered is False
    assert registration.reasons
    assert stage.registry == []


def test_a_verdict_that_does_not_hold_registers_nothing(stage: Stage) -> None:
    stage.evaluate(accuracy=0.5)
    verdict = stage.evaluation / "verdict.json"
    verdict.write_text(verdict.read_text().replace('"promoted": false', '"promoted": true'))
    with pytest.raises(InputError, match="the gate comes to"):
        stage.run()
    assert stage.registry == []
    assert not (stage.folder / "registration.json").exists()
