"""What is reused, what is not, and why a step runs."""

import os
import shutil
from pathlib import Path

import pytest

PIPELINE = """\
type: pipeline
inputs:
  data: {type: uri_file, path: data.csv}
  word: one
outputs:
  out: {type: uri_folder}
jobs:
  prep:
    type: command
    component: ./prep.yml
    inputs:
      data: ${{parent.inputs.data}}
      word: ${{parent.inputs.word}}
  train:
    type: command
    component: ./train.yml
    inputs:
      dataset: ${{parent.jobs.prep.outputs.dataset}}
    outputs:
      model: ${{parent.outputs.out}}
"""
PREP = """\
type: command
name: prep
code: ./prep
environment: azureml:any:1
inputs:
  data: {type: uri_file}
  word: {type: string}
outputs:
  dataset: {type: uri_folder}
command: bash prep.sh ${{inputs.data}} ${{outputs.dataset}} # ${{inputs.word}}
"""
TRAIN = """\
type: command
name: train
environment: azureml:any:1
inputs:
  dataset: {type: uri_folder}
outputs:
  model: {type: uri_folder}
command: date +%N > ${{outputs.model}}/model.txt; cat ${{inputs.dataset}}/* >> ${{outputs.model}}/model.txt
"""
SCRIPT = 'sort "$1" > "$2/data.csv"\n'


@pytest.fixture
def job(write):
    write("data.csv", "a\nb\n")
    write("prep.yml", PREP)
    write("prep/prep.sh", SCRIPT)
    write("train.yml", TRAIN)
    return write("job.yml", PIPELINE)


def reasons(record):
    return {name: step.reason for name, step in record.steps.items()}


def test_unchanged_job_is_reused_whole(machine, job):
    first = machine.create(job)
    runs = len(machine.backend.runs)
    second = machine.create(job)

    assert reasons(first) == {"prep": "never run before", "train": "never run before"}
    assert reasons(second) == {"prep": f"reuses job {first.name}", "train": f"reuses job {first.name}"}
    assert second.steps["train"].run_id == first.steps["train"].run_id
    assert len(machine.backend.runs) == runs + 1  # the job's own


def test_third_run_still_points_to_the_one_that_did_the_work(machine, job):
    first = machine.create(job)
    machine.create(job)

    assert machine.create(job).steps["train"].reused_from == first.name


def test_changed_script_runs_the_step_and_what_its_output_changes(machine, job, write):
    machine.create(job)
    write("prep/prep.sh", 'sort -r "$1" > "$2/data.csv"\n')

    assert reasons(machine.create(job)) == {"prep": "prep.sh changed", "train": "input dataset changed"}


def test_step_after_a_changed_one_is_reused_when_its_input_stays_the_same(machine, job, write):
    first = machine.create(job)
    write("prep/prep.sh", "# a comment\n" + SCRIPT)

    assert reasons(machine.create(job)) == {"prep": "prep.sh changed", "train": f"reuses job {first.name}"}


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("data.csv", "c\n", "input data changed"),
        ("prep/other.sh", "", "other.sh added"),
        ("prep.yml", PREP.replace("bash prep.sh", "bash -e prep.sh"), "command changed"),
        ("prep.yml", PREP.replace("any:1", "any:2"), "environment changed"),
        ("prep.yml", PREP + "description: changes nothing\n", None),
        ("job.yml", PIPELINE.replace("word: one", "word: two"), "input word one → two"),
        (
            "job.yml",
            PIPELINE.replace("./prep.yml", "./prep.yml\n    environment_variables: {A: b}"),
            "environment variables changed",
        ),
        ("job.yml", "# a comment\n" + PIPELINE, None),
    ],
)
def test_why_a_step_runs(machine, job, write, file, text, reason):
    first = machine.create(job)
    write(file, text)

    assert machine.create(job).steps["prep"].reason == (reason or f"reuses job {first.name}")


def test_going_back_finds_the_old_result(machine, job):
    first = machine.create(job)
    machine.create(job, "inputs.word=two")

    assert machine.create(job).steps["prep"].reused_from == first.name


def test_touching_or_moving_the_data_changes_nothing(machine, job, write, tmp_path):
    first = machine.create(job)
    (tmp_path / "project" / "data.csv").unlink()
    write("elsewhere/data.csv", "a\nb\n")

    record = machine.create(job, "inputs.data.path=elsewhere/data.csv")

    assert record.steps["prep"].reused_from == first.name


