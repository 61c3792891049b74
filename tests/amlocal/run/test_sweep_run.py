"""Sweeps run for real, with trials that are a line of shell."""

import asyncio
import json
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from amlocal.run.sweep import runner

SWEEP = """\
type: pipeline
outputs:
  best: {type: uri_folder}
jobs:
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs:
        x: {type: number}
      outputs:
        model: {type: uri_folder}
      command: |
COMMAND
    search_space:
      x: {type: choice, values: [1, 2, 3, 4]}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 4, max_concurrent_trials: 2}
    outputs:
      model: ${{parent.outputs.best}}
"""


@pytest.fixture
def sweep(write):
    def make(command: str) -> Path:
        indented = "\n".join(f"        {line}" for line in command.splitlines())
        return write("job.yml", SWEEP.replace("COMMAND", indented))

    return make


GOOD = "echo ${{inputs.x}} >> $METRICS/$MLFLOW_RUN_ID.score; echo ${{inputs.x}} > ${{outputs.model}}/x.txt"


def test_best_trials_outputs_and_the_table(machine, sweep):
    record = machine.create(sweep(GOOD))

    step = record.steps["tune"]
    assert (step.best_trial, step.primary_metric) == (3, "score")
    assert (Path(record.outputs["best"]) / "x.txt").read_text() == "4\n"
    folder = machine.home / "jobs" / record.name / "steps" / "tune"
    assert (folder / "outputs" / "model" / "x.txt").read_text() == "4\n"
    table = json.loads((folder / "trials.json").read_text())
    assert [(row["parameters"], row["best_value"], row["curve"], row["status"]) for row in table] == [
        ({"x": x}, x, [x], "Completed") for x in (1, 2, 3, 4)
    ]
    assert all(0 < row["cpu_seconds"] < 1 and row["seconds"] > 0 for row in table)
    assert step.cpu_seconds == pytest.approx(sum(row["cpu_seconds"] for row in table))
    assert [(folder / "trials" / str(n) / "outputs" / "model" / "x.txt").read_text() for n in range(4)] == [
        f"{x}\n" for x in (1, 2, 3, 4)
    ]


def test_runs_nest_pipeline_step_trial(machine, sweep):
    record = machine.create(sweep(GOOD))
    runs = machine.backend.runs

    step = runs[record.steps["tune"].run_id]
    assert (step.name, step.parent, step.status) == ("tune", record.run_id, "FINISHED")
    trials = [run for run in runs.values() if run.parent == record.steps["tune"].run_id]
    assert sorted(run.name for run in trials) == ["tune-0", "tune-1", "tune-2", "tune-3"]
    assert json.loads(trials[0].tags["hyperparameters"]) in [{"x": x} for x in (1, 2, 3, 4)]


def test_minimize_takes_the_best_value_of_the_curve(machine, sweep):
    command = "for v in 9 ${{inputs.x}} 9; do echo $v >> $METRICS/$MLFLOW_RUN_ID.score; done"
    record = machine.create(sweep(command), "jobs.tune.objective.goal=minimize")

    assert record.steps["tune"].best_trial == 0
    assert record.steps["tune"].trials[0].curve == (9, 1, 9)


def test_a_trial_that_logs_not_a_number_is_never_best(machine, sweep):
    command = "if test ${{inputs.x}} = 4; then echo nan; else echo ${{inputs.x}}; fi >> $METRICS/$MLFLOW_RUN_ID.score"

    assert machine.create(sweep(command)).steps["tune"].best_trial == 2


def test_failed_trials_do_not_end_the_sweep(machine, sweep):
    record = machine.create(sweep("test ${{inputs.x}} = 2 || { echo broken; exit 5; }\n" + GOOD))

    step = record.steps["tune"]
    assert (step.status, step.best_trial) == ("Completed", 1)
    assert [trial.status for _, trial in sorted(step.trials.items())] == ["Failed", "Completed", "Failed", "Failed"]
    assert step.trials[0].reason == "exit code 5: broken"


def test_all_trials_failed(machine, sweep):
    step = machine.create(sweep("exit 5")).steps["tune"]

    assert step.status == "Failed"
    assert step.error.startswith("all trials failed; trial 0: exit code 5; its log: ")


def test_nobody_logs_the_metric(machine, sweep):
    step = machine.create(sweep("echo 1 > $METRICS/$MLFLOW_RUN_ID.accuracy")).steps["tune"]

    assert step.status == "Failed"
    assert step.error == "no trial logged the primary metric 'score'; trial 0 logged accuracy"


def test_trial_timeout(machine, sweep):
    record = machine.create(sweep("test ${{inputs.x}} != 1 || sleep 60\n" + GOOD), "jobs.tune.limits.trial_timeout=1")

    trials = record.steps["tune"].trials
    assert (trials[0].status, trials[0].reason) == ("Canceled", "the trial's timeout of 1 s passed")
    assert record.status == "Completed"


