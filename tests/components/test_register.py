import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from azure.ai.ml.entities import Model
from support import GATE_POLICY, load_component

from finetune.answers.single_label import columns_of, label_ids
from finetune.answers.test_rows import choose_test_rows, predictions_frame, read_test_rows
from finetune.data.manifest import read_manifest
from finetune.environment import environment_sha256
from finetune.errors import InputError
from finetune.evidence import model_megabytes, model_sha256, verify_evidence
from finetune.files import file_sha256, folder_megabytes, folder_sha256, write_json
from finetune.measurement import ModelFacts, measure
from finetune.policy import read_policy
from finetune.registration import read_registration
from finetune.tasks import task_named
from finetune.verdict import METRICS_FILE, PREDICTIONS_FILE, REPORTS, VERDICT_FILE, draft_verdict
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
        version = len(self.registry) + 3
        content = shutil.copytree(model.path, self.folder / f"version-{version}" / Path(model.path).name)
        self.registry.append(SimpleNamespace(name=model.name, version=version, tags=model.tags, content=content))
        return self.registry[-1]

    def list(self, name: str) -> list[Any]:
        return [model for model in self.registry if model.name == name]

    def evaluate(self, right: int = 12, champion_right: int = 4, decided_at: datetime | None = None) -> None:
        """Write what evaluate writes of models that answer so many of the 12 test rows rightly."""
        manifest, policy = read_manifest(self.dataset), read_policy(self.policy_path, task_named("text-classification"))
        frame = read_test_rows(self.dataset, manifest)
        frame, rows = choose_test_rows(frame, manifest, subtract=True)
        true = label_ids(frame, manifest.labels)

        def answers(right: int) -> np.ndarray:
            given = np.where(np.arange(len(true)) < right, true, (true + 1) % 3)
            probabilities = np.full((len(true), 3), 0.1)
            probabilities[np.arange(len(true)), given] = 0.8
            return probabilities

        given = {"challenger": answers(right), "champion": answers(champion_right)}
        columns = {model: columns_of(probabilities, manifest.labels) for model, probabilities in given.items()}
        answered = predictions_frame(frame, columns)
        challenger = ModelFacts(folder_sha256(self.model), 5.0, folder_megabytes(self.model))
        serving = (CHAMPION, ModelFacts("c" * 64, 5.0, 1.0))
        measured = measure(answered, rows, manifest, policy, challenger, serving, decided_at or datetime.now(UTC))
        write_json(self.evaluation / METRICS_FILE, measured)
        answered.to_parquet(self.evaluation / PREDICTIONS_FILE, index=False)
        for name in REPORTS:
            (self.evaluation / name).write_text("a report")
        self.decide()

    def decide(self) -> None:
        """Let the gate decide by what is in the folder."""
        policy = read_policy(self.policy_path, task_named("text-classification"))
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
    assert tags["environment_sha256"] == environment_sha256()
    assert tags["champion"] == "messages:2"
    assert tags["test_accuracy"] == "1.000000"
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
    assert again.model != first.model, "a version carries its verdict, and another verdict is another version"
    assert again.verdict_sha256 != first.verdict_sha256
    assert [model.tags["verdict_sha256"] for model in stage.registry] == [first.verdict_sha256, again.verdict_sha256]
    stage.registry[1].tags = {**stage.registry[1].tags, "model_sha256": "another"}
    assert stage.run().model not in (first.model, again.model)


def test_a_version_carries_its_verdict_and_is_the_same_model(stage: Stage) -> None:
    stage.evaluate()
    registration = stage.run()
    (model,) = stage.registry
    assert model.content.name == stage.model.name
    assert model_sha256(model.content) == folder_sha256(stage.model) != folder_sha256(model.content)
    assert model_megabytes(model.content) == folder_megabytes(stage.model)
    assert sorted(path.name for path in (model.content / "evidence").iterdir()) == [
        *("gate.yml", "metrics.json", "verdict.json")
    ]
    verdict = verify_evidence(registration.model, model.content, model.tags, datetime.now(UTC))
    assert verdict["promoted"] is True
    for row in pd.read_parquet(stage.evaluation / PREDICTIONS_FILE)["text"]:
        assert row not in (model.content / "evidence" / "metrics.json").read_text()


