import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from finetune.errors import InputError
from finetune.files import write_json
from finetune.gate import Evidence, UnusableChampion, read_policy
from finetune.verdict import METRICS_FILE, VERDICT_FILE, verify_verdict, write_verdict
from finetune.workspace import ModelVersion

POLICY = {
    "primary_metric": "f1_macro",
    "minimum": {"accuracy": 0.7},
    "maximum": {},
    "minimum_improvement": 0.01,
    "without_champion": "promote",
}
CHALLENGER = Evidence("m" * 64, "t" * 64, {"accuracy": 0.9, "f1_macro": 0.9}, "challenger")
CHAMPION = Evidence("c" * 64, "t" * 64, {"accuracy": 0.8, "f1_macro": 0.8}, "messages:2")
SERVING = ModelVersion("messages", "2")


def evaluate(folder: Path, challenger: Evidence, champion: Evidence | UnusableChampion | None) -> Callable[[], dict]:
    """Write an evaluation; return what verifies it."""
    policy_path = folder / "gate.yml"
    policy_path.write_text(yaml.safe_dump(POLICY))
    policy = read_policy(policy_path, ("accuracy", "f1_macro"), ())
    measured = {"challenger": dict(challenger.metrics)}
    if isinstance(champion, Evidence):
        measured["champion"] = dict(champion.metrics)
    write_json(folder / METRICS_FILE, {"test_sha256": challenger.test_sha256, "metrics": measured})
    serving = None if champion is None else (SERVING, champion)
    write_verdict(folder, challenger, serving, policy, policy_path, "2026-01-01")
    return lambda: verify_verdict(folder, "m" * 64, "t" * 64, policy, policy_path)


@pytest.mark.parametrize("champion", [CHAMPION, None, UnusableChampion("messages:2", "it does not load")])
@pytest.mark.parametrize("accuracy", [0.9, 0.1])
def test_what_the_gate_said_is_verified(
    tmp_path: Path, champion: Evidence | UnusableChampion | None, accuracy: float
) -> None:
    challenger = replace(CHALLENGER, metrics={"accuracy": accuracy, "f1_macro": 0.9})
    written = evaluate(tmp_path, challenger, champion)()
    assert written["promoted"] is (accuracy == 0.9 and not isinstance(champion, UnusableChampion))


def edit(path: Path, **change: object) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, **change}))


PASSED = [{"name": "minimum accuracy", "passed": True, "reason": "fine"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promoted": True}, "the gate comes to"),
        ({"promoted": True, "checks": PASSED, "reasons": ["fine"]}, "the gate comes to"),
        ({"promoted": "true"}, "the gate comes to"),
        ({"checks": []}, "the gate comes to"),
        ({"reasons": ["fine"]}, "the gate comes to"),
        ({"champion": None}, "names no champion, but one was measured"),
        ({"champion": {"name": "messages"}}, "'version' is missing"),
        ({"model_sha256": "x"}, "its model_sha256 is x"),
        ({"test_sha256": "x"}, "its test_sha256 is x"),
        ({"policy_sha256": "x"}, "its policy_sha256 is x"),
        ({"metrics_sha256": "x"}, "its metrics_sha256 is x"),
        ({"metrics_sha256": None}, "its metrics_sha256 is None"),
    ],
)
def test_an_edited_verdict_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    weak = replace(CHALLENGER, metrics={"accuracy": 0.1, "f1_macro": 0.9})
    verify = evaluate(tmp_path, weak, CHAMPION)
    assert verify()["promoted"] is False
    edit(tmp_path / VERDICT_FILE, **change)
    with pytest.raises(InputError, match=message):
        verify()


def test_other_metrics_than_the_gate_saw_are_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit(tmp_path / METRICS_FILE, metrics={"challenger": {"accuracy": 1.0, "f1_macro": 1.0}})
    with pytest.raises(InputError, match="its metrics_sha256 is"):
        verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"metrics": {"challenger": {}}}, "the gate comes to"), ({"metrics": {}}, "no metrics of the challenger")],
)
def test_metrics_that_lack_a_figure_are_refused_even_with_the_right_digest(
    tmp_path: Path, change: dict, message: str
) -> None:
    from finetune.files import file_sha256

    verify = evaluate(tmp_path, CHALLENGER, None)
    edit(tmp_path / METRICS_FILE, **change)
    edit(tmp_path / VERDICT_FILE, metrics_sha256=file_sha256(tmp_path / METRICS_FILE))
    with pytest.raises(InputError, match=message):
        verify()


def test_metrics_of_other_rows_are_refused(tmp_path: Path) -> None:
    from finetune.files import file_sha256

    verify = evaluate(tmp_path, CHALLENGER, None)
    edit(tmp_path / METRICS_FILE, test_sha256="x")
    edit(tmp_path / VERDICT_FILE, metrics_sha256=file_sha256(tmp_path / METRICS_FILE))
    with pytest.raises(InputError, match="its test_sha256 is x"):
        verify()


def test_another_policy_is_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    (tmp_path / "gate.yml").write_text(yaml.safe_dump({**POLICY, "minimum": {"accuracy": 0.99}}))
    with pytest.raises(InputError, match="its policy_sha256 is"):
        verify()