def test_timeout_of_the_sweep_cancels_it(machine, sweep):
    record = machine.create(sweep("sleep 60"), "jobs.tune.limits.timeout=1")

    step = record.steps["tune"]
    assert (record.status, step.status, step.error) == (
        "Failed",
        "Canceled",
        "the sweep's timeout of 1 s passed; a later run reuses the trials that completed",
    )
    assert {trial.status for trial in step.trials.values()} == {"Canceled"}


def test_bandit_ends_a_running_trial(machine, sweep):
    # Trial 0 finishes with 10; the next ones would run for a minute if nobody ended them.
    command = """\
if test ${{inputs.x}} = 1; then echo 10 > $METRICS/$MLFLOW_RUN_ID.score; exit; fi
until test -s $METRICS/first; do ls $METRICS/*.score > $METRICS/first; sleep 0.05; done
echo 1 > $METRICS/$MLFLOW_RUN_ID.score
sleep 60"""
    record = machine.create(sweep(command), "jobs.tune.early_termination={type: bandit, slack_amount: 5}")

    trials = record.steps["tune"].trials
    assert {trial.status for number, trial in trials.items() if number} == {"Canceled"}
    assert trials[1].reason == ("bandit at interval 1: best 1 is beyond 5, which slack amount 5 allows from 10")
    run = machine.backend.runs[trials[1].run_id]
    assert (run.status, run.tags["amlocal.reason"]) == ("KILLED", trials[1].reason)
    assert record.steps["tune"].best_trial == 0


