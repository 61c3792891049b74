"""Checkpoints: a run's whole state in a folder that is there in full, or not at all."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from finetune.errors import InputError
from finetune.files import file_sha256, write_json

LOGGER = logging.getLogger(__name__)

STATE = "state.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
_PREFIX = "checkpoint-"
_BEST = "best-"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A run's state after a step."""

    step: int
    weights: Mapping[str, torch.Tensor]
    """The trained parameters and the buffers that are saved with a model."""
    optimizer: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]
    """What JSON can say: evaluations, best step, loss scale, MLflow run, seconds trained, what shaped the run."""


class CheckpointFolder:
    """The checkpoints of one run in its output folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and remove those that are too many.

        Files go into a folder of another name, which is renamed when all of them are on the disk. A rename is atomic in
        POSIX, not on every mount: the digests in state.json tell a torn one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{_PREFIX}{checkpoint.step:08d}"
        writing = self.folder / f".writing-{target.name}"
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir()
        _save_tensors(writing / WEIGHTS, checkpoint.weights)
        _save_tensors(writing / OPTIMIZER, checkpoint.optimizer)
        digests = {name: file_sha256(writing / name) for name in (WEIGHTS, OPTIMIZER)}
        write_json(writing / STATE, {"format": FORMAT, "step": checkpoint.step, "files": digests, **checkpoint.state})
        _flush(writing / STATE)
        _flush(writing)
        if target.exists():
            shutil.rmtree(target)
        writing.rename(target)
        _flush(self.folder)
        self._rotate(checkpoint.state)
        return target

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; a torn one is passed over with a warning."""
        for folder in reversed(self._all()):
            try:
                return _read(folder)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                LOGGER.warning("%s is not whole and is passed over: %s", folder.name, error)
        return None

    def save_best(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of the best validation so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._best(step)
        writing = target.with_name(f".writing-{target.name}")
        _save_tensors(writing, weights)
        writing.replace(target)
        _flush(self.folder)

    def load_best(self, step: int) -> dict[str, torch.Tensor]:
        """Return the weights that `save_best` kept.

        Raises:
            InputError: the file is missing or broken.
        """
        try:
            return load_file(self._best(step))
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self._best(step)}: the best weights cannot be read: {error}") from None

    def clear(self) -> None:
        """Remove what an earlier run left, for one that starts anew."""
        for path in [*self._all(), *self.folder.glob(".writing-*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.folder.glob(f"{_BEST}*.safetensors"):
            path.unlink()

    def forget_old_best(self, best_step: int | None) -> None:
        """Remove best weights that neither the run nor a kept checkpoint refers to."""
        named = {best_step, *(_best_step(folder) for folder in self._all())}
        kept = {self._best(step) for step in named if step is not None}
        for path in self.folder.glob(f"{_BEST}*.safetensors"):
            if path not in kept:
                path.unlink()

    def _rotate(self, state: Mapping[str, Any]) -> None:
        for folder in self._all()[: -self._keep]:
            # Renamed first: what is removed by halves must not look like a checkpoint.
            gone = folder.with_name(f".writing-{folder.name}-gone")
            folder.rename(gone)
            shutil.rmtree(gone)
        self.forget_old_best(state.get("best_step"))

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{_PREFIX}*") if path.is_dir())

    def _best(self, step: int) -> Path:
        return self.folder / f"{_BEST}{step:08d}.safetensors"


def _read(folder: Path) -> Checkpoint:
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if state["format"] != FORMAT:
        raise ValueError(f"format {state['format']}, expected {FORMAT}")
    for name, digest in state["files"].items():
        if file_sha256(folder / name) != digest:
            raise ValueError(f"{name} is not what was written")
    return Checkpoint(state["step"], load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER), state)


def _best_step(folder: Path) -> int | None:
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8")).get("best_step")
    except (OSError, ValueError):
        return None


def _save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, path)
    _flush(path)


def _flush(path: Path) -> None:
    """Have the system write a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
