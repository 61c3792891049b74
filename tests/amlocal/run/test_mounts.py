"""Outputs with a path of their own in mode rw_mount: written there, seen there, and never taken for another run's."""

import pytest

JOB = """\
type: pipeline
inputs: {word: one}
outputs:
  state: {type: uri_folder, path: "azureml://datastores/lake/paths/runs/x"}
jobs:
  train:
    inputs: {word: "${{parent.inputs.word}}"}
    outputs: {state: "${{parent.outputs.state}}"}
    command: |
      ls ${{outputs.state}}
      echo ${{inputs.word}} >> ${{outputs.state}}/words.txt
      test ! -e fail || exit 3
    code: ./code
    environment: azureml:any:1
  read:
    inputs: {state: "${{parent.jobs.train.outputs.state}}"}
    outputs: {copy: {type: uri_file}}
    command: cp ${{inputs.state}}/words.txt ${{outputs.copy}}
    environment: azureml:any:1
"""


@pytest.fixture
def job(write):
    write("code/empty.txt", "")
    return write("job.yml", JOB)


@pytest.fixture
def place(machine):
    return machine.home / "datastores" / "lake" / "runs" / "x"


def log(machine, record) -> str:
    return (machine.home / "jobs" / record.name / "steps" / "train" / "logs" / "std_log.txt").read_text()


def left(machine, record) -> str:
    return (machine.home / "jobs" / record.name / "outputs" / "state" / "words.txt").read_text()


def test_what_a_failed_step_wrote_is_there_and_the_next_one_sees_it(machine, job, place, write):
    fail = write("code/fail", "")
    first = machine.create(job)
    assert first.steps["train"].status == "Failed"
    assert (place / "words.txt").read_text() == "one\n"

    fail.unlink()
    second = machine.create(job)
    assert log(machine, second) == "words.txt\n"
    assert left(machine, second) == "one\none\n"
    copied = machine.home / "jobs" / second.name / "steps" / "read" / "outputs" / "copy"
    assert copied.read_text() == "one\none\n"


def test_reused_while_its_place_is_as_it_was_left_or_empty_as_when_it_began(machine, job, place):
    first = machine.create(job)
    second = machine.create(job)
    assert second.steps["train"].reused_from == first.name
    assert (place / "words.txt").read_text() == "one\n"

    (place / "words.txt").unlink()
    third = machine.create(job)
    assert third.steps["train"].reused_from == first.name
    assert (place / "words.txt").read_text() == "one\n"


def test_not_reused_where_its_place_holds_something_else(machine, job, place):
    first = machine.create(job)
    (place / "half").write_text("")

    second = machine.create(job)
    assert second.steps["train"].reason == "output state holds other content than the earlier run left there"
    assert log(machine, second) == "half\nwords.txt\n"
    assert (left(machine, first), left(machine, second)) == ("one\n", "one\none\n")


def test_what_went_on_from_something_is_not_reused_for_a_beginning_from_nothing(machine, job, place):
    place.mkdir(parents=True)
    (place / "words.txt").write_text("zero\n")
    first = machine.create(job)
    assert left(machine, first) == "zero\none\n"
    assert machine.create(job).steps["train"].reused_from == first.name

    (place / "words.txt").unlink()
    again = machine.create(job)
    assert again.steps["train"].reason == "output state is empty, and the earlier run went on from what was there"
    assert left(machine, again) == "one\n"

    (place / "words.txt").write_text("zero\n")
    machine.create(job)
    elsewhere = machine.create(job, "outputs.state={type: uri_folder}")
    assert elsewhere.steps["train"].reason == again.steps["train"].reason
    assert left(machine, elsewhere) == "one\n"


def test_another_run_in_the_same_place_changes_nothing_that_is_done(machine, job):
    first = machine.create(job)
    second = machine.create(job, "inputs.word=two")

    assert (left(machine, first), left(machine, second)) == ("one\n", "one\ntwo\n")


@pytest.mark.parametrize("where", ["job", "node"])
def test_upload_begins_empty_and_is_copied_at_the_end(machine, job, place, where):
    place.mkdir(parents=True)
    (place / "older").write_text("")
    mode = "outputs.state.mode=upload"
    node = "jobs.train.outputs.state={type: uri_folder, mode: upload, path: '${{parent.outputs.state}}'}"
    record = machine.create(job, mode if where == "job" else node)

    assert log(machine, record) == ""
    assert sorted(path.name for path in place.iterdir()) == ["older", "words.txt"]
    assert left(machine, record) == "one\n"


def test_each_jobs_own_place_begins_empty(machine, job):
    path = "outputs.state.path=azureml://datastores/lake/paths/runs/${{name}}"
    first = machine.create(job, path)
    second = machine.create(job, path)
    third = machine.create(job, path, rerun=True)

    assert second.steps["train"].reused_from == first.name
    assert [left(machine, record) for record in (first, second, third)] == ["one\n"] * 3
    runs = machine.home / "datastores" / "lake" / "runs"
    assert {folder.name: (folder / "words.txt").read_text() for folder in runs.iterdir()} == {
        record.name: "one\n" for record in (first, second, third)
    }


FILE = """\
type: command
outputs:
  out: {type: uri_file, path: "azureml://datastores/lake/paths/deep/out.txt", name: words}
command: echo more >> ${{outputs.out}}; echo $AZURE_ML_OUTPUT_out
environment: azureml:any:1
"""


def test_a_file_is_written_in_its_place_too_and_registered(machine, write):
    first = machine.create(write("job.yml", FILE))
    second = machine.create(write("job.yml", FILE), rerun=True)

    place = machine.home / "datastores" / "lake" / "deep" / "out.txt"
    assert place.read_text() == "more\nmore\n"
    outputs = [machine.home / "jobs" / record.name / "outputs" / "out" for record in (first, second)]
    assert [path.read_text() for path in outputs] == ["more\n", "more\nmore\n"]
    steps = [record.steps["command"] for record in (first, second)]
    assert [step.registered["out"] for step in steps] == ["data words:1", "data words:2"]
    folder = machine.home / "jobs" / second.name / "steps" / "command"
    assert (folder / "logs" / "std_log.txt").read_text() == f"{place}\n"


def test_a_file_in_a_folders_place(machine, job, place):
    place.parent.mkdir(parents=True)
    place.write_text("")
    record = machine.create(job)

    assert record.steps["train"].error == (f"{job}:4: output 'state': {place} is a file, and the output a uri_folder")


def test_a_sweep_hands_over_the_best_trials_output(machine, write):
    text = """\
type: sweep
trial:
  command: |
    ls ${{outputs.out}}
    echo ${{search_space.x}} | tee ${{outputs.out}}/x > $METRICS/$MLFLOW_RUN_ID.score
  environment: azureml:any:1
outputs: {out: {type: uri_folder, path: "azureml://datastores/lake/paths/best", mode: rw_mount}}
search_space: {x: {type: choice, values: [1, 2]}}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: score}
limits: {max_total_trials: 2}
"""
    record = machine.create(write("job.yml", text))

    assert (machine.home / "datastores" / "lake" / "best" / "x").read_text() == "2\n"
    trials = record.steps["sweep"].trials.values()
    assert [(trial.status, (machine.home / trial.log).read_text()) for trial in trials] == [("Completed", "")] * 2