def test_a_files_name_is_part_of_its_content(machine, job, write):
    machine.create(job)
    write("data.tsv", "a\nb\n")

    assert machine.create(job, "inputs.data.path=data.tsv").steps["prep"].reason == "input data changed"


def test_rerun_and_force_rerun_and_not_deterministic(machine, job, write):
    machine.create(job)

    assert set(reasons(machine.create(job, rerun=True)).values()) == {"asked to run again"}
    assert set(reasons(machine.create(job, "settings.force_rerun=true")).values()) == {"asked to run again"}
    write("train.yml", TRAIN + "is_deterministic: false\n")
    for _ in range(2):
        record = machine.create(job)
        assert record.steps["prep"].reused_from
        assert record.steps["train"].reason == "is not deterministic, so it always runs"


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_damaged_outputs_are_made_again(machine, job, damage):
    first = machine.create(job)
    output = machine.home / "jobs" / first.name / "steps" / "prep" / "outputs" / "dataset"
    if damage == "change":
        (output / "data.csv").write_text("other\n")
    elif damage == "remove":
        shutil.rmtree(machine.home / "jobs" / first.name)
    else:
        (output / "more.csv").write_text("")

    second = machine.create(job)

    assert second.steps["prep"].reused_from is None
    assert second.steps["prep"].reason == "its last run did not finish, or its outputs are gone"
    assert (second.status, second.outputs.keys()) == ("Completed", {"out"})


def test_failed_step_is_never_reused_but_the_good_ones_before_it_are(machine, job, write):
    write("train.yml", TRAIN.replace("command: ", "command: exit 3; "))
    failed = machine.create(job)
    again = machine.create(job)

    assert (failed.steps["train"].status, again.steps["train"].status) == ("Failed", "Failed")
    assert again.steps["prep"].reused_from == failed.name
    assert again.steps["train"].reason.startswith("its last run failed")


def test_step_that_failed_and_then_was_ended_is_not_said_to_have_failed_last(machine, job, write):
    write("train.yml", TRAIN.replace("command: ", "command: exit 3; "))
    machine.create(job)
    [history] = [
        file for file in (machine.home / "cache" / "history").iterdir() if '"failed": true' in file.read_text()
    ]
    history.write_text(history.read_text().replace('"failed": true', '"failed": false'))  # as a killed run leaves it

    assert machine.create(job).steps["train"].reason.startswith("its last run did not finish")


def test_names_that_are_no_utf8(machine, write):
    folder = write("data/a.txt", "a").parent
    job = write(
        "job.yml",
        "type: command\nenvironment: azureml:any:1\ncode: data\n"
        "command: cat ${{inputs.data}}/* > ${{outputs.out}}/all.txt; cp ${{inputs.data}}/b* ${{outputs.out}}\n"
        "inputs: {data: {type: uri_folder, path: data}}\noutputs: {out: {type: uri_folder}}\n",
    )
    odd = os.fsencode(folder) + b"/b\xff"
    Path(os.fsdecode(odd)).write_text("b")

    first = machine.create(job)
    assert machine.create(job).steps.popitem()[1].reused_from == first.name
    os.utime(odd, (0, 0))  # old enough to be remembered
    assert machine.create(job).steps.popitem()[1].reused_from == first.name
    Path(os.fsdecode(odd)).write_text("c")
    assert "b\\xff changed" in machine.create(job).steps.popitem()[1].reason


def test_equal_steps_of_other_jobs_share_results(machine, job, write):
    first = machine.create(job)
    other = write("other.yml", PIPELINE)

    assert machine.create(other).steps["train"].reused_from == first.name


def test_reused_sweep_keeps_its_trials_and_table(machine, write):
    write("data.csv", "")
    job = write(
        "sweep.yml",
        """\
type: sweep
trial:
  command: echo ${{search_space.x}} > $METRICS/$MLFLOW_RUN_ID.score
  environment: azureml:any:1
search_space:
  x: {type: uniform, min_value: 0, max_value: 1}
objective: {goal: maximize, primary_metric: score}
limits: {max_total_trials: 3}
""",
    )
    first, second = machine.create(job), machine.create(job)

    step = second.steps["sweep"]
    assert step.reused_from == first.name
    assert step.trials == first.steps["sweep"].trials
    assert step.best_trial == first.steps["sweep"].best_trial
    tables = [machine.home / "jobs" / r.name / "steps" / "sweep" / "trials.json" for r in (first, second)]
    assert tables[0].read_text() == tables[1].read_text()
    third = machine.create(job, "limits.max_total_trials=4")
    assert third.steps["sweep"].reason == "sweep changed"
