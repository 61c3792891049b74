"""train_distributed.yml, run whole by amlocal: two nodes of two processes, which are four processes here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.story


def test_four_processes_train_one_model(message_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    def amlocal(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "amlocal", "--home", str(tmp_path / "home"), *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=ROOT,
            env={**os.environ, "CI": "true", "OMP_NUM_THREADS": "1"},
        )

    try:
        done = amlocal(
            *("job", "create", "--file", "pipelines/train_distributed.yml", "--name", "four", "--set"),
            *(f"inputs.data.path={message_data}", "inputs.text_column=text", "inputs.label_column=label"),
            *(f"inputs.checkpoint={tiny_checkpoint}", "inputs.epochs=20", "inputs.learning_rate=0.02"),
            *("inputs.global_batch_size=8", "inputs.per_device_train_batch_size=2"),
        )
    finally:
        amlocal("workspace", "stop")
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = tmp_path / "home" / "jobs" / "four" / "outputs"
    record = json.loads((outputs / "model" / "training.json").read_text())
    assert record["processes"] == 4
    assert record["settings"]["global_batch"]["value"] == "8"
    assert record["steps"] == 120
    assert record["validation"]["score"] > 0.8
    assert [path.suffix for path in (outputs / "checkpoints").iterdir()] == [".safetensors"]
    log = (tmp_path / "home" / "jobs" / "four" / "steps" / "train").rglob("std_log_process_*.txt")
    told = {path.name: path.read_text() for path in log}
    assert len(told) == 4
    assert [name for name, text in told.items() if "validation after step" in text] == ["std_log_process_0.txt"]
