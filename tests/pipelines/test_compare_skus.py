"""compare_skus.yml, run whole by amlocal through make: ten runs of one and two processes in two number formats."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.story


def test_the_runs_are_compared(message_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".installed").touch()
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "bin" / "amlocal").write_text(f'#!/bin/sh\nexec {sys.executable} -m amlocal "$@"\n')
    (venv / "bin" / "amlocal").chmod(0o755)
    environment = {**os.environ, "CI": "true", "AMLOCAL_HOME": str(home)}
    try:
        done = subprocess.run(
            [
                *("make", "compare-skus", f"VENV={venv}", f"DATA={message_data}", "TEXT=text", "LABEL=label"),
                *(f"CHECKPOINT={tiny_checkpoint}", "MAX_STEPS=20", "PRICES=pipelines/skus/core_hours.yml"),
                "MAX_MINUTES=30",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=560,
            env=environment,
        )
    finally:
        subprocess.run(
            [sys.executable, "-m", "amlocal", "--home", str(home), "workspace", "stop"], cwd=ROOT, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## Recommended: " in done.stdout
    (folder,) = (home / "jobs").glob("compare-skus-*/outputs/comparison")
    assert {path.name for path in folder.iterdir()} == {
        *("comparison.json", "comparison.html", "comparison.md", "pareto.svg")
    }
    found = json.loads((folder / "comparison.json").read_text())
    rows = {row["name"]: row for row in found["computes"]}
    assert [(name, row["processes"], row["precision"], row["threads"]) for name, row in rows.items()] == [
        ("one_core_fp32", 1, "fp32", 1),
        ("one_core_bf16", 1, "bf16", 1),
        ("two_processes_fp32", 2, "fp32", 1),
        ("two_processes_bf16", 2, "bf16", 1),
        ("two_threads_bf16", 1, "bf16", 2),
    ]
    assert {row["repeats"] for row in rows.values()} == {2}
    assert len({run["mlflow_run"] for run in found["runs"]}) == 10
    assert rows["two_processes_fp32"]["scaling"]["base"] == "one_core_fp32"
    assert rows["two_processes_bf16"]["scaling"]["base"] == "one_core_bf16"
    assert rows["two_threads_bf16"]["scaling"] is None
    assert found["no_costs"] == []
    one = rows["one_core_fp32"]
    assert one["cost"]["run"]["median"] == pytest.approx(one["seconds"]["median"] / 3600)
    assert found["recommendation"]["compute"] in rows
    # One after the other: no run had to share the machine with another one.
    steps = json.loads(next((home / "jobs").glob("compare-skus-*/job.json")).read_text())["steps"]
    times = sorted((step["started"], step["ended"]) for step in steps.values())
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(times))
