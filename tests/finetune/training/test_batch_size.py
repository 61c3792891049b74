"""Rows at a time are found within a made-up memory and within a real one, and the search leaves no trace."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import transformers

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.tasks import task_named
from finetune.training import batch_size, fit, step
from finetune.training.arguments import TrainArguments
from finetune.training.batch_size import bytes_to_come, find_rows_at_a_time, largest_that_fits, trials
from finetune.training.batches import Padding, TokenRows
from finetune.training.network import load_model
from finetune.training.problems import HEADS
from finetune.training.processes import Processes
from finetune.training.room import HostRoom, container_free, is_out_of_memory

CPU = torch.device("cpu")
MIB = 2**20


class MadeUpRoom:
    """A memory in which the model takes 100 bytes, and each row that is computed 10."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.tried: list[int] = []

    def limit(self) -> int:
        return self._limit

    def held(self) -> int:
        return 100

    def peak(self) -> int:
        return 100 + 10 * max(self.tried)

    def compute(self, rows: int) -> None:
        self.tried.append(rows)


@pytest.mark.parametrize(
    ("limit", "to_come", "found", "said"),
    [
        (10_000, 0, 48, "as many as a step has"),
        (580, 0, 48, "as many as a step has"),
        (579, 0, 32, "48 would need up to"),
        (300, 0, 16, "32 would need up to"),
        (300, 50, 8, "16 would need up to"),
        (119, 0, 1, "2 would need up to"),
    ],
)
def test_rows_are_doubled_as_long_as_they_fit(limit: int, to_come: int, found: int, said: str) -> None:
    room = MadeUpRoom(limit)
    result = largest_that_fits(48, room, to_come, room.compute)
    assert result.rows == max(room.tried) == found
    assert said in result.reason


def test_what_runs_out_of_memory_is_not_taken() -> None:
    def small(rows: int) -> None:
        if rows > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        room.compute(rows)

    room = MadeUpRoom(10_000)
    result = largest_that_fits(48, room, 0, small)
    assert result.rows == 4
    assert result.reason.endswith("8 ran out of memory")
    # More than a line through the figures before had promised.
    steep = MadeUpRoom(10_000)
    steep.peak = lambda: 100 + 10 * max(steep.tried) ** 4  # type: ignore[method-assign]
    result = largest_that_fits(48, steep, 0, steep.compute)
    assert (result.rows, max(steep.tried)) == (4, 8)

    def none(rows: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(InputError, match="not even one row at a time fits the memory; take a smaller checkpoint"):
        largest_that_fits(48, room, 0, none)

    def broken(rows: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        largest_that_fits(48, room, 0, broken)


def test_the_smallest_of_several_processes_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    room = MadeUpRoom(10_000)
    monkeypatch.setattr(batch_size, "room_of", lambda device, processes: room)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, (3, "there is less there")])
    found = find_rows_at_a_time(8, torch.nn.Linear(2, 2), Processes(0, 2, CPU), room.compute)
    assert (found.rows, found.reason) == (3, "there is less there")


def test_moments_and_buckets_are_to_come() -> None:
    model = torch.nn.Linear(10, 10)
    model.bias.requires_grad_(False)
    assert (bytes_to_come(model, 1), bytes_to_come(model, 2)) == (800, 1200)


@pytest.fixture
def network(message_dataset: Path, chancy_checkpoint: Path) -> transformers.PreTrainedModel:
    manifest = read_manifest(message_dataset)
    transformers.set_seed(0)
    return load_model(chancy_checkpoint, "tiny", task_named(manifest.task), manifest, "sdpa")


