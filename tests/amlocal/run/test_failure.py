"""Steps that fail, jobs that are interrupted, and what is left of them."""

import errno
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from amlocal.errors import AmlocalError
from amlocal.reader.source import InvalidJobError
from amlocal.run import digest
from amlocal.run.create import Request, create_job
from amlocal.run.files import JobFolder
from amlocal.run.jobs import read_record
from amlocal.run.view import summary

FAN = """\
type: pipeline
outputs:
  kept: {type: uri_folder}
jobs:
  good:
    type: command
    environment: azureml:any:1
    command: echo kept > ${{outputs.out}}/x.txt
    outputs: {out: "${{parent.outputs.kept}}"}
  bad:
    type: command
    environment: azureml:any:1
    command: |
      echo some output
      echo the reason >&2
      exit 3
    inputs: {after: "${{parent.jobs.good.outputs.out}}"}
    outputs: {out: {type: uri_folder}}
  after_bad:
    type: command
    environment: azureml:any:1
    command: echo never
    inputs: {x: "${{parent.jobs.bad.outputs.out}}"}
    outputs: {out: {type: uri_folder}}
  after_that:
    type: command
    environment: azureml:any:1
    command: echo never
    inputs: {x: "${{parent.jobs.after_bad.outputs.out}}"}
  slow:
    type: command
    environment: azureml:any:1
    command: sleep ${{inputs.seconds}}
    inputs: {seconds: 0.5}
    outputs: {out: {type: uri_folder}}
  after_slow:
    type: command
    environment: azureml:any:1
    command: echo independent
    inputs: {x: "${{parent.jobs.slow.outputs.out}}"}
"""


def statuses(record):
    return {name: step.status for name, step in record.steps.items()}


def test_failing_step_fails_the_job_and_keeps_what_was_done(machine, write):
    record, code = machine.run(write("job.yml", FAN), "jobs.slow.inputs.seconds=60")

    assert (record.status, code, record.error) == ("Failed", 1, "bad failed")
    assert statuses(record) == {
        "good": "Completed",
        "bad": "Failed",
        "after_bad": "NotStarted",
        "after_that": "NotStarted",
        "slow": "Canceled",
        "after_slow": "NotStarted",
    }
    bad = record.steps["bad"]
    assert (bad.exit_code, bad.error) == (3, "exit code 3")
    assert record.steps["slow"].error == "ended because bad failed"
    used = {name: step.cpu_seconds is not None for name, step in record.steps.items()}
    assert used == {name: name in {"good", "bad", "slow"} for name in record.steps}
    assert Path(bad.log).read_text() == "some output\nthe reason\n"
    assert record.steps["after_that"].error == "not started: after_bad did not complete"
    assert (Path(record.outputs["kept"]) / "x.txt").read_text() == "kept\n"
    by_name = {run.name: run.status for run in machine.backend.runs.values()}
    assert by_name == {record.name: "FAILED", "good": "FINISHED", "bad": "FAILED", "slow": "KILLED"}


def test_independent_steps_go_on_when_asked(machine, write):
    record = machine.create(write("job.yml", FAN), "settings.continue_on_step_failure=true")

    assert record.status == "Failed"
    assert statuses(record)["after_slow"] == "Completed"
    assert statuses(record)["after_bad"] == "NotStarted"


def test_steps_run_at_the_same_time(machine, write):
    # Each waits for the other: one after the other they would not end.
    jobs = "".join(
        f"""\
  {me}:
    type: command
    environment: azureml:any:1
    command: touch $METRICS/{me}; until test -e $METRICS/{other}; do sleep 0.02; done
    limits: {{timeout: 20}}
"""
        for me, other in (("a", "b"), ("b", "a"))
    )

    assert machine.create(write("job.yml", f"type: pipeline\njobs:\n{jobs}")).status == "Completed"


