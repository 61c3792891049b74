"""The deploy component itself, from its command line to the endpoint, against the workspace in this process."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from support import load_component, write_evaluation

from amlocal.testing import InProcessWorkspace, in_process
from finetune.errors import InputError
from finetune.evidence import add_evidence
from finetune.files import file_sha256, folder_sha256
from finetune.registration import Registration, write_registration
from finetune.workspace import ModelVersion, serving_model

ROOT = Path(__file__).parents[3]
ANSWERS = {"1": 0.9, "2": 0.8}
"""Version → the probability of "a" that its model answers."""
FAST = {"mirror_seconds": 0, "canary_seconds": 0, "hold_seconds": 0, "probes": 1, "canary_percents": [10, 100]}


def answer(probability: float) -> list[dict]:
    probabilities = {"a": probability, "b": round(1 - probability, 6)}
    return [{"label": "a", "score": probability, "probabilities": probabilities}]


@dataclass
class Site:
    """A workspace with two promoted versions of m, and the way to run deploy there."""

    folder: Path
    definition: Path
    workspace: InProcessWorkspace
    client: MLClient

    def deploy(self, *arguments: str) -> dict:
        load_component("deploy").main(
            [
                *("--endpoint_name", "messages", "--endpoint_definition", str(self.definition)),
                *("--rollout", str(self.folder / "rollout.json"), *arguments),
            ]
        )
        return self.journal()

    def journal(self) -> dict:
        return json.loads((self.folder / "rollout.json").read_text())

    def register(
        self, version: str, champion: str | None, change: Callable[[Path, dict[str, str]], object] | None = None
    ) -> str:
        """Register a version as register does; returns the registration's file.

        Args:
            version: Its number.
            champion: What its verdict compared it with.
            change: Called with the evidence's folder and the tags, before they are registered.
        """
        model = self.folder / f"model-{version}"
        model.mkdir()
        (model / "MLmodel").write_text("metadata:\n  labels: [a, b]\n")
        first = ANSWERS[version]
        example = {
            "input": [{"text": "t"}],
            "output": [{"label": "a", "score": first, "probabilities": [first, 1 - first]}],
        }
        (model / "example_prediction.json").write_text(json.dumps(example))
        evaluation, policy = write_evaluation(self.folder / f"evaluation-{version}", folder_sha256(model), champion)
        verdict = json.loads((evaluation / "verdict.json").read_text())
        tags = {
            "verdict": "promoted",
            "model_sha256": folder_sha256(model),
            "verdict_sha256": file_sha256(evaluation / "verdict.json"),
            "verdict_valid_until": verdict["valid_until"],
            "champion": champion or "none",
        }
        registered = self.folder / f"registered-{version}"
        add_evidence(model, evaluation, policy, registered)
        if change is not None:
            change(registered / "evidence", tags)
        self.client.models.create_or_update(
            Model(path=str(registered), name="m", version=version, type="mlflow_model", tags=tags)
        )
        self.workspace.deployments.answer_with(lambda request: answer(first), model=f"m:{version}")
        path = self.folder / f"registration-{version}.json"
        named = ModelVersion("m", version)
        digests = (tags["model_sha256"], tags["verdict_sha256"])
        write_registration(path, Registration(True, (), named, *digests, tags["verdict_valid_until"], champion, tags))
        return str(path)

    def verdict(self, version: str) -> str:
        return self.client.models.get("m", version=version).tags["verdict_sha256"]

    def serving(self) -> str:
        return str(serving_model(self.client, "messages"))


@pytest.fixture
def site(deploy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    definition = tmp_path / "definition"
    definition.mkdir()
    source = ROOT / "endpoints" / "text-classifier"
    for name in ("endpoint.yml", "deployment.yml", "conda.yml", "score.py", "smoke.jsonl", "answer.schema.json"):
        shutil.copy(source / name, definition)
    policy = yaml.safe_load((source / "rollout.yml").read_text())
    (definition / "rollout.yml").write_text(yaml.safe_dump({**policy, **FAST}))
    monkeypatch.setattr(deploy.rollout, "LOCK_SETTLE_SECONDS", 0.0)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with in_process(tmp_path / "home") as workspace:
            yield Site(tmp_path, definition, workspace, workspace.client())
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_promote_by_registration_and_by_name_and_go_back(site: Site) -> None:
    first = site.register("1", None)
    journal = site.deploy("--registration", first)
    assert (journal["state"], journal["purpose"], journal["golden_requests"]) == ("live", "promote", 0)
    assert site.serving() == "m:1"
    site.register("2", "m:1")
    named = ("--model_name", "m", "--model_version")
    with pytest.raises(InputError, match="the verdict that was approved is other; the version was registered with"):
        site.deploy(*named, "2", "--verdict_sha256", "other")
    assert (site.journal()["state"], site.serving()) == ("unchanged", "m:1")
    journal = site.deploy(*named, "2", "--verdict_sha256", site.verdict("2"))
    assert (journal["state"], site.serving()) == ("live", "m:2")
    with pytest.raises(InputError, match="m:1 was compared with no champion, and m:2 serves at messages now"):
        site.deploy("--registration", first)
    with pytest.raises(InputError, match="m:1 was compared with no champion"):
        site.deploy(*named, "1", "--verdict_sha256", site.verdict("1"))
    assert site.serving() == "m:2"
    journal = site.deploy(*named, "1", "--purpose", "rollback", "--verdict_sha256", "none")
    assert (journal["state"], journal["purpose"], site.serving()) == ("live", "rollback", "m:1")
    assert site.deploy(*named, "1", "--purpose", "rollback")["state"] == "unchanged"
    with pytest.raises(InputError, match="m:9: no such model version in the workspace"):
        site.deploy(*named, "9", "--purpose", "rollback")


def test_a_model_that_answers_as_another_one_is_not_promoted(site: Site) -> None:
    site.deploy("--registration", site.register("1", None))
    second = site.register("2", "m:1")
    site.workspace.deployments.answer_with(lambda request: answer(ANSWERS["1"]), model="m:2")
    with pytest.raises(InputError, match=r"score is 0.9; the model itself answered 0.8"):
        site.deploy("--registration", second)
    assert (site.journal()["state"], site.journal()["failed_step"], site.serving()) == ("rolled back", "smoke", "m:1")


def test_content_that_was_changed_touches_nothing(site: Site) -> None:
    site.deploy("--registration", site.register("1", None))
    second = Path(site.register("2", "m:1"))
    second.write_text(second.read_text().replace('"model_sha256": "', '"model_sha256": "0', 1))
    site.workspace.faults.forget_calls()
    with pytest.raises(InputError, match="m:2: the model digests disagree"):
        site.deploy("--registration", str(second))
    assert site.journal()["state"] == "unchanged"
    assert not [call for call in site.workspace.calls if call.method in ("PUT", "DELETE", "PATCH")]


def edit(path: Path, tags: dict[str, str], **values: object) -> None:
    """Edit a file of the evidence; the tag gets the verdict's right digest, as who can write both would do."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    tags["verdict_sha256"] = file_sha256(path.parent / "verdict.json")