@pytest.mark.parametrize(("right", "champion_right"), [(6, 4), (10, 10), (10, 12)])
def test_a_rejected_model_is_not_registered_and_is_no_error(stage: Stage, right: int, champion_right: int) -> None:
    stage.evaluate(right, champion_right)
    registration = stage.run()
    assert registration.registered is False
    assert registration.reasons
    assert stage.registry == []


def test_a_verdict_that_does_not_hold_registers_nothing(stage: Stage) -> None:
    stage.evaluate(right=6)
    verdict = stage.evaluation / "verdict.json"
    verdict.write_text(verdict.read_text().replace('"promoted": false', '"promoted": true'))
    with pytest.raises(InputError, match="the gate comes to"):
        stage.run()
    assert stage.registry == []
    assert not (stage.folder / "registration.json").exists()


def edit_metrics(stage: Stage, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit metrics.json, and let the gate decide by what it says then."""
    path = stage.evaluation / METRICS_FILE
    value = json.loads(path.read_text())
    edit(value)
    write_json(path, value)
    stage.decide()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda m: m["metrics"]["challenger"].update(accuracy=1.0),
            r"metrics\.challenger\.accuracy is 1\.0; from pred",
        ),
        (lambda m: m["metrics"]["challenger"].pop("mcc"), r"metrics\.challenger\.mcc is missing"),
        (lambda m: m["metrics"]["challenger"].update(model_megabytes=0.1), r"model_megabytes is 0\.1"),
        (lambda m: m["metrics"]["champion"].update(log_loss=9.0), r"metrics\.champion\.log_loss is 9\.0"),
        (lambda m: m["comparison"].update(p_value=0.5), r"comparison\.p_value is 0\.5"),
        (lambda m: m["comparison"]["difference"].update(low=0.3), r"comparison\.difference\.low is 0\.3"),
        (lambda m: m["comparison"]["slices"].pop("length: long"), r"comparison\.slices\.length: long is missing"),
        (lambda m: m["test_rows"].update(rows=11), r"test_rows\.rows is 11"),
        (lambda m: m["test_rows"]["slices"].update({"label: billing": 99}), r"test_rows\.slices\.label: billing is 99"),
        (lambda m: m["test_rows"].pop("slices"), r"test_rows\.slices is missing"),
        (lambda m: m["test_rows"].update(seen_in_train=1), r"test_rows\.seen_in_train is 1"),
        (lambda m: m["test_rows"].update(subtracted=2), r"test_rows\.subtracted is 2"),
        (lambda m: m["labels"][0].update(f1=0.99), r"labels\[0\]\.f1 is 0\.99"),
        (lambda m: m.update(task="text-pair-classification"), r"task is text-pair-classification"),
    ],
)
def test_figures_that_do_not_follow_from_the_answers_register_nothing(
    stage: Stage, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    stage.evaluate(right=11)
    edit_metrics(stage, edit)
    with pytest.raises(InputError, match=message):
        stage.run()
    assert stage.registry == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda frame: frame.iloc[1:], "its rows are not the test rows"),
        (lambda frame: frame.assign(text="another"), "its rows are not the test rows"),
        (lambda frame: frame.assign(label=frame["challenger"]), "its rows are not the test rows"),
        (lambda frame: frame.drop(columns="challenger:billing"), "no probabilities of the challenger"),
        (lambda frame: frame.drop(columns="challenger"), "holds no answers of the challenger"),
        (lambda frame: frame.drop(columns="champion"), "expected the metrics that evaluate writes"),
        (lambda frame: frame.assign(champion=frame["label"]), "the champion's answers are not its most probable"),
        (lambda frame: frame.assign(**{"challenger:billing": 2.0}), "do not sum to 1"),
    ],
)
def test_answers_to_other_rows_register_nothing(
    stage: Stage, edit: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    stage.evaluate(right=11)
    path = stage.evaluation / PREDICTIONS_FILE
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    stage.decide()
    with pytest.raises(InputError, match=message):
        stage.run()
    assert stage.registry == []


def test_an_expired_verdict_registers_nothing(stage: Stage) -> None:
    stage.evaluate(decided_at=datetime.now(UTC) - timedelta(days=15))
    with pytest.raises(InputError, match="the verdict was valid until"):
        stage.run()
    assert stage.registry == []
