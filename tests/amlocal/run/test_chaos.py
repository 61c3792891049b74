"""amlocal, its steps and its guard killed at random points: nothing is left running, and nothing finished is lost.

``AMLOCAL_CHAOS_ROUNDS`` says how often (default 6; ``make chaos`` takes 100), ``AMLOCAL_CHAOS_SEED`` which points.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from amlocal.job_variable import JOB_VARIABLE
from amlocal.run import guard_process
from amlocal.run.guard import guarded
from amlocal.run.jobs import GONE, job_folders, read_record
from amlocal.run.records import JobRecord

ROUNDS = int(os.environ.get("AMLOCAL_CHAOS_ROUNDS", "6"))
SEED = int(os.environ.get("AMLOCAL_CHAOS_SEED", "0"))

RUNNER = """\
import sys
from pathlib import Path

sys.path.insert(0, {conftest!r})
from conftest import FileBackend

from amlocal.run.create import Request, create_job

home = Path({home!r})
record, code = create_job(Request(Path({job!r}), home, poll_seconds=0.05), FileBackend(home / "metrics"))
sys.exit(code)
"""

STEP = """\
  {name}:
    type: command
    environment: azureml:any:1
    inputs: {inputs}
    outputs: {{out: {{type: uri_folder}}}}
    command: |
      sleep 60 &
      echo {name} > ${{{{outputs.out}}}}/name.txt
      for part in {parts}; do sleep 0.05; cat $part/all.txt >> ${{{{outputs.out}}}}/all.txt; done
      echo {name} >> ${{{{outputs.out}}}}/all.txt
"""
SWEEP = """\
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs: {x: {type: integer}, data: {type: uri_folder}}
      outputs: {out: {type: uri_folder}}
      command: |
        sleep 0.1; cp ${{inputs.data}}/all.txt ${{outputs.out}}; echo ${{inputs.x}} >> ${{outputs.out}}/all.txt
        echo ${{inputs.x}} > $METRICS/$MLFLOW_RUN_ID.score
    inputs: {data: "${{parent.jobs.d.outputs.out}}"}
    search_space: {x: {type: choice, values: [1, 3, 2]}}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 3, max_concurrent_trials: 2}
    outputs: {out: "${{parent.outputs.best}}"}
"""


def pipeline() -> str:
    depends = {"a": "", "b": "a", "c": "a", "d": "bc"}
    steps = ""
    for name, before in depends.items():
        inputs = ", ".join(f'{other}: "${{{{parent.jobs.{other}.outputs.out}}}}"' for other in before)
        parts = " ".join(f"${{{{inputs.{other}}}}}" for other in before)
        steps += STEP.format(name=name, inputs=f"{{{inputs}}}", parts=parts)
    return f"type: pipeline\noutputs:\n  best: {{type: uri_folder}}\njobs:\n{steps}{SWEEP}"


def all_records(home: Path) -> list[JobRecord]:
    return [read_record(folder) for folder in job_folders(home)]


class Home:
    """A home folder in which the job is run by a process of its own."""

    def __init__(self, folder: Path, job: Path) -> None:
        self.folder = folder
        self._script = RUNNER.format(conftest=str(Path(__file__).parent), home=str(folder), job=str(job))

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", self._script], start_new_session=True)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for its jobs."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                variables = f"{JOB_VARIABLE}={process.environ().get(JOB_VARIABLE)} {' '.join(process.cmdline())}"
                if f"{JOB_VARIABLE}={self.folder}/" in variables:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait_until_empty(self) -> None:
        deadline = time.monotonic() + 20
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def output(self) -> str:
        newest = max(all_records(self.folder), key=lambda record: record.started)
        assert newest.status == "Completed", newest
        return (Path(newest.outputs["best"]) / "all.txt").read_text()


@pytest.fixture
def job(write):
    return write("job.yml", pipeline())


def test_killed_at_random_points_the_job_still_ends_the_same(tmp_path, job):
    calm, rough = Home(tmp_path / "calm", job), Home(tmp_path / "rough", job)
    began = time.monotonic()
    assert calm.start().wait(60) == 0
    whole = time.monotonic() - began
    chance = random.Random(SEED)

    for _ in range(ROUNDS):
        process = rough.start()
        time.sleep(chance.uniform(0.1, whole))
        victims = {"amlocal": process.pid}
        for running in rough.processes():
            victims[f"process {running.pid}"] = running.pid
        victim = chance.choice(["amlocal", *victims])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victims[victim], signal.SIGKILL)
        process.wait(60)
        rough.wait_until_empty()
        for record in all_records(rough.folder):
            assert record.status in {"Completed", "Failed", "Canceled"}, record

    finished = {
        step.key for record in all_records(rough.folder) for step in record.steps.values() if step.status == "Completed"
    }
    assert rough.start().wait(60) == 0
    assert rough.output() == calm.output()
    rough.wait_until_empty()
    last = max(all_records(rough.folder), key=lambda record: record.started)
    again = {step.name for step in last.steps.values() if step.key in finished and step.reused_from is None}
    assert not again, "finished steps ran again"
    assert not list((rough.folder / "running").iterdir())


def test_no_step_outlives_a_killed_amlocal_not_even_one_in_a_session_of_its_own(tmp_path, write):
    command = "setsid sleep 300 & sleep 300 & exec sleep 300"
    job = write("job.yml", f"type: command\nenvironment: azureml:any:1\ncommand: {command!r}\n")
    home = Home(tmp_path / "home", job)
    process = home.start()
    try:
        deadline = time.monotonic() + 30
        while len(home.processes()) < 4:  # three times sleep, the guard
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait(10)

    home.wait_until_empty()
    assert [record.error for record in all_records(home.folder)] == [GONE]


def guard(mark: str, grace_seconds: float) -> subprocess.Popen[bytes]:
    packages = str(Path(psutil.__file__).parents[1])
    command = [sys.executable, "-I", "-S", guard_process.__file__, mark, str(grace_seconds), packages]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


@pytest.fixture
def stubborn(tmp_path):
    environment = {**os.environ, "MARK": str(tmp_path)}
    command = f"trap 'echo asked > {tmp_path}/asked' TERM; touch {tmp_path}/ready; while :; do sleep 0.02; done"
    process = subprocess.Popen(["bash", "-c", command], env=environment, start_new_session=True)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_guard_asks_first_and_then_kills(tmp_path, stubborn):
    process = guard(f"MARK={tmp_path}", 0.3)
    process.stdin.close()

    assert process.wait(20) == 0
    assert stubborn.wait(10) == -signal.SIGKILL
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_guard_leaves_what_is_not_the_jobs_and_jobs_that_ended(tmp_path, stubborn):
    other = guard(f"MARK={tmp_path}/other", 0.0)
    other.stdin.close()
    ended = guard(f"MARK={tmp_path}", 0.0)
    ended.communicate(b"ended\n")

    assert (other.wait(20), ended.wait(20)) == (0, 0)
    assert stubborn.poll() is None


def test_guard_of_a_job_that_another_jobs_step_runs_is_not_that_jobs(tmp_path, monkeypatch):
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "outer"))

    with guarded(tmp_path / "inner"):
        [guard_of_inner] = [
            child for child in psutil.Process().children() if f"{JOB_VARIABLE}={tmp_path}/inner" in child.cmdline()
        ]
        assert JOB_VARIABLE not in guard_of_inner.environ()
