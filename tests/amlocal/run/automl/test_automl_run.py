"""AutoML jobs that run: with trials that are a line of shell, and once with the real ones."""

import csv
import importlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from amlocal.reader import automl
from amlocal.run.create import Request, create_job
from amlocal.testing import running_workspace

FIXTURES = Path(__file__).parents[2] / "fixtures" / "automl"
TRIAL = """\
type: command
name: shell_trial
environment: azureml:any:1
inputs:
  training_data: {type: mltable}
  validation_data: {type: mltable}
  target_column_name: {type: string}
  primary_metric: {type: string}
  learner: {type: string}
  size: {type: integer}
outputs:
  best_model: {type: mlflow_model}
command: |
  COMMAND
"""
SPACE = """\
small: {start: {size: 1}, search_space: {size: {type: choice, values: [1, 2, 3]}}}
middle: {start: {size: 5}, search_space: {size: {type: choice, values: [5, 6]}}}
large: {start: {size: 9}, search_space: {size: {type: choice, values: [8, 9]}}}
"""
SCORE = "echo ${{inputs.size}} >> $METRICS/$MLFLOW_RUN_ID.AUC_weighted; "
SAVE = "ls ${{inputs.training_data}} ${{inputs.validation_data}} > ${{outputs.best_model}}/given"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Put a line of shell in the trial's place."""
    importlib.import_module("flaml")  # its seconds of import count as the search's, as they should
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "search_space.yml").write_text(SPACE)
    monkeypatch.setattr(automl, "_TRIAL", folder)

    def put(command: str) -> Path:
        (folder / "component.yml").write_text(TRIAL.replace("COMMAND", command))
        return FIXTURES / "job.yml"

    return put


def board(machine, record):
    text = (machine.home / "jobs" / record.name / "steps" / "automl" / "leaderboard.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def test_the_best_trials_model_goes_on_and_the_leaderboard_says_why(machine, shell):
    record = machine.create(shell(SCORE + SAVE), "limits.max_trials=5")

    step = record.steps["automl"]
    assert (record.kind, step.kind, step.primary_metric) == ("automl", "automl", "AUC_weighted")
    assert step.trials[step.best_trial].parameters == {"learner": "large", "size": 9}
    given = (Path(record.outputs["best_model"]) / "given").read_text().split()
    assert [Path(path).name for path in given] == ["training_data.parquet", "validation_data.parquet"]
    rows = board(machine, record)
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["learner"] == "large"
    logged = machine.backend.metrics / f"{record.run_id}-leaderboard.csv"
    assert list(csv.DictReader(logged.read_text().splitlines())) == rows
    children = [run for run in machine.backend.runs.values() if run.parent == record.run_id]
    assert (len(children), {run.status for run in children}) == (5, {"FINISHED"})


def test_an_equal_node_is_reused_with_its_leaderboard(machine, shell):
    first = machine.create(shell(SCORE + SAVE))
    second = machine.create(shell(SCORE + SAVE))

    assert second.steps["automl"].reused_from == first.name
    assert board(machine, second) == board(machine, first)


def test_more_trials_run_the_new_ones_alone(machine, shell):
    machine.create(shell(SCORE + SAVE), "limits.max_trials=3")
    record = machine.create(shell(SCORE + SAVE), "limits.max_trials=5")

    assert len(record.steps["automl"].trials) == 5
    reused = [trial.reused_from is not None for _, trial in sorted(record.steps["automl"].trials.items())]
    assert reused[:3] == [True] * 3


def test_when_time_is_up_the_best_trial_until_then_counts(machine, shell, monkeypatch):
    monkeypatch.setattr(automl, "_MINUTE", 10)
    slow = "test ${{inputs.size}} = 1 || sleep 60; "
    record = machine.create(shell(slow + SCORE + SAVE), "limits.timeout_minutes=1", "limits.trial_timeout_minutes=9")

    step = record.steps["automl"]
    assert (record.status, step.best_trial) == ("Completed", 0)
    said = "AutoML's timeout of 10 s passed after 1 of 3 trials; a later run goes on from them"
    assert said in step.warnings
    assert board(machine, record)[0]["status"] == "Completed"

    again = machine.create(shell(slow + SCORE + SAVE), "limits.timeout_minutes=1", "limits.trial_timeout_minutes=9")
    assert again.steps["automl"].reused_from is None
    assert again.steps["automl"].trials[0].reused_from == record.name


def test_when_time_is_up_before_any_trial_completed_there_is_nothing(machine, shell, monkeypatch):
    monkeypatch.setattr(automl, "_MINUTE", 3)
    step = machine.create(shell("sleep 60"), "limits.timeout_minutes=1").steps["automl"]

    assert step.status == "Canceled"
    assert step.error.startswith("AutoML's timeout of 3 s passed")


def test_a_trial_that_takes_too_long_is_ended_alone(machine, shell, monkeypatch):
    monkeypatch.setattr(automl, "_MINUTE", 5)
    command = "test ${{inputs.size}} != 9 || sleep 60; "
    record = machine.create(
        shell(command + SCORE + SAVE), "limits.trial_timeout_minutes=1", "limits.timeout_minutes=60"
    )

    trials = record.steps["automl"].trials
    assert trials[2].reason == "the trial's timeout of 5 s passed"
    assert record.steps["automl"].best_trial == 1


def test_failed_trials_stand_on_the_leaderboard_with_their_reason(machine, shell):
    record = machine.create(shell("test ${{inputs.size}} != 5 || { echo out of memory; exit 9; }\n  " + SCORE + SAVE))

    (failed,) = [row for row in board(machine, record) if row["status"] == "Failed"]
    assert (failed["learner"], failed["reason"], failed["rank"]) == ("middle", "exit code 9: out of memory", "")


def test_tables_that_nothing_can_be_learnt_from_fail_the_node_before_any_trial(machine, shell):
    step = machine.create(shell(SCORE + SAVE), "target_column_name=intent").steps["automl"]

    assert (step.status, dict(step.trials)) == ("Failed", {})
    assert step.error == "target_column_name: no column 'intent' in the tables; they have 'text', 'label'"


def test_the_real_trials_find_a_model_that_answers(tmp_path, monkeypatch):
    import mlflow

    with running_workspace(tmp_path / "home"):
        request = Request(FIXTURES / "pipeline.yml", tmp_path / "home", ("jobs.find.limits={max_trials: 2}",))
        record, code = create_job(request)
    assert code == 0, record.steps
    step = record.steps["find"]
    assert {trial.status for trial in step.trials.values()} == {"Completed"}
    assert step.trials[step.best_trial].best > 0.9
    rows = pd.read_csv(FIXTURES / "validation" / "rows.csv")
    model = mlflow.pyfunc.load_model(str(Path(record.outputs["best"]).resolve()))
    assert (model.predict(rows[["text"]]) == rows["label"]).mean() == step.trials[step.best_trial].best
    table = json.loads(Path(step.trial_table).read_text())
    assert table[0]["metric"] == "accuracy"
    assert sys.modules.get("xgboost") is None