def test_steps_run_one_after_the_other_where_they_are_measured(machine, write):
    jobs = "".join(
        f"""\
  {name}:
    type: command
    environment: azureml:any:1
    command: echo {name} && mkdir $METRICS/alone && sleep 0.2 && rmdir $METRICS/alone
"""
        for name in ("a", "b", "c")
    )
    job = write("job.yml", f"type: pipeline\nsettings: {{continue_on_step_failure: true}}\njobs:\n{jobs}")

    record = machine.create(job, concurrent_steps=1)

    assert statuses(record) == {"a": "Completed", "b": "Completed", "c": "Completed"}


def test_timeout_of_a_step(machine, write):
    job = write("job.yml", "type: command\ncommand: sleep 60\nenvironment: azureml:any:1\nlimits: {timeout: 1}\n")
    record = machine.create(job)

    step = record.steps["command"]
    assert (step.status, step.error) == ("Failed", "ended after its timeout of 1 s")


def test_output_file_that_was_not_written_is_missed_by_its_reader(machine, write):
    job = write(
        "job.yml",
        """\
type: pipeline
jobs:
  lazy:
    type: command
    environment: azureml:any:1
    command: "true"
    outputs: {report: {type: uri_file}}
  reader:
    type: command
    environment: azureml:any:1
    command: cat ${{inputs.report}}
    inputs: {report: "${{parent.jobs.lazy.outputs.report}}"}
""",
    )
    record = machine.create(job)

    assert statuses(record) == {"lazy": "Completed", "reader": "Failed"}
    assert record.steps["reader"].error == "input report: step lazy did not write its output report"


def test_invalid_job_leaves_no_trace(machine, write):
    with pytest.raises(InvalidJobError):
        machine.create(write("job.yml", FAN.replace("jobs.good", "jobs.none")))

    assert not (machine.home / "jobs").exists()


def test_name_that_is_taken_or_no_name(machine, write):
    job = write("job.yml", "type: command\ncommand: 'true'\nenvironment: azureml:any:1\n")

    assert machine.create(job, name="one").name == "one"
    with pytest.raises(AmlocalError, match="job 'one' exists already"):
        machine.create(job, name="one")
    with pytest.raises(AmlocalError, match="expected letters"):
        machine.create(job, name="../one")
    assert {machine.create(job).name for _ in range(3)} == {
        path.name for path in (machine.home / "jobs").iterdir() if path.name != "one"
    }


@pytest.mark.parametrize("full", ["results", "history", "job.json", "digests"])
def test_full_disk_is_said_and_finished_steps_stay_reusable(machine, write, monkeypatch, full):
    job = write("job.yml", FAN.replace("exit 3", "true"))
    disk = FullDisk(full, monkeypatch)

    disk.fill_when("bad", machine)
    record, message = outcome(machine, job)

    if full == "digests":  # a cache that nobody needs
        assert record.status == "Completed"
    else:
        assert "No space left on device" in message
    if full in {"results", "history"}:  # else nothing more can be written, and what is there stays whole
        assert record.status == "Failed"
        assert record.steps["good"].status == "Completed"
    disk.make_room()
    again = machine.create(job, "jobs.slow.inputs.seconds=0")
    assert again.status == "Completed"
    assert again.steps["good"].reused_from == record.name


class FullDisk:
    """Writes below a folder or to a file of that name fail from some moment on."""

    def __init__(self, name, monkeypatch):
        self._full = False
        replace = Path.replace

        def refuse(path, target):
            if self._full and (name in Path(target).parts):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return replace(path, target)

        def broken_insert(database):
            connection = digest_open(database)
            return FullDatabase(connection, lambda: self._full) if name == "digests" else connection

        digest_open = digest._open
        monkeypatch.setattr(Path, "replace", refuse)
        monkeypatch.setattr(digest, "_open", broken_insert)

    def fill_when(self, step, machine):
        """Have no room left when MLflow is told of a step's start."""
        start_run = machine.backend.start_run

        def start(experiment, name, parent, tags):
            self._full |= name == step
            return start_run(experiment, name, parent, tags)

        self._make_room = partial(setattr, machine.backend, "start_run", start_run)
        machine.backend.start_run = start

    def make_room(self):
        self._full = False
        self._make_room()


