import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import GATE_POLICY

import finetune
from finetune.errors import InputError
from finetune.files import file_sha256, write_json
from finetune.gate import Champion, Difference, Evidence, NoChampion, TestRows, UnusableChampion
from finetune.policy import read_policy
from finetune.tasks import task_named
from finetune.verdict import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    REPORTS,
    VERDICT_FILE,
    check_valid,
    code_sha256,
    describe_evidence,
    draft_verdict,
    verify_kept_verdict,
    verify_verdict,
)
from finetune.workspace import ModelVersion

CHALLENGER = Evidence("m" * 64, "t" * 64, {"accuracy": 0.9, "f1_macro": 0.9}, "challenger")
CHAMPION = Champion(
    Evidence("c" * 64, "t" * 64, {"accuracy": 0.8, "f1_macro": 0.8}, "messages:2"),
    Difference("f1_macro", 100, 0.1, 0.05, 0.15, 0.95),
    "paired permutation test",
    0.002,
    {"label: a": Difference("accuracy", 50, 0.1, 0.0, 0.2, 0.95)},
)
ROWS = TestRows("t" * 64, 100, 0, slices={"label: a": 50})
SERVING = ModelVersion("messages", "2")
DECIDED = datetime(2026, 1, 1, 12, tzinfo=UTC)

Verify = Callable[..., dict[str, Any]]


def evaluate(folder: Path, challenger: Evidence, champion: Champion | UnusableChampion | NoChampion) -> Verify:
    """Write an evaluation; return what verifies it, an hour later unless told otherwise."""
    policy_path = folder / "gate.yml"
    policy_path.write_text(yaml.safe_dump(GATE_POLICY))
    policy = read_policy(policy_path, task_named("text-classification"))
    serving = champion if isinstance(champion, NoChampion) else (SERVING, champion)
    evidence = describe_evidence(challenger, serving, ROWS, DECIDED)
    write_json(folder / METRICS_FILE, {"task": "text-classification", "rows": 100, **evidence})
    (folder / PREDICTIONS_FILE).write_bytes(b"answers")
    for name in REPORTS:
        (folder / name).write_text("a report")
    write_json(folder / VERDICT_FILE, draft_verdict(folder, policy, policy_path))
    return lambda now=DECIDED + timedelta(hours=1): verify_verdict(folder, "m" * 64, "t" * 64, policy, policy_path, now)


def edit(path: Path, **change: object) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, **change}))


def edit_metrics(folder: Path, **change: object) -> None:
    """Edit metrics.json and put its right digest into the verdict."""
    edit(folder / METRICS_FILE, **change)
    edit(folder / VERDICT_FILE, metrics_sha256=file_sha256(folder / METRICS_FILE))


@pytest.mark.parametrize(
    "champion",
    [CHAMPION, NoChampion("messages"), NoChampion(None), UnusableChampion("messages:2", "it does not load")],
)
@pytest.mark.parametrize("accuracy", [0.9, 0.1])
def test_what_the_gate_said_is_verified(
    tmp_path: Path, champion: Champion | UnusableChampion | NoChampion, accuracy: float
) -> None:
    challenger = replace(CHALLENGER, metrics={"accuracy": accuracy, "f1_macro": 0.9})
    written = evaluate(tmp_path, challenger, champion)()
    assert written["promoted"] is (accuracy == 0.9 and not isinstance(champion, UnusableChampion))
    if isinstance(champion, Champion):
        assert written["comparison"]["difference"]["low"] == 0.05
        assert written["champion"] == {"name": "messages", "version": "2", "model_sha256": "c" * 64}


