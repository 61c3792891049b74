"""Nothing is lost: killed anywhere, a run ends with the weights of one that was left alone."""

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from safetensors.numpy import load_file
from training_forks import Run, run_forked

from finetune.errors import InputError
from finetune.training.arguments import TrainArguments
from finetune.training.fit import fit
from finetune.training.saving import CheckpointFolder

STEPS = 15
"""36 rows, 8 in a step, 3 epochs."""


def weights(run: dict[str, Any]) -> bytes:
    return (Path(run["model"]) / "weights.safetensors").read_bytes()


def test_killed_anywhere_the_weights_are_those_of_an_uninterrupted_run(
    given: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    alone, killed = given("alone"), given("killed")
    strikes = [
        {"step": chance.randint(3, 4)},
        {"renaming": 1},
        {"writing": 2},
        {"writing": 1, "step": 99},
        {"step": chance.randint(2, 5)},
        {},
    ]
    codes = run_forked(tmp_path, [Run(alone), *(Run(killed, strike) for strike in strikes)])
    assert codes == [[0], *[[-signal.SIGKILL]] * 5, [0]], (tmp_path / "run-1-0.log").read_text()
    assert weights(killed) == weights(alone)
    records = [json.loads((Path(run["model"]) / "training.json").read_text()) for run in (alone, killed)]
    assert records[0]["steps"] == records[1]["steps"] == STEPS
    assert records[0]["validation"] == records[1]["validation"]
    assert records[0]["resumed_after_steps"] == []
    assert len(records[1]["resumed_after_steps"]) >= 2
    # One MLflow run for all of its lives, with every step's loss.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file://{tmp_path}/mlruns")
    client = mlflow.MlflowClient()
    runs_known = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert records[1]["mlflow_run"] in {run.info.run_id for run in runs_known}
    history = client.get_metric_history(records[1]["mlflow_run"], "loss")
    assert {point.step for point in history} == set(range(1, STEPS + 1))
    # A step that was taken twice had the same loss both times.
    assert len({(point.step, point.value) for point in history}) == STEPS
    assert client.get_run(records[1]["mlflow_run"]).info.status == "FINISHED"
    left = sorted(path.name for path in Path(killed["checkpoints"]).iterdir())
    assert sum(name.startswith("checkpoint-") for name in left) == 2
    assert {path.suffix for path in Path(killed["checkpoints"]).rglob("*.*") if path.is_file()} == {
        ".json",
        ".safetensors",
    }


def test_sigterm_saves_first_and_says_so(given: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    alone = given("alone")
    # Rows at a time that are found by trial leave no trace, and are not looked for a second time.
    found = {"per_device_train_batch_size": 2, "global_batch_size": 8, "auto_find_batch_size": "always"}
    ended = given("ended", checkpoint_seconds=1000.0, checkpoint_steps=1000, **found)
    codes = run_forked(tmp_path, [Run(alone), Run(ended, {"step": 7}, signal.SIGTERM), Run(ended)])
    assert codes == [[0], [143], [0]]
    told = (tmp_path / "run-1-0.log").read_text()
    assert "SIGTERM after step 7 of 15: a checkpoint was saved" in told
    assert "Traceback" not in told
    assert "rows at a time 8: found by trial on the longest rows" in told
    told = (tmp_path / "run-2-0.log").read_text()
    assert "going on after step 7 of 15" in told
    assert "rows at a time 8: as in the checkpoint that the run goes on from" in told
    assert weights(ended) == weights(alone)


def arguments(given: dict[str, Any]) -> TrainArguments:
    return TrainArguments(**given)


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    from finetune.training.saving import Checkpoint

    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (1, 2, 3):
        folder.save(Checkpoint(step, {"w": torch.full((4,), float(step))}, {"exp_avg/w": torch.ones(4)}, {}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000002", "checkpoint-00000003"]
    found = folder.latest()
    assert found is not None
    assert (found.step, found.weights["w"].tolist()) == (3, [3.0] * 4)
    torn = tmp_path / "checkpoint-00000003" / "optimizer.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    again = folder.latest()
    assert again is not None
    assert again.step == 2
    assert "checkpoint-00000003 is not whole and is passed over" in caplog.text
    assert set(load_file(tmp_path / "checkpoint-00000002" / "weights.safetensors")) == {"w"}


def test_another_runs_checkpoint_is_refused(given: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("Default")
    first = given("one", max_steps=3)
    fit(arguments(first))
    with pytest.raises(InputError, match=r"holds the checkpoint of another run: learning_rate was 0\.01 and is 0\.02"):
        fit(arguments(first | {"learning_rate": 0.02}))