def test_concurrent_trials_share_the_cores(machine, sweep, monkeypatch):
    monkeypatch.setattr("amlocal.run.create.cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    command = "echo $OMP_NUM_THREADS > ${{outputs.model}}/threads\n" + GOOD

    record = machine.create(sweep(command))
    assert (Path(record.outputs["best"]) / "threads").read_text() == "4\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    record = machine.create(sweep(command), rerun=True)
    assert (Path(record.outputs["best"]) / "threads").read_text() == "3\n"


def test_no_more_trials_at_a_time_than_cores(machine, sweep, monkeypatch):
    monkeypatch.setattr("amlocal.run.create.cores", lambda: 1)
    command = "mkdir $METRICS/alone && sleep 0.05 && rmdir $METRICS/alone\n" + GOOD
    record = machine.create(sweep(command))

    assert {trial.status for trial in record.steps["tune"].trials.values()} == {"Completed"}
    assert any(name.startswith("max_concurrent_trials 2, capped at 1 core") for name in record.ignored)


def test_two_runs_try_the_same_parameters(machine, sweep):
    overrides = [
        "jobs.tune.sampling_algorithm=random",
        "jobs.tune.search_space.x={type: uniform, min_value: 0, max_value: 1}",
    ]
    runs = [machine.create(sweep(GOOD), *overrides, rerun=True) for _ in range(2)]

    tried = [{n: t.parameters for n, t in run.steps["tune"].trials.items()} for run in runs]
    assert tried[0] == tried[1]
    assert len({trial["x"] for trial in tried[0].values()}) == 4


INTEGERS = """\
type: pipeline
outputs:
  best: {type: uri_folder}
jobs:
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs:
        depth: {type: integer}
        rate: {type: number}
        kind: {type: string}
        deep: {type: boolean}
      outputs:
        model: {type: uri_folder}
      command: |
        echo ${{inputs.depth}} ${{inputs.rate}} ${{inputs.kind}} ${{inputs.deep}} > ${{outputs.model}}/x.txt
        echo 1 > $METRICS/$MLFLOW_RUN_ID.score
    search_space:
      depth: SPACE
      rate: {type: choice, values: ["1e-3"]}
      kind: {type: choice, values: [5]}
      deep: {type: choice, values: ["true"]}
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 1}
    outputs:
      model: ${{parent.outputs.best}}
"""


@pytest.mark.parametrize(
    "space",
    [
        "{type: choice, values: [3.0]}",
        "{type: choice, values: ['3']}",
        "{type: quniform, min_value: 2.6, max_value: 3.4, q: 1}",
        "{type: qnormal, mu: 3.0, sigma: 0.01, q: 1.0}",
        "{type: qloguniform, min_value: 1, max_value: 1.2, q: 1}",
    ],
)
def test_a_trial_gets_its_hyperparameters_in_the_types_of_its_inputs(machine, write, space):
    record = machine.create(write("job.yml", INTEGERS.replace("SPACE", space)))

    assert (Path(record.outputs["best"]) / "x.txt").read_text() == "3 0.001 5 True\n"
    parameters = {"depth": 3, "rate": 0.001, "kind": "5", "deep": True}
    assert record.steps["tune"].trials[0].parameters == parameters
    assert isinstance(record.steps["tune"].trials[0].parameters["depth"], int)


def test_what_early_termination_saved_is_reported(machine, sweep):
    command = """\
if test ${{inputs.x}} = 1; then echo 10 > $METRICS/$MLFLOW_RUN_ID.score; exit; fi
until test -s $METRICS/first; do ls $METRICS/*.score > $METRICS/first; sleep 0.05; done
echo 1 > $METRICS/$MLFLOW_RUN_ID.score
sleep 60"""
    record = machine.create(sweep(command), "jobs.tune.early_termination={type: bandit, slack_amount: 5}")

    step = record.steps["tune"]
    assert [trial.ended_early for _, trial in sorted(step.trials.items())] == [False, True, True, True]
    assert (step.early_termination.trials, step.early_termination.basis) == (3, 1)
    rows = json.loads(Path(step.trial_table).read_text())
    assert sum(row["estimated_cpu_seconds_saved"] or 0 for row in rows) == pytest.approx(step.early_termination.saved)
    assert step.early_termination.used == pytest.approx(sum(row["cpu_seconds"] for row in rows))
    artefact = machine.backend.metrics / f"{step.run_id}-trials.json"
    assert artefact.read_text() == Path(step.trial_table).read_text()


def test_a_policy_leaves_a_trial_alone_whose_command_has_ended(machine, sweep, monkeypatch):
    read, ended = machine.backend.curve, defaultdict(threading.Event)

    def late(run_id, metric):
        assert ended[run_id].wait(30)
        return read(run_id, metric)

    async def execute(execution, context, on_end, warm):
        def note(result):
            on_end(result)
            ended[execution.run_id].set()

        result = await runner_execute(execution, context, note, warm)
        await asyncio.sleep(0.2)  # what is done after a command has ended takes its time
        return result

    runner_execute = runner.execute
    monkeypatch.setattr(runner, "execute", execute)
    machine.backend.curve = late
    command = "echo ${{inputs.x}} >> $METRICS/$MLFLOW_RUN_ID.score; sleep 0.2"
    record = machine.create(
        sweep(command),
        "jobs.tune.early_termination={type: bandit, slack_amount: 0.1}",
        "jobs.tune.search_space.x.values=[4, 3]",
    )

    trials = record.steps["tune"].trials
    assert [(trial.status, trial.ended_early) for trial in trials.values()] == [("Completed", False)] * 2


def test_bayesian_proposals_do_not_depend_on_which_trial_ends_first(machine, sweep, monkeypatch):
    monkeypatch.setattr("amlocal.run.create.cores", lambda: 2)
    tried = []
    for slow in (0, 1):
        command = f"x=${{{{inputs.x}}}}; test $((x % 2)) = {slow} || sleep 0.1; echo $x > $METRICS/$MLFLOW_RUN_ID.score"
        record = machine.create(
            sweep(command),
            "jobs.tune.sampling_algorithm=bayesian",
            "jobs.tune.search_space.x={type: quniform, min_value: 0, max_value: 1000, q: 1}",
            "jobs.tune.limits.max_total_trials=9",
        )
        tried.append([trial.parameters for _, trial in sorted(record.steps["tune"].trials.items())])

    assert tried[0] == tried[1]


def test_metric_that_is_never_a_number(machine, sweep):
    step = machine.create(sweep("echo nan > $METRICS/$MLFLOW_RUN_ID.score")).steps["tune"]

    assert (step.status, step.error) == ("Failed", "the primary metric 'score' was never a finite number")
    assert json.loads(Path(step.trial_table).read_text())[0]["curve"] == [None]


def test_trials_are_a_standalone_sweeps_own_runs(machine, write):
    text = """\
type: sweep
trial:
  command: echo ${{search_space.x}} > $METRICS/$MLFLOW_RUN_ID.score
  environment: azureml:any:1
search_space:
  x: {type: Choice, values: [1, 2]}
sampling_algorithm: Grid
early_termination: {type: MedianStopping}
objective: {goal: Maximize, primary_metric: score}
limits: {max_total_trials: 5}
"""
    for _ in range(2):  # the second is reused whole
        record = machine.create(write("job.yml", text))
        step = record.steps["sweep"]
        assert (len(step.trials), step.best_trial) == (2, 1)
        rows = json.loads((machine.backend.metrics / f"{record.run_id}-trials.json").read_text())
        assert [row["is_best"] for row in rows] == [False, True]
    assert step.reused_from


def test_fractions_reach_a_script_whose_input_is_an_integer(machine, write):
    write(
        "trial.yml",
        "name: trial\ntype: command\nenvironment: azureml:any:1\ninputs:\n  depth: {type: integer}\n"
        "outputs:\n  out: {type: uri_folder}\n"
        "command: echo ${{inputs.depth}} > ${{outputs.out}}/depth && echo 1 > $METRICS/$MLFLOW_RUN_ID.score\n",
    )
    job = write(
        "job.yml",
        "type: pipeline\njobs:\n  tune:\n    type: sweep\n    trial: ./trial.yml\n    search_space:\n"
        "      depth: {type: uniform, min_value: 1, max_value: 25}\n    sampling_algorithm: {type: random, seed: 1}\n"
        "    objective: {goal: maximize, primary_metric: score}\n    limits: {max_total_trials: 1}\n",
    )

    record = machine.create(job)

    depth = (machine.home / "jobs" / record.name / "steps" / "tune" / "outputs" / "out" / "depth").read_text()
    assert 1 < float(depth) < 25
    assert "." in depth
