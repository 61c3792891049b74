from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from azure.ai.ml.entities import Model
from support import GATE_POLICY, load_component

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.files import file_sha256, folder_sha256, write_json
from finetune.gate import Champion, Difference, Evidence, TestRows
from finetune.metrics.known import KNOWN_METRICS, LESS_IS_BETTER
from finetune.policy import read_policy
from finetune.registration import read_registration
from finetune.verdict import METRICS_FILE, PREDICTIONS_FILE, VERDICT_FILE, describe_evidence, draft_verdict
from finetune.workspace import ModelVersion

CHAMPION = ModelVersion("messages", "2")


class Stage:
    """Register, with a verdict that the gate came to, and a registry in memory."""

    def __init__(self, folder: Path, dataset: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.dataset, self.model = folder, dataset, model
        self.evaluation = folder / "evaluation"
        self.evaluation.mkdir()
        self.policy_path = folder / "gate.yml"
        self.policy_path.write_text(yaml.safe_dump(GATE_POLICY))
        self.test_sha256 = read_manifest(dataset).splits["test"].sha256
        self.registry: list[Any] = []
        self.module = load_component("register")
        client = SimpleNamespace(models=SimpleNamespace(create_or_update=self.create, list=self.list))
        monkeypatch.setattr(self.module, "connect", lambda: client)
        monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "job-1")

    def create(self, model: Any) -> SimpleNamespace:
        if not isinstance(model, Model):  # a version that is known gets other tags
            return model
        self.registry.append(SimpleNamespace(name=model.name, version=len(self.registry) + 3, tags=model.tags))
        return self.registry[-1]

    def list(self, name: str) -> list[Any]:
        return [model for model in self.registry if model.name == name]

    def evaluate(
        self, accuracy: float = 0.91, f1: float = 0.9, champion_f1: float = 0.8, decided_at: datetime | None = None
    ) -> None:
        decided_at = decided_at or datetime.now(UTC)
        policy = read_policy(self.policy_path, KNOWN_METRICS, LESS_IS_BETTER)
        figures = {"accuracy": accuracy, "f1_macro": f1}
        challenger = Evidence(folder_sha256(self.model), self.test_sha256, figures, "challenger")
        champion = Evidence("c" * 64, self.test_sha256, {"f1_macro": champion_f1}, str(CHAMPION))
        gain = f1 - champion_f1
        difference = Difference("f1_macro", 100, gain, gain - 0.05, gain + 0.05, 0.95)
        slices = {"label: a": Difference("accuracy", 50, 0.1, 0.0, 0.2, 0.95)}
        serving = (CHAMPION, Champion(champion, difference, "paired permutation test", 0.01, slices))
        evidence = describe_evidence(challenger, serving, TestRows(self.test_sha256, 100, 0), decided_at)
        write_json(self.evaluation / METRICS_FILE, evidence)
        (self.evaluation / PREDICTIONS_FILE).write_bytes(b"answers")
        verdict = draft_verdict(self.evaluation, policy, self.policy_path)
        write_json(self.evaluation / VERDICT_FILE, verdict)

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
    assert tags["verdict_sha256"] == registration.verdict_sha256 == file_sha256(stage.evaluation / VERDICT_FILE)
    assert tags["verdict_valid_until"] == registration.valid_until
    assert registration.champion == "messages:2"
    assert all(len(value) <= 256 for value in tags.values())


def test_the_same_model_is_registered_once(stage: Stage) -> None:
    stage.evaluate()
    first, second = stage.run(), stage.run()
    assert first.model == second.model
    assert len(stage.registry) == 1
    stage.evaluate(decided_at=datetime.now(UTC) - timedelta(days=1))
    again = stage.run()
    assert again.model == first.model
    assert again.verdict_sha256 != first.verdict_sha256
    assert stage.registry[0].tags["verdict_sha256"] == again.verdict_sha256
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


def test_an_expired_verdict_registers_nothing(stage: Stage) -> None:
    stage.evaluate(decided_at=datetime.now(UTC) - timedelta(days=15))
    with pytest.raises(InputError, match="the verdict was valid until"):
        stage.run()
    assert stage.registry == []