class FullDatabase:
    def __init__(self, connection, full):
        self._connection, self._full = connection, full

    def execute(self, statement, *parameters):
        if self._full() and statement.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def __enter__(self):
        return self._connection.__enter__()

    def __exit__(self, *error):
        return self._connection.__exit__(*error)


def outcome(machine, job):
    try:
        record, _ = machine.run(job, "jobs.slow.inputs.seconds=0", name="full")
    except AmlocalError as error:
        return read_record(JobFolder(machine.home, "full")), str(error)
    return record, " ".join(step.error or "" for step in record.steps.values())


def test_workspace_that_does_not_start_fails_the_job(tmp_path, write):
    class Broken:
        def connect(self):
            raise AmlocalError("no workspace today")

    job = write("job.yml", "type: command\ncommand: 'true'\nenvironment: azureml:any:1\n")
    with pytest.raises(AmlocalError, match="no workspace today"):
        create_job(Request(job, tmp_path / "home", name="x"), Broken())

    record = json.loads((tmp_path / "home" / "jobs" / "x" / "job.json").read_text())
    assert (record["status"], record["error"]) == ("Failed", "no workspace today")


RUNNER = """\
import sys
from pathlib import Path

sys.path.insert(0, {conftest!r})
from conftest import FileBackend

from amlocal.run.create import Request, create_job

home = Path({home!r})
record, code = create_job(Request(Path({job!r}), home, name="job", poll_seconds=0.05), FileBackend(home / "metrics"))
sys.exit(code)
"""

BUSY = """\
type: pipeline
jobs:
  done:
    type: command
    environment: azureml:any:1
    command: "true"
  stubborn:
    type: command
    environment: azureml:any:1
    inputs: {after: "${{parent.jobs.done.outputs.artifacts}}"}
    command: |
      sleep 300 &
      echo $! >> $METRICS/pids; setsid bash -c 'echo $$ >> $METRICS/pids; exec sleep 300' & echo $$ >> $METRICS/pids
      wait
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs: {x: {type: number}}
      command: sleep 30${{inputs.x}} & echo $! >> $METRICS/pids; echo $$ >> $METRICS/pids; wait
    search_space: {x: {type: choice, values: [1, 2, 3]}}
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 3, max_concurrent_trials: 1}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_job_is_canceled_and_leaves_no_process(tmp_path, write, number):
    home = tmp_path / "home"
    job = write("job.yml", BUSY)
    script = RUNNER.format(conftest=str(Path(__file__).parent), home=str(home), job=str(job))
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    pids = home / "metrics" / "pids"
    deadline = time.monotonic() + 30
    while not pids.exists() or len(pids.read_text().split()) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.send_signal(number)

    assert process.wait(20) == 128 + number
    record = json.loads((home / "jobs" / "job" / "job.json").read_text())
    assert (record["status"], record["error"]) == ("Canceled", f"ended by {number.name}")
    assert record["steps"]["done"]["status"] == "Completed"
    assert record["steps"]["stubborn"]["status"] == "Canceled"
    assert record["steps"]["tune"]["status"] == "Canceled"
    assert record["steps"]["tune"]["trials"]["0"]["status"] == "Canceled"
    alive = [int(pid) for pid in pids.read_text().split() if psutil.pid_exists(int(pid))]
    assert [pid for pid in alive if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE] == []


def test_completed_job_leaves_no_process_not_even_one_in_a_session_of_its_own(machine, write, tmp_path):
    command = f'setsid bash -c "echo \\$\\$ > {tmp_path}/pid; exec sleep 300" & until [ -s {tmp_path}/pid ]; do :; done'
    record = machine.create(write("job.yml", f"type: command\nenvironment: azureml:any:1\ncommand: |\n  {command}\n"))

    assert record.status == "Completed"
    left = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_canceled_job_gives_up_reading_its_code(tmp_path, write):
    home, script = tmp_path / "home", tmp_path / "runner.py"
    job = write("job.yml", "type: command\nenvironment: azureml:any:1\ncode: code\ncommand: 'true'\n")
    with write("code/large.bin", "").open("wb") as large:
        large.truncate(1 << 40)  # takes no space, and hours to read
    script.write_text(RUNNER.format(conftest=str(Path(__file__).parent), home=str(home), job=str(job)))
    process = subprocess.Popen([sys.executable, str(script)])
    try:
        deadline = time.monotonic() + 30
        while not any(file.path.endswith("large.bin") for file in psutil.Process(process.pid).open_files()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_links_that_lead_round_in_a_circle_are_followed_once(machine, write):
    code = write("code/a.txt", "a").parent
    for name in ("one", "two"):
        (code / name).symlink_to(".")
    (write("code/sub/b.txt", "b").parent / "up").symlink_to("..")
    (code / "sibling").symlink_to("sub")
    job = write(
        "job.yml",
        "type: command\nenvironment: azureml:any:1\ncode: code\ncommand: find . -name '*.txt' | sort\n"
        "inputs: {data: {type: uri_folder, path: code}}\n",
    )

    record = machine.create(job)

    listed = Path(next(iter(record.steps.values())).log).read_text().split()
    assert [name for name in listed if name.count("/") < 3] == ["./a.txt", "./sibling/b.txt", "./sub/b.txt"]


CHANGES_INPUTS = """\
type: pipeline
inputs:
  n: {type: integer, default: 3}
