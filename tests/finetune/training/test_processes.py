"""Several processes train as one does; a lost one ends them all, with a message."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_forks import Run, run_forked

from finetune.errors import InputError
from finetune.training.processes import joined_processes


def figures(run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    folder = Path(run["model"])
    return json.loads((folder / "training.json").read_text()), load_file(folder / "weights.safetensors")


def test_processes_train_as_one_and_the_first_alone_writes(
    given: Callable[..., dict[str, Any]], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    # Dropout would draw other masks on other processes: without it, all that is left is the order of sums.
    plain = {"checkpoint": str(tiny_checkpoint), "checkpoint_steps": 6}
    alone = given("alone", **plain)
    two = given("two", **plain | {"per_device_train_batch_size": 4})
    # 8 rows in a step on three processes: unequal shares; 36 rows: the last step of an epoch has 4.
    three = given("three", **plain | {"per_device_train_batch_size": 1, "global_batch_size": 9})
    one_of_nine = given("nine", **plain | {"per_device_train_batch_size": 9})
    found = given("found", **plain | {"per_device_train_batch_size": 4, "auto_find_batch_size": "always"})
    struck = given("struck", **plain | {"per_device_train_batch_size": 4})
    codes = run_forked(
        tmp_path,
        [
            Run(alone),
            Run(two, ranks=2),
            Run(three, ranks=3),
            Run(one_of_nine),
            Run(struck, {"step": 8}, signal.SIGKILL, ranks=2, struck_rank=1),
            Run(struck, {"step": 3}, signal.SIGTERM, ranks=2, struck_rank=1),
            Run(struck, ranks=2),
            Run(found, ranks=2),
        ],
    )
    assert codes[:4] == [[0], [0, 0], [0, 0, 0], [0]], (tmp_path / "run-1-0.log").read_text()
    for one, several in ((alone, two), (one_of_nine, three)):
        (record, weights), (other_record, other_weights) = figures(one), figures(several)
        assert other_record["steps"] == record["steps"]
        for name, value in record["validation"].items():
            assert other_record["validation"][name] == pytest.approx(value, abs=1e-3), name
        for name, tensor in weights.items():
            if not name.endswith("key.bias"):  # its gradient is rounding noise, which Adam makes a step of
                assert torch.allclose(tensor, other_weights[name], atol=2e-3), name
    assert figures(two)[0]["processes"] == 2
    assert "loss" in (tmp_path / "run-1-0.log").read_text()
    assert "validation after" not in (tmp_path / "run-1-1.log").read_text()

    # A process that is killed: the other says so instead of waiting.
    assert codes[4] == [1, -signal.SIGKILL]
    told = (tmp_path / "run-4-0.log").read_text()
    assert "error: process 0 of 2 lost the others: one of them ended" in told
    assert "the job goes on from the last checkpoint" in told
    # SIGTERM to any of them: all save and end after the same step.
    assert codes[5] == [143, 143], (tmp_path / "run-5-1.log").read_text()
    assert "SIGTERM after step 9 of 15: a checkpoint was saved" in (tmp_path / "run-5-0.log").read_text()
    assert codes[6] == [0, 0]
    assert figures(struck)[0]["resumed_after_steps"] == [6, 9]
    assert all(torch.equal(tensor, figures(two)[1][name]) for name, tensor in figures(struck)[1].items())

    # Rows at a time are looked for before the processes are joined by the model.
    assert codes[7] == [0, 0], (tmp_path / "run-7-0.log").read_text()
    assert figures(found)[0]["settings"]["rows_at_a_time"]["value"] == "4"
    assert all(torch.equal(tensor, figures(two)[1][name]) for name, tensor in figures(found)[1].items())


def test_an_incomplete_environment_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match="WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT not set"),
        joined_processes(5),
    ):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE='two': expected a whole number"), joined_processes(5):
        pass


def test_others_that_never_come_are_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"process 0 of 2 lost the others.* within 1 s"), joined_processes(1):
        pass