def test_trials_leave_no_trace(
    network: transformers.PreTrainedModel, message_dataset: Path, chancy_checkpoint: Path
) -> None:
    # A buffer that each forward changes, as a running mean.
    network.register_buffer("seen", torch.zeros(()))

    def see(module: Any, inputs: Any) -> None:
        module.seen.add_(1)

    network.register_forward_pre_hook(see)
    rows = TokenRows(message_dataset / "train.arrow")
    padding = Padding.of(transformers.AutoTokenizer.from_pretrained(chancy_checkpoint))
    network.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    chance = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    widths, drawn = [], []
    network.base_model.encoder.register_forward_pre_hook(
        lambda module, inputs: widths.append((tuple(inputs[0].shape[:2]), module.training))
    )
    with trials(network, rows, padding, HEADS["single_label"], "fp32", CPU) as compute:
        compute(2)
        drawn.append(torch.rand(1))
        compute(5)
        assert all(parameter.grad is not None for parameter in network.parameters())
    longest = int(rows.lengths.max())
    assert widths == [((2, longest), True), ((5, longest), True)]
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    now = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert chance[:2] == now[:2]
    assert torch.equal(chance[2], now[2])
    assert drawn[0] != torch.rand(1)


@pytest.mark.parametrize(("most", "found"), [(3, 2), (100, 12)])
def test_a_run_computes_what_was_found_and_its_step_stays_the_same(
    most: int,
    found: int,
    given: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """A device that holds so many rows; the run is ended before its first step."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("Default")
    computed: list[int] = []

    def held(model: Any, batch: dict[str, torch.Tensor], head: Any) -> Any:
        computed.append(len(batch["input_ids"]))
        if len(batch["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return answered(model, batch, head)

    answered = step.answered
    for module in (batch_size, step):
        monkeypatch.setattr(module, "answered", held)
    steps = []

    def one_step(arguments: Any, parts: Any, state: Any) -> None:
        computed.clear()
        steps.append(parts.stepper.take(parts.order.batch(0), 0, 0.01))
        raise InputError("that is enough")

    monkeypatch.setattr(fit, "train", one_step)
    arguments = given("found", auto_find_batch_size="always", per_device_train_batch_size=1, global_batch_size=12)
    with caplog.at_level("INFO"), pytest.raises(InputError, match="that is enough"):
        fit.fit(TrainArguments(**arguments))
    assert computed == [found] * (12 // found)
    assert steps[0].rows == 12
    assert f"rows at a time {found}: found by trial on the longest rows, within" in caplog.text
    assert f"global batch 12: {found} rows × {12 // found} rounds × 1 processes" in caplog.text


REAL = """
import json, sys, torch
from dataclasses import dataclass
from finetune.training.batch_size import largest_that_fits
from finetune.training.room import HostRoom

@dataclass(frozen=True)
class Room(HostRoom):
    def limit(self):
        return base + 200 * 2**20

net = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU()) for _ in range(4)])

def compute(rows):
    tried.append(rows)
    # 8 results of 1 MiB a row are kept for the backward pass.
    net(torch.randn(rows, 1024, 256)).sum().backward()

tried = []
compute(1)
tried.clear()
room = Room(1)
before = room.peak()
base = room.held()
found = largest_that_fits(1024, room, 0, compute)
print(json.dumps([found.rows, max(tried), (room.peak() - base) / 2**20, room.peak() >= before]))
"""


def test_within_real_memory_the_limit_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows, tried, took, risen = json.loads(done.stdout)
    assert rows == tried in (4, 8, 16)
    assert took < 200
    assert risen


def test_the_hosts_memory_is_read() -> None:
    room, shared = HostRoom(1), HostRoom(4)
    held = room.held()
    assert 10 * MIB < held <= room.peak()
    assert room.limit() > shared.limit() > held


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert container_free(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 200\nactive_file 50\n")
    assert container_free(tmp_path) == [500]
    assert HostRoom(1, tmp_path).limit() - HostRoom(1, tmp_path).held() == pytest.approx(400, abs=16 * MIB)
    (tmp_path / "memory.max").write_text("max\n")
    assert container_free(tmp_path) == []
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("900")
    (old / "memory.usage_in_bytes").write_text("100")
    assert container_free(tmp_path) == [800]


def test_the_hosts_own_error_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("whatever"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