PASSED = [{"name": "minimum accuracy", "passed": True, "reason": "fine"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promoted": True}, "the gate comes to"),
        ({"promoted": True, "checks": PASSED, "reasons": ["fine"]}, "the gate comes to"),
        ({"promoted": "true"}, "the gate comes to"),
        ({"checks": []}, "the gate comes to"),
        ({"reasons": ["fine"]}, "the gate comes to"),
        ({"champion": None}, "the gate comes to"),
        ({"champion": {"name": "messages"}}, "the gate comes to"),
        ({"comparison": None}, "the gate comes to"),
        ({"model_sha256": "x"}, "its model_sha256 is x"),
        ({"test_sha256": "x"}, "its test_sha256 is x"),
        ({"policy_sha256": "x"}, "its policy_sha256 is x"),
        ({"code_sha256": "x"}, "its code_sha256 is x"),
        ({"predictions_sha256": "x"}, "its predictions_sha256 is x"),
        ({"metrics_sha256": "x"}, "its metrics_sha256 is x"),
        ({"reports_sha256": {}}, "its reports_sha256 is {}"),
        ({"metrics_sha256": None}, "its metrics_sha256 is None"),
        ({"decided_at": "2025-12-01T00:00:00+00:00"}, "decided_at: not as the gate writes it"),
        ({"valid_until": "2036-01-01T00:00:00+00:00"}, "valid_until: not as the gate writes it"),
        ({"decided_at": "2036-01-01T00:00:00+00:00", "valid_until": "2036-01-15T00:00:00+00:00"}, "it was edited"),
        ({"valid_until": None}, "valid_until: not as the gate writes it"),
        ({"policy": {"minimum": {"accuracy": 0.99}}}, "policy: not as the gate writes it"),
        ({"approved": "by nobody"}, "approved: not as the gate writes it"),
    ],
)
def test_an_edited_verdict_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    weak = replace(CHALLENGER, metrics={"accuracy": 0.1, "f1_macro": 0.9})
    verify = evaluate(tmp_path, weak, CHAMPION)
    assert verify()["promoted"] is False
    edit(tmp_path / VERDICT_FILE, **change)
    with pytest.raises(InputError, match=message):
        verify()


def test_a_kept_verdict_is_about_the_model_that_it_is_kept_with(tmp_path: Path) -> None:
    evaluate(tmp_path, CHALLENGER, CHAMPION)
    path = tmp_path / "gate.yml"
    policy, now = read_policy(path, task_named("text-classification")), DECIDED + timedelta(hours=1)
    assert verify_kept_verdict(tmp_path, "m" * 64, policy, path, now)["promoted"] is True
    with pytest.raises(InputError, match=f"its model_sha256 is {'m' * 64}; expected {'c' * 64}"):
        verify_kept_verdict(tmp_path, "c" * 64, policy, path, now)


def test_the_codes_digest_is_of_each_file_and_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "metrics").mkdir()
    found = set()
    for name, text in (("gate.py", "1"), ("gate.py", "2"), ("metrics/known.py", "1"), ("metrics/known.py", "2")):
        (tmp_path / name).write_text(text)
        found.add(code_sha256())
    (tmp_path / "metrics" / "known.py").rename(tmp_path / "known.py")
    found.add(code_sha256())
    assert len(found) == 5


def test_an_expired_verdict_is_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    verify(DECIDED + timedelta(days=14))
    with pytest.raises(InputError, match="the verdict was valid until 2026-01-15T12:00:00"):
        verify(DECIDED + timedelta(days=14, seconds=1))


def test_a_verdict_of_the_future_is_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    verify(DECIDED - timedelta(minutes=4))
    with pytest.raises(InputError, match="is in the future"):
        verify(DECIDED - timedelta(minutes=6))


def test_validity_is_a_time_with_its_zone(tmp_path: Path) -> None:
    check_valid(tmp_path, "2026-01-02T00:00:00+00:00", DECIDED)
    for wrong in ("soon", None, "2026-01-02T00:00:00"):
        with pytest.raises(InputError, match="expected a"):
            check_valid(tmp_path, wrong, DECIDED)


def test_other_metrics_than_the_gate_saw_are_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit(tmp_path / METRICS_FILE, metrics={"challenger": {"accuracy": 1.0, "f1_macro": 1.0}})
    with pytest.raises(InputError, match="its metrics_sha256 is"):
        verify()


