"""Several runs in one home: at the same time, and after one was killed."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

RUNNER = """\
import sys
from pathlib import Path

sys.path.insert(0, {conftest!r})
from conftest import FileBackend

from amlocal.run.create import Request, create_job

home = Path({home!r})
record, code = create_job(Request(Path({job!r}), home, name=sys.argv[1]), FileBackend(home / "metrics"))
sys.exit(code)
"""

JOB = """\
type: pipeline
outputs:
  out: {type: uri_folder}
jobs:
  first:
    type: command
    environment: azureml:any:1
    code: ./src
    command: cp main.txt ${{outputs.out}}/x.txt
    outputs: {out: {type: uri_folder}}
  second:
    type: command
    environment: azureml:any:1
    command: cp ${{inputs.x}}/x.txt ${{outputs.out}}; touch $METRICS/reached; sleep ${{inputs.seconds}}
    inputs: {x: "${{parent.jobs.first.outputs.out}}", seconds: 0.2}
    outputs: {out: "${{parent.outputs.out}}"}
"""


def start(machine, job, name):
    script = RUNNER.format(conftest=str(Path(__file__).parent), home=str(machine.home), job=str(job))
    return subprocess.Popen([sys.executable, "-c", script, name])


def read(machine, name):
    return json.loads((machine.home / "jobs" / name / "job.json").read_text())


def test_two_runs_at_once_do_not_disturb_each_other(machine, write):
    write("src/main.txt", "content\n")
    job = write("job.yml", JOB)

    processes = [start(machine, job, name) for name in ("one", "two")]

    assert [process.wait(60) for process in processes] == [0, 0]
    for name in ("one", "two"):
        assert (Path(read(machine, name)["outputs"]["out"]) / "x.txt").read_text() == "content\n"
    third = machine.create(job)
    assert {step.reused_from for step in third.steps.values()} <= {"one", "two"}


COUNTED = """\
type: pipeline
jobs:
  one: &counted
    type: command
    environment: azureml:any:1
    command: echo ran >> $METRICS/runs; touch $METRICS/reached; sleep SECONDS; echo x > ${{outputs.out}}/x.txt
    outputs: {out: {type: uri_folder}}
  two: *counted
"""


def runs(machine):
    return (machine.home / "metrics" / "runs").read_text().count("ran")


def test_a_step_that_two_jobs_need_at_once_runs_once(machine, write):
    job = write("job.yml", COUNTED.replace("SECONDS", "0.5"))

    processes = [start(machine, job, name) for name in ("first", "second")]

    assert [process.wait(60) for process in processes] == [0, 0]
    assert runs(machine) == 1
    steps = [read(machine, name)["steps"][node] for name in ("first", "second") for node in ("one", "two")]
    (ran,) = [step for step in steps if step["reused_from"] is None]
    assert {step["reused_from"] for step in steps if step is not ran} <= {"first", "second"}
    assert len({step["outputs"]["out"] for step in steps}) == 1


def test_equal_steps_of_a_job_run_once_unless_asked_to(machine, write):
    job = write("job.yml", COUNTED.replace("SECONDS", "0.1"))
    machine = replace(machine, backend=replace(machine.backend, metrics=machine.home / "metrics"))

    record = machine.create(job)
    assert runs(machine) == 1
    assert sorted(step.reused_from or "" for step in record.steps.values()) == ["", record.name]

    machine.create(job, rerun=True)
    assert runs(machine) == 3
    always = job.with_name("always.yml")
    always.write_text(job.read_text().replace("command: echo", "is_deterministic: false\n    command: echo"))
    machine.create(always)
    assert runs(machine) == 5


def test_whoever_waits_for_a_step_that_fails_runs_it(machine, write):
    fails_once = "if mkdir $METRICS/tried; then sleep 0.3; exit 1; fi; true"
    job = write("job.yml", COUNTED.replace("sleep SECONDS", fails_once))
    machine = replace(machine, backend=replace(machine.backend, metrics=machine.home / "metrics"))

    record = machine.create(job, "settings.continue_on_step_failure=true")

    assert sorted(step.status for step in record.steps.values()) == ["Completed", "Failed"]
    assert runs(machine) == 2


def test_a_killed_run_gives_its_turn_back(machine, write):
    job = write("job.yml", COUNTED.replace("SECONDS", "3"))
    process = start(machine, job, "killed")
    waits_until_reached(machine)
    waiting = start(machine, job, "waiting")
    deadline = time.monotonic() + 30
    while "waits for an equal step" not in (text(machine, "waiting") or ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.kill()
    process.wait(10)

    assert waiting.wait(60) == 0
    assert runs(machine) == 2


def text(machine, name):
    path = machine.home / "jobs" / name / "job.json"
    return path.read_text() if path.exists() else None


def waits_until_reached(machine):
    deadline = time.monotonic() + 30
    while not (machine.home / "metrics" / "reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_run_loses_no_finished_step(machine, write):
    write("src/main.txt", "content\n")
    job = write("job.yml", JOB.replace("0.2", "3"))
    process = start(machine, job, "one")
    waits_until_reached(machine)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    record = machine.create(job)

    assert record.status == "Completed"
    assert record.steps["first"].reused_from == "one"
    assert record.steps["second"].reason == "its last run did not finish, or its outputs are gone"