jobs:
  first:
    type: command
    environment: azureml:any:1
    inputs: {d: {type: uri_folder, path: data}, n: "${{parent.inputs.n}}"}
    outputs: {out: {type: uri_folder}, note: {type: uri_file}, gone: {type: uri_folder}}
    command: echo ${{inputs.n}}; echo x >> ${{inputs.d}}/a.txt; touch ${{inputs.d}}/b.txt; rmdir ${{outputs.gone}}
  second:
    type: command
    environment: azureml:any:1
    inputs: {first: "${{parent.jobs.first.outputs.out}}"}
    command: touch ${{inputs.first}}/new.txt; exit 3
"""


def test_changed_inputs_and_outputs_that_were_not_written_are_warned_of(machine, write):
    write("data/a.txt", "a")
    write("data/c.txt", "c")
    record, _ = machine.run(write("job.yml", CHANGES_INPUTS), "inputs.n=9.0")

    steps = read_record(JobFolder(machine.home, record.name)).steps
    said = "changed while it ran ({}); Azure ML mounts inputs read-only"
    missing = ("output note was not written", "output gone was not written")
    assert steps["first"].status == "Completed"
    assert steps["first"].warnings == (f"input d {said.format('a.txt, b.txt')}", *missing)
    assert steps["second"].warnings == (f"input first {said.format('new.txt')}",)
    assert Path(steps["first"].log).read_text() == "9\n"
    console = Console(file=io.StringIO(), width=200)
    summary(record, console)
    assert "warning: first: output note was not written\n" in console.file.getvalue()


def test_reused_step_still_says_what_was_not_written(machine, write):
    text = "type: command\nenvironment: azureml:any:1\ncommand: 'true'\noutputs: {note: {type: uri_file}}\n"
    job = write("job.yml", text)

    for record in (machine.create(job), machine.create(job)):
        [step] = record.steps.values()
        assert step.warnings == ("output note was not written",)
    assert step.reused_from is not None


def test_parallel_node_over_names_that_are_no_utf8(machine, write, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    write("s.py", "def init(): pass\ndef run(batch):\n    raise ValueError(open(batch[0]).read())\n")
    odd = os.fsencode(write("data/a", "why").parent) + b"/b\xff"
    Path(os.fsdecode(odd)).write_text("what")
    task = "{type: run_function, code: ./s.py, entry_script: s.py, environment: azureml:any:1}"
    text = f"""\
type: pipeline
jobs:
  p:
    type: parallel
    mini_batch_size: "1"
    retry_settings: {{max_retries: 0}}
    resources: {{instance_count: 1}}
    input_data: ${{{{inputs.d}}}}
    inputs: {{d: {{type: uri_folder, path: data}}}}
    task: {task}
"""
    record, _ = machine.run(write("job.yml", text))

    step = record.steps["p"]
    assert step.error == "no mini batch succeeded"
    assert "b\\udcff" in Path(step.log).read_text()