def test_other_answers_than_were_measured_are_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    (tmp_path / PREDICTIONS_FILE).write_bytes(b"other answers")
    with pytest.raises(InputError, match="its predictions_sha256 is"):
        verify()


ROWS_SAID = {"sha256": "t" * 64, "rows": 100, "seen_in_train": 0}


@pytest.mark.parametrize("name", REPORTS)
def test_another_report_than_the_verdicts_is_refused(tmp_path: Path, name: str) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    (tmp_path / name).write_text("another report")
    with pytest.raises(InputError, match="its reports_sha256 is"):
        verify()
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file; expected the report"):
        verify()


BETTER = {"difference": {"metric": "f1_macro", "rows": 100, "value": 0.1, "low": 0.09, "high": 0.2, "confidence": 0.95}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"challenger": {}}}, "the gate comes to"),
        ({"metrics": {}}, "expected the metrics that evaluate writes"),
        ({"metrics": {"challenger": {"accuracy": 1.0, "f1_macro": 1.0}}}, "the gate comes to"),
        ({"test_rows": {"sha256": "x", "rows": 9, "seen_in_train": 0, "subtracted": 0}}, "is about"),
        ({"test_rows": {**ROWS_SAID, "slices": {"label: a": "many"}}}, "expected the metrics that evaluate writes"),
        ({"test_rows": {**ROWS_SAID, "slices": [5]}}, "expected the metrics that evaluate writes"),
        ({"test_rows": {"sha256": "t" * 64}}, "expected the metrics that evaluate writes"),
        ({"model_sha256": "x"}, "is about"),
        ({"measured_at": "2026-01-02T00:00:00+00:00"}, "decided_at, valid_until: not as the gate writes it"),
        ({"measured_at": "2026-01-01T12:00:00"}, "its measured_at is .* expected a time with its zone"),
        ({"champion": {"name": "messages", "version": "2", "model_sha256": "x"}}, "does not agree with what was"),
        ({"comparison": BETTER}, "does not agree with what was"),
    ],
)
def test_edited_metrics_are_refused_even_with_the_right_digest(tmp_path: Path, change: dict, message: str) -> None:
    verify = evaluate(tmp_path, CHALLENGER, NoChampion("messages"))
    edit_metrics(tmp_path, **change)
    with pytest.raises(InputError, match=message):
        verify()


@pytest.mark.parametrize(
    "change", [{"comparison": None}, {"champion": None}, {"comparison": {}}, {"champion": None, "comparison": None}]
)
def test_a_champion_without_its_comparison_is_refused(tmp_path: Path, change: dict) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit_metrics(tmp_path, **change)
    with pytest.raises(InputError, match=r"does not agree with what was measured|expected the metrics"):
        verify()


def test_a_champion_that_was_measured_cannot_be_said_not_to_serve(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit_metrics(tmp_path, champion=None, comparison=None, nothing_serves_at="messages")
    with pytest.raises(InputError, match="does not agree with what was measured"):
        verify()


@pytest.mark.parametrize("task", ["another", None, ["text-classification"]])
def test_metrics_of_no_known_task_are_refused(tmp_path: Path, task: object) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit_metrics(tmp_path, task=task)
    with pytest.raises(InputError, match=r"metrics\.json: .*; expected the metrics that evaluate writes"):
        verify()


def test_slices_in_the_metric_of_another_problem_do_not_pass(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    edit_metrics(tmp_path, task="token-classification")
    with pytest.raises(InputError, match="the difference is in accuracy; expected f1"):
        verify()


def test_another_policy_is_refused(tmp_path: Path) -> None:
    verify = evaluate(tmp_path, CHALLENGER, CHAMPION)
    (tmp_path / "gate.yml").write_text(yaml.safe_dump({**GATE_POLICY, "minimum": {"accuracy": 0.99}}))
    with pytest.raises(InputError, match="its policy_sha256 is"):
        verify()
