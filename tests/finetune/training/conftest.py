"""A checkpoint with dropout, so that chance has a part in training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def chancy_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """`tiny_checkpoint` with two layers' worth of chance: dropout of 0.1."""
    folder = tmp_path_factory.mktemp("chancy") / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def given(message_dataset: Path, chancy_checkpoint: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make arguments of a run in a folder of the test's own."""

    def make(name: str, **more: Any) -> dict[str, Any]:
        return {
            "dataset": str(message_dataset),
            "checkpoint": str(chancy_checkpoint),
            "model": str(tmp_path / name / "model"),
            "checkpoints": str(tmp_path / name / "checkpoints"),
            "precision": "fp32",
            "learning_rate": 0.01,
            "per_device_train_batch_size": 8,
            "num_train_epochs": 3,
            "checkpoint_steps": 2,
            **more,
        }

    return make
