"""A training that is killed, with its amlocal or without, and started again with the same path for its checkpoints."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from amlocal.job_variable import JOB_VARIABLE

ROOT = Path(__file__).parents[2]
STEPS = 80
JOB = """\
type: pipeline
jobs:
  train:
    component: {root}/components/train/component.yml
    inputs:
      dataset: {{type: uri_folder, path: {dataset}}}
      checkpoint: {checkpoint}
      precision: fp32
      learning_rate: 0.01
      per_device_train_batch_size: 8
      max_steps: {steps}
      eval_steps: 40
      checkpoint_steps: 2
    outputs:
      checkpoints:
        type: uri_folder
        path: azureml://datastores/workspaceblobstore/paths/runs/{place}
"""

pytestmark = [pytest.mark.story, pytest.mark.timeout(1800)]


class Home:
    """A home whose jobs are run by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start amlocal."""
        return subprocess.Popen(
            [sys.executable, "-m", "amlocal", "--home", str(self.folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "CI": "true", "OMP_NUM_THREADS": "1"},
        )

    def run(self, *arguments: str) -> int:
        """Run amlocal to its end."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=900)
        print(said)
        return process.returncode

    def training(self) -> list[psutil.Process]:
        """Find the training's processes."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                marked = process.environ().get(JOB_VARIABLE, "").startswith(f"{self.folder}/jobs/")
                if marked and "train.py" in process.cmdline():
                    found.append(process)
        return found

    def model(self, job: str) -> Path:
        """Find a job's model."""
        return self.folder / "jobs" / job / "steps" / "train" / "outputs" / "model"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    made.run("workspace", "stop")


@pytest.fixture
def job(tmp_path: Path, message_dataset: Path, tiny_checkpoint: Path) -> Callable[[str], Path]:
    """Write a training job, with dropout so that chance has a part in it."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (checkpoint / "config.json").write_text(json.dumps(config))

    def make(place: str) -> Path:
        path = tmp_path / f"{place}.yml"
        path.write_text(JOB.format(root=ROOT, dataset=message_dataset, checkpoint=checkpoint, steps=STEPS, place=place))
        return path

    return make


def wait_for_step(place: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until a checkpoint of a step, or of a later one, is there."""
    deadline = time.monotonic() + 600
    while not any(int(path.name.rpartition("-")[2]) >= step for path in place.glob("checkpoint-*")):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_and_started_again_it_ends_with_the_weights_of_an_uninterrupted_run(
    home: Home, job: Callable[[str], Path]
) -> None:
    chance = random.Random()
    points = sorted(chance.sample(range(4, STEPS // 2), 2))
    print("killed after steps", points)
    place = home.folder / "datastores" / "workspaceblobstore" / "runs" / "killed"
    for number, step in enumerate(points):
        process = home.start("job", "create", "--file", str(job("killed")), "--name", f"killed-{number}")
        wait_for_step(place, step, process)
        [training] = home.training()
        if number:
            process.kill()  # first, so that it cannot do anything about it
        training.send_signal(signal.SIGKILL)
        process.communicate(timeout=120)
        assert process.returncode == (-signal.SIGKILL if number else 1)
    assert home.run("job", "create", "--file", str(job("killed")), "--name", "killed-last") == 0

    # It completed, and its place is as it left it: nothing is to be done again.
    assert home.run("job", "create", "--file", str(job("killed")), "--name", "again") == 0
    record = json.loads((home.folder / "jobs" / "again" / "job.json").read_text())
    assert record["steps"]["train"]["reused_from"] == "killed-last"
    # The same in an empty place is another matter: that result went on from something.
    assert home.run("job", "create", "--file", str(job("alone")), "--name", "alone") == 0

    records = {name: json.loads((home.model(name) / "training.json").read_text()) for name in ("alone", "killed-last")}
    assert len(records["killed-last"]["resumed_after_steps"]) == 2
    assert all(
        after >= point for after, point in zip(records["killed-last"]["resumed_after_steps"], points, strict=True)
    )
    assert records["alone"]["steps"] == records["killed-last"]["steps"] == STEPS
    assert records["alone"]["validation"] == records["killed-last"]["validation"]
    weights = {name: next(home.model(name).rglob("*.safetensors")).read_bytes() for name in records}
    assert weights["alone"] == weights["killed-last"]
