"""Several runs in one home: at the same time, and after one was killed."""

import json
import signal
import subprocess
import sys
import time
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


def test_killed_run_loses_no_finished_step(machine, write):
    write("src/main.txt", "content\n")
    job = write("job.yml", JOB.replace("0.2", "3"))
    process = start(machine, job, "one")
    deadline = time.monotonic() + 30
    while not (machine.home / "metrics" / "reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    record = machine.create(job)

    assert record.status == "Completed"
    assert record.steps["first"].reused_from == "one"
    assert record.steps["second"].reason == "its last run did not finish, or its outputs are gone"
