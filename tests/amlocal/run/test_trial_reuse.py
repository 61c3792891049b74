"""Trials that completed in an earlier job are reused, and taken for no others."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

SWEEP = """\
type: pipeline
inputs:
  word: one
outputs:
  best: {type: uri_folder}
jobs:
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs:
        x: {type: integer}
        word: {type: string}
      outputs:
        model: {type: uri_folder}
      command: |
        echo ${{inputs.x}} >> $METRICS/tried
        echo ${{inputs.x}} ${{inputs.word}} > ${{outputs.model}}/x.txt
        test ! -e $METRICS/kill-${{inputs.x}} || { kill -TERM $PPID; sleep 60; }
        for i in 1 2 3; do echo $((${{inputs.x}} * 10 + $i)); done >> $METRICS/$MLFLOW_RUN_ID.score
    inputs:
      word: ${{parent.inputs.word}}
    search_space:
      x: {type: choice, values: [2, 4, 1, 3]}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 2, max_concurrent_trials: 1}
    outputs:
      model: ${{parent.outputs.best}}
"""
ALL = "jobs.tune.limits.max_total_trials=4"


@pytest.fixture
def job(write):
    return write("job.yml", SWEEP)


@pytest.fixture
def tried(machine):
    """Give the trials that ran since the last call, by their x."""
    log = machine.backend.metrics / "tried"

    def read():
        lines = [int(line) for line in log.read_text().split()] if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return read


def reused(record):
    return {number: trial.reused_from for number, trial in sorted(record.steps["tune"].trials.items())}


def test_more_trials_than_before_run_only_the_new_ones(machine, job, tried):
    first = machine.create(job)
    assert (tried(), set(reused(first).values())) == ([2, 4], {None})
    runs = len(machine.backend.runs)

    second = machine.create(job, ALL)

    assert tried() == [1, 3]
    assert reused(second) == {0: first.name, 1: first.name, 2: None, 3: None}
    step = second.steps["tune"]
    assert step.reason == "sweep changed"
    assert [trial.curve for _, trial in sorted(step.trials.items())] == [
        (x + 1, x + 2, x + 3) for x in (20, 40, 10, 30)
    ]
    assert len(machine.backend.runs) == runs + 4  # the job's, the sweep's and two trials'
    assert step.trials[1] == dataclasses.replace(first.steps["tune"].trials[1], reused_from=first.name)
    assert step.cpu_seconds == pytest.approx(sum(step.trials[number].cpu_seconds for number in (2, 3)))


def test_reused_trial_may_be_the_best_and_its_outputs_go_on(machine, job):
    first = machine.create(job)
    second = machine.create(job, ALL)

    assert second.steps["tune"].best_trial == 1
    assert (Path(second.outputs["best"]) / "x.txt").read_text() == "4 one\n"
    folder = machine.home / "jobs" / second.name / "steps" / "tune"
    assert (folder / "outputs" / "model" / "x.txt").read_text() == "4 one\n"
    assert (folder / "trials" / "0" / "outputs" / "model" / "x.txt").read_text() == "2 one\n"
    rows = json.loads((folder / "trials.json").read_text())
    assert [(row["reused_from"], row["is_best"]) for row in rows] == [
        (first.name, False),
        (first.name, True),
        (None, False),
        (None, False),
    ]
    third = machine.create(job, ALL)
    assert third.steps["tune"].reused_from == second.name
    assert (Path(third.outputs["best"]) / "x.txt").read_text() == "4 one\n"


def test_sweep_that_was_ended_half_way_goes_on_from_there(machine, job, tried):
    machine.backend.metrics.mkdir()
    kill = machine.backend.metrics / "kill-1"
    kill.touch()
    first, code = machine.run(job, ALL)
    assert code == 143
    trials = first.steps["tune"].trials
    assert [trial.status for _, trial in sorted(trials.items())] == ["Completed", "Completed", "Canceled"]
    assert tried() == [2, 4, 1]
    kill.unlink()

    second = machine.create(job, ALL)

    assert tried() == [1, 3]
    assert list(reused(second).values()) == [first.name, first.name, None, None]


def test_policy_concurrency_and_goal_are_no_part_of_a_trial(machine, job, tried):
    first = machine.create(job)
    tried()
    second = machine.create(
        job,
        "jobs.tune.objective.goal=minimize",
        "jobs.tune.early_termination={type: median_stopping}",
        "jobs.tune.limits.max_concurrent_trials=2",
        "jobs.tune.limits.trial_timeout=100",
    )

    assert (tried(), set(reused(second).values())) == ([], {first.name})
    assert second.steps["tune"].best_trial == 0
    assert [trial.best for trial in second.steps["tune"].trials.values()] == [21, 41]


@pytest.mark.parametrize(
    "change",
    [
        "inputs.word=two",
        "jobs.tune.objective.primary_metric=other",
        "jobs.tune.trial.environment=azureml:any:2",
        "jobs.tune.trial.environment_variables.A=b",
        "jobs.tune.trial.command=echo ${{inputs.x}} | tee $METRICS/$MLFLOW_RUN_ID.score >> $METRICS/tried",
    ],
)
def test_what_a_trial_depends_on_makes_it_run_again(machine, job, tried, change):
    script = "for m in score other; do echo ${{inputs.x}} >> $METRICS/$MLFLOW_RUN_ID.$m; done"
    common = [f"jobs.tune.trial.command=echo ${{{{inputs.x}}}} >> $METRICS/tried; {script}", "inputs.word=true"]
    machine.create(job, *common)
    assert tried() == [2, 4]
    machine.create(job, *common, "jobs.tune.limits.timeout=1000")
    assert tried() == []

    machine.create(job, *common, change)
    assert tried() == [2, 4]


def test_asked_to_run_again_or_not_deterministic(machine, job, tried):
    machine.create(job)
    tried()
    for options in ({"rerun": True}, {}):
        overrides = [ALL] if options else [ALL, "settings.force_rerun=true"]
        assert set(reused(machine.create(job, *overrides, **options)).values()) == {None}
        assert tried() == [2, 4, 1, 3]
    random = "jobs.tune.trial.is_deterministic=false"
    for overrides in ([random], [random, ALL]):
        machine.create(job, *overrides)
    assert tried() == [2, 4, 2, 4, 1, 3]


def test_equal_trials_of_one_sweep_all_run(machine, job, tried):
    overrides = ["jobs.tune.search_space.x.values=[2, 2]"]
    machine.create(job, *overrides)
    assert tried() == [2, 2]

    machine.create(job, *overrides, "jobs.tune.limits.max_concurrent_trials=2")
    assert tried() == []


def test_a_step_with_the_same_command_is_not_a_trial(machine, job, write, tried):
    machine.create(job)
    tried()
    text = (
        SWEEP[: SWEEP.index("    search_space")].replace("type: sweep", "type: command").replace("trial:", "component:")
    )
    step = write("step.yml", text.replace("      word: ${{", "      x: 2\n      word: ${{"))

    assert machine.create(step).steps["tune"].reused_from is None
    assert tried() == [2]


def test_damaged_outputs_are_made_again(machine, job, tried):
    first = machine.create(job)
    tried()
    trials = machine.home / "jobs" / first.name / "steps" / "tune" / "trials"
    (trials / "1" / "outputs" / "model" / "x.txt").write_text("other")
    assert list(reused(machine.create(job)).values()) == [first.name, None]
    assert tried() == [4]

    shutil.rmtree(machine.home / "jobs")
    machine.create(job, ALL)
    assert tried() == [2, 4, 1, 3]


def test_failed_trials_run_again(machine, job, tried):
    failing = SWEEP.replace(
        "        echo ${{inputs.x}} ${{", "        test ${{inputs.x}} = 4\n        echo ${{inputs.x}} ${{"
    )
    job.write_text(failing.replace("command: |", "command: |\n        set -e"))
    first = machine.create(job)
    assert first.status == "Completed"
    tried()

    second = machine.create(job, ALL)
    assert tried() == [2, 1, 3]
    assert reused(second) == {0: None, 1: first.name, 2: None, 3: None}


def test_bayesian_sweep_proposes_the_same_after_reuse(machine, job, tried):
    overrides = [
        "jobs.tune.sampling_algorithm=bayesian",
        "jobs.tune.search_space.x={type: quniform, min_value: 0, max_value: 1000, q: 1}",
    ]
    whole = machine.create(job, *overrides, "jobs.tune.limits.max_total_trials=7", rerun=True)
    shutil.rmtree(machine.home)
    tried()
    first = machine.create(job, *overrides, "jobs.tune.limits.max_total_trials=5")
    second = machine.create(job, *overrides, "jobs.tune.limits.max_total_trials=7")

    assert list(reused(second).values()) == [first.name] * 5 + [None] * 2
    values = [[trial.parameters["x"] for trial in record.steps["tune"].trials.values()] for record in (whole, second)]
    assert values[0] == values[1]
    assert all(isinstance(value, int) for value in values[0])
    assert tried() == values[0]


def test_reused_trials_are_what_the_others_are_compared_with_from_the_start(machine, job):
    command = "echo ${{inputs.x}} >> $METRICS/$MLFLOW_RUN_ID.score; test ${{inputs.x}} = 4 || sleep 60"
    overrides = [
        f"jobs.tune.trial.command={command}",
        "jobs.tune.early_termination={type: bandit, slack_amount: 1}",
    ]
    first = machine.create(job, *overrides, "jobs.tune.search_space.x.values=[4]")
    second = machine.create(job, *overrides, "jobs.tune.search_space.x.values=[2, 4]")

    trials = second.steps["tune"].trials
    assert (trials[0].ended_early, trials[1].reused_from) == (True, first.name)
    assert second.steps["tune"].early_termination.basis == 1
