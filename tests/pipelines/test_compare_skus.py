"""A list of computes, through both make targets: written as a pipeline, run whole by amlocal, compared."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ONE = {"compute": "azureml:cpu-cluster", "threads": 1, "precision": "fp32", "priced_as": "1 core"}
LIST = {
    "computes": [
        {**ONE, "name": "one_fp32"},
        {**ONE, "name": "two_fp32", "process_count_per_instance": 2, "priced_as": "2 cores"},
        {**ONE, "name": "one_bf16", "precision": "bf16"},
    ]
}

pytestmark = pytest.mark.story


@pytest.fixture
def make(tmp_path: Path):
    """Return make, with the interpreter that runs the tests and a home of its own, which is stopped in the end."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".installed").touch()
    # A link would not be taken for this interpreter's environment.
    for name, command in {"python": "", "amlocal": "-m amlocal "}.items():
        (venv / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command}"$@"\n')
        (venv / "bin" / name).chmod(0o755)
    environment = {**os.environ, "CI": "true", "AMLOCAL_HOME": str(tmp_path / "home")}

    def run(*arguments: str) -> str:
        command = ["make", "--no-print-directory", f"VENV={venv}", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    stop = [sys.executable, "-m", "amlocal", "--home", str(tmp_path / "home"), "workspace", "stop"]
    subprocess.run(stop, cwd=ROOT, timeout=60, check=True)


def test_the_runs_of_a_list_are_compared(make, message_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "list.yml").write_text(yaml.safe_dump(LIST))
    pipeline = f"SKUS_PIPELINE={tmp_path / 'pipeline.yml'}"
    make("skus", f"SKUS={tmp_path / 'list.yml'}", pipeline)
    shown = make(
        *(
            "compare-skus",
            pipeline,
            f"DATA={message_data}",
            "TEXT=text",
            "LABEL=label",
            f"CHECKPOINT={tiny_checkpoint}",
        ),
        *("MAX_STEPS=20", "PRICES=pipelines/skus/core_hours.yml", "MAX_MINUTES=30"),
    )
    assert "## Recommended: " in shown
    (job,) = (tmp_path / "home" / "jobs").glob("compare-skus-*")
    folder = job / "outputs" / "comparison"
    names = {"comparison.json", "comparison.html", "comparison.md", "pareto.svg"}
    assert {path.name for path in folder.iterdir()} == names
    found = json.loads((folder / "comparison.json").read_text())
    rows = {row["name"]: row for row in found["computes"]}
    assert [(name, row["processes"], row["precision"], row["threads"]) for name, row in rows.items()] == [
        ("one_fp32", 1, "fp32", 1),
        ("two_fp32", 2, "fp32", 1),
        ("one_bf16", 1, "bf16", 1),
    ]
    assert rows["two_fp32"]["scaling"]["base"] == "one_fp32"
    assert [rows[name]["scaling"] for name in ("one_fp32", "one_bf16")] == [None, None]
    assert found["no_costs"] == []
    one = rows["one_fp32"]
    assert one["cost"]["run"]["median"] == pytest.approx(one["seconds"]["median"] / 3600)
    assert found["recommendation"]["compute"] in rows
    assert len({run["mlflow_run"] for run in found["runs"]}) == 3
    # One after the other: no run had to share the machine with another one. And each took as long as it says, nearly.
    steps = json.loads((job / "job.json").read_text())["steps"]
    times = sorted((step["started"], step["ended"]) for step in steps.values())
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(times))
    for run in found["runs"]:
        took = steps[run["node"]]["ended"] - steps[run["node"]]["started"]
        assert 0.25 * took < run["seconds"] <= took
