import itertools
import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from support import track_in

from finetune import tracking
from finetune.tracking import MAX_BATCH, MAX_PARAMETERS, MAX_VALUE_LENGTH, SPOOL, RunLog, checked_parameters


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reaches the server, which answers as long as `down` is not among the batches."""
    sent: list[dict[str, Any]] = []

    def log_batch(
        self: MlflowClient, run_id: str, metrics: list[Any] = (), params: list[Any] = (), **more: Any
    ) -> None:
        if sent and sent[-1].get("down"):
            raise ConnectionError("refused")
        sent.append({"run": run_id, "metrics": list(metrics), "params": {each.key: each.value for each in params}})

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    monkeypatch.setattr(RunLog, "_start", lambda self: setattr(self, "run_id", "r1"))
    monkeypatch.setattr(mlflow, "end_run", lambda status: sent.append({"ended": status}))
    return sent


def test_metrics_go_in_batches_of_what_mlflow_takes(tmp_path: Path, batches: list[dict[str, Any]]) -> None:
    clock = Clock()
    log = RunLog(tmp_path, clock=clock)
    log.parameters({f"p{i}": i for i in range(150)})
    for step in range(500):
        log.metrics({"loss": 1.0, "rate": 2.0, "norm": 3.0, "bad": float("nan")}, step)
    assert batches == []
    clock.now = 6.0
    log.metrics({"loss": 0.5}, 500)
    assert [len(each["metrics"]) + len(each["params"]) for each in batches] == [MAX_BATCH] * 6 + [151]
    assert all(len(each["params"]) <= 100 for each in batches)
    sent = [(each.key, each.step) for batch in batches for each in batch["metrics"]]
    assert len(sent) == len(set(sent)) == 1501
    log.metrics({"score": 0.9}, 501, at_once=True)
    assert batches[-1]["metrics"][0].key == "score"


def test_an_outage_costs_patience_not_figures(
    tmp_path: Path, batches: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    log = RunLog(tmp_path, clock=clock)
    batches.append({"down": True})
    tries = []
    for second in range(0, 1000):
        clock.now = float(second)
        before = len(caplog.records)
        log.metrics({"loss": float(second)}, second)
        if len(caplog.records) > before:
            tries.append(second)
    # 5 s between sends, then 5, 10, 20, … up to 300 s of waiting.
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[:3] == [10, 15, 25]
    assert max(pauses) <= 305
    assert "the tracking server does not answer; training goes on" in caplog.text
    log.close("KILLED")
    kept = [json.loads(line) for line in (tmp_path / SPOOL).read_text().splitlines()]
    assert [entry["step"] for entry in kept] == list(range(1000))
    assert "are sent when the job is started again" in caplog.text.replace("\n", " ")

    batches.clear()
    again = RunLog(tmp_path, clock=clock)
    again.metrics({"loss": -1.0}, 1000)
    again.close("FINISHED")
    sent = [each.step for batch in batches if "metrics" in batch for each in batch["metrics"]]
    assert sent == list(range(1001))
    assert batches[-1] == {"ended": "FINISHED"}
    assert not (tmp_path / SPOOL).exists()


def test_azures_limits_on_parameters() -> None:
    assert len(checked_parameters({"long": "x" * 900})["long"]) == MAX_VALUE_LENGTH
    with pytest.raises(ValueError, match="201 parameters; Azure ML takes 200 in a run"):
        checked_parameters({f"p{i}": i for i in range(MAX_PARAMETERS + 1)})


def test_a_run_is_gone_on_with_and_one_that_is_gone_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    track_in(tmp_path)
    first = RunLog(tmp_path)
    first.metrics({"loss": 1.0}, 1)
    first.close("KILLED")
    second = RunLog(tmp_path, first.run_id)
    assert second.run_id == first.run_id
    second.metrics({"loss": 0.5}, 2)
    second.close("FINISHED")
    client = MlflowClient()
    assert [point.value for point in client.get_metric_history(first.run_id, "loss")] == [1.0, 0.5]
    assert client.get_run(first.run_id).info.status == "FINISHED"
    third = RunLog(tmp_path, "0" * 32)
    third.close("FINISHED")
    assert third.run_id not in (None, first.run_id)
    assert "is not known here; a new one goes on" in caplog.text
    assert tracking.SPOOL not in {path.name for path in tmp_path.iterdir()}