REJECTED = {"metrics": {"challenger": {"accuracy": 0.1, "f1_macro": 0.1}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, tags: shutil.rmtree(folder), "holds no evidence/verdict.json; evaluate and register it anew"),
        (lambda folder, tags: (folder / "gate.yml").unlink(), "holds no evidence/gate.yml"),
        (lambda folder, tags: tags.update(verdict_sha256="v" * 64), "its tag verdict_sha256 is vvvv"),
        (lambda folder, tags: tags.update(verdict_valid_until="2999-01-01T00:00:00+00:00"), "its tag verdict_valid"),
        (
            lambda folder, tags: tags.update(champion="m:8"),
            "its tag champion is m:8; its verdict says none|registered with m:8",
        ),
        (lambda folder, tags: edit(folder / "verdict.json", tags, reasons=["fine"]), "the gate comes to"),
        (lambda folder, tags: edit(folder / "verdict.json", tags, promoted=False), "the gate comes to"),
        (lambda folder, tags: edit(folder / "verdict.json", tags, model_sha256="m" * 64), "its model_sha256 is mmmm"),
        (lambda folder, tags: edit(folder / "verdict.json", tags, valid_until="2999-01-01"), "it was edited"),
        (lambda folder, tags: edit(folder / "metrics.json", tags, **REJECTED), "its metrics_sha256 is"),
        (lambda folder, tags: (folder / "gate.yml").write_text("{}"), "neither|missing"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_verdict_that_does_not_hold_is_not_acted_upon(
    site: Site, change: Callable[[Path, dict[str, str]], object], message: str, named: bool
) -> None:
    registration = site.register("1", None, change)
    by_name = ("--model_name", "m", "--model_version", "1", "--verdict_sha256", site.verdict("1"))
    with pytest.raises(InputError, match=message):
        site.deploy(*(by_name if named else ("--registration", registration)))
    assert site.journal()["state"] == "unchanged"
    assert list(site.client.online_endpoints.list()) == []


def test_a_version_without_its_verdict_can_be_gone_back_to(site: Site) -> None:
    site.register("1", None, lambda folder, tags: shutil.rmtree(folder))
    assert site.deploy("--model_name", "m", "--model_version", "1", "--purpose", "rollback")["state"] == "live"


@pytest.mark.parametrize(("name", "message"), [("rollout.yml", "rollout's policy"), ("smoke.jsonl", "golden requests")])
def test_a_definition_without_policy_or_golden_requests_touches_nothing(site: Site, name: str, message: str) -> None:
    (site.definition / name).unlink()
    with pytest.raises(InputError, match=message):
        site.deploy("--registration", site.register("1", None))
    assert list(site.client.online_endpoints.list()) == []


def test_a_registration_that_was_edited_to_fit_what_serves_touches_nothing(site: Site) -> None:
    site.deploy("--registration", site.register("1", None))
    second = Path(site.register("2", "m:0"))
    value = json.loads(second.read_text())
    assert value["champion"] == "m:0"
    second.write_text(json.dumps({**value, "champion": "m:1"}))
    site.workspace.faults.forget_calls()
    with pytest.raises(InputError, match="verdict compared it with m:1; the version was registered with m:0"):
        site.deploy("--registration", str(second))
    assert (site.journal()["state"], site.serving()) == ("unchanged", "m:1")
    assert not [call for call in site.workspace.calls if call.method in ("PUT", "DELETE", "PATCH")]


@pytest.mark.parametrize("pattern", ["GET …/models/m/versions/2", "GET blob/*", "GET …/onlineEndpoints/messages"])
@pytest.mark.parametrize("ending", ["terminated", "refused"])
def test_what_ends_it_before_the_lock_leaves_a_journal_that_says_unchanged(
    site: Site, pattern: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("--registration", site.register("1", None))
    second = site.register("2", "m:1")
    site.workspace.faults.forget_calls()
    if ending == "refused":
        site.workspace.faults.fail(pattern, status=403)
        with pytest.raises(InputError, match=r"nothing was changed: .*Asked for by the test"):
            site.deploy("--registration", second)
    else:
        answered = site.workspace.faults.after

        def terminate(number: int, call: Any, status: int) -> Any:
            if call.matches(pattern):
                os.kill(os.getpid(), signal.SIGTERM)
            return answered(number, call, status)

        monkeypatch.setattr(site.workspace.faults, "after", terminate)
        with pytest.raises(SystemExit):
            site.deploy("--registration", second)
    assert any(call.matches(pattern) for call in site.workspace.calls)
    journal = site.journal()
    assert (journal["state"], journal["current_step"], site.serving()) == ("unchanged", None, "m:1")
    assert ("Asked for by the test" if ending == "refused" else "SystemExit(143)") in journal["reasons"][0]
    assert not [call for call in site.workspace.calls if call.method in ("PUT", "DELETE", "PATCH")]


@pytest.mark.parametrize("share", [10, 100])
def test_sigterm_puts_the_traffic_back_before_the_process_ends(
    site: Site, share: int, deploy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("--registration", site.register("1", None))
    second = site.register("2", "m:1")
    asked: list[None] = []
    send = deploy.probes.make_ask()

    def terminated(target: Any, body: Any) -> Any:
        traffic = site.client.online_endpoints.get("messages").traffic
        if share in [percent for name, percent in traffic.items() if name != "blue"] and not asked:
            asked.append(None)
            os.kill(os.getpid(), signal.SIGTERM)
        return send(target, body)

    world = deploy.rollout.World
    monkeypatch.setattr(deploy.rollout, "World", lambda: world(send=terminated))
    with pytest.raises(SystemExit) as caught:
        site.deploy("--registration", second)
    assert caught.value.code == 128 + signal.SIGTERM
    journal = site.journal()
    assert (journal["state"], journal["reasons"]) == ("rolled back", ["SystemExit: 143"])
    assert journal["failed_step"] == f"canary {share} %"
    assert site.client.online_endpoints.get("messages").traffic == {"blue": 100}
    assert [part.name for part in site.client.online_deployments.list("messages")] == ["blue"]
