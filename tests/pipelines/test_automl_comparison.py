"""automl_comparison.yml, run whole by amlocal: both candidates measured, one registered, by the gate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from support import MESSAGES, WORDS, write_csv

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.story


def test_the_better_one_of_both_is_registered(tiny_checkpoint: Path, tmp_path: Path) -> None:
    rows = [(f"{text} {word}", label) for label, texts in MESSAGES.items() for text in texts for word in WORDS]
    write_csv(tmp_path / "data" / "train.csv", rows)

    def amlocal(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "amlocal", "--home", str(tmp_path / "home"), *arguments],
            capture_output=True,
            text=True,
            timeout=540,
            cwd=ROOT,
            env={**os.environ, "CI": "true", "OMP_NUM_THREADS": "1"},
        )

    try:
        done = amlocal(
            *("job", "create", "--file", "pipelines/automl_comparison.yml", "--name", "both", "--set"),
            *(f"inputs.data.path={tmp_path / 'data'}", "inputs.text_column=text", "inputs.label_column=label"),
            *(f"inputs.checkpoint={tiny_checkpoint}", "inputs.epochs=20"),
            *("jobs.sweep.limits.max_total_trials=1", "jobs.sweep.limits.max_concurrent_trials=1"),
            "jobs.automl.limits.max_trials=2",
        )
        listed = amlocal("model", "list", "--name", "customer-messages")
    finally:
        amlocal("workspace", "stop")
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = tmp_path / "home" / "jobs" / "both" / "outputs"
    selection = json.loads((outputs / "selection" / "selection.json").read_text())
    assert selection["candidates"].keys() == {"sweep", "automl"}
    # The order is fixed: AutoML's goes on when it is promoted and the sweep's is not, or when it beats the sweep's.
    sweep, automl = (selection["candidates"][name]["promoted"] for name in ("sweep", "automl"))
    beats = selection["comparison"]["promoted"]
    assert selection["chosen"] == ("automl" if automl and (not sweep or beats) else "sweep")
    registration = json.loads((outputs / "registration").read_text())
    assert registration["registered"] is (sweep or automl)
    assert registration["model_sha256"] == selection["model_sha256"]
    assert "customer-messages" in listed.stdout
    answered = pd.read_parquet(outputs / "comparison" / "predictions.parquet")
    assert {"challenger", "champion"} <= set(answered.columns)
    step = tmp_path / "home" / "jobs" / "both" / "steps" / "automl"
    assert (step / "leaderboard.csv").read_text().startswith("rank,trial,learner,AUC_weighted,")
