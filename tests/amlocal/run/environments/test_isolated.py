"""Jobs whose commands run in environments of their own."""

import json
import re
from pathlib import Path

import pytest

from amlocal.errors import AmlocalError
from amlocal.run.environments import recipe
from amlocal.run.environments.pythons import Python

JOB = """\
type: pipeline
outputs:
  found: {type: uri_file}
jobs:
  one:
    type: command
    environment: file:environment.yml
    command: >-
      python -c "import tiny, sys; print(tiny.VERSION, sys.prefix != sys.base_prefix)" > ${{outputs.found}};
      python -c "import yaml" || echo no yaml >> ${{outputs.found}}; tiny >> ${{outputs.found}}
    outputs:
      found: ${{parent.outputs.found}}
"""
ENVIRONMENT = """\
name: tiny-environment
image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04
conda_file: conda.yml
"""
CONDA = """\
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  - tiny=1.0
  - pip:
      - small==2.0
"""


@pytest.fixture(autouse=True)
def offline(wheel, tmp_path, monkeypatch):
    """Wheels to build from, and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    wheel("tiny", "1.0", script=True)
    wheel("small", "2.0")


@pytest.fixture
def job(write):
    write("environment.yml", ENVIRONMENT)
    write("conda.yml", CONDA)
    return write("job.yml", JOB)


def environments(machine) -> list[dict]:
    return [json.loads(path.read_text()) for path in machine.home.glob("environments/*/environment.json")]


def test_step_runs_in_an_environment_that_is_built_once(machine, job):
    first = machine.create(job, isolated=True)
    second = machine.create(job, isolated=True)
    rerun = machine.create(job, isolated=True, rerun=True)
    current = machine.run(job)[0]

    found = (machine.home / "jobs" / first.name / "outputs" / "found").read_text()
    assert found == "1.0 True\nno yaml\n1.0\n"
    assert [built["requirements"] for built in environments(machine)] == [["pip", "tiny==1.0.*", "small==2.0"]]
    assert "built in" in first.message
    assert "conda channels: packages come from pip's index" in first.ignored
    assert second.steps["one"].reused_from == first.name
    assert (rerun.message, rerun.steps["one"].status) == (None, "Completed")
    assert (current.steps["one"].reused_from, current.steps["one"].reason) == (None, "installed packages changed")
    (note,) = current.notes
    assert note.startswith("not installed here, though environments list them: tiny, small;")


def test_environment_that_cannot_be_built_fails_the_job_before_any_step(machine, job, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ensurepip is not available'; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(recipe, "find_python", lambda wanted: Python(broken, (3, 11, 7)))

    with pytest.raises(AmlocalError, match="tiny-environment cannot be built"):
        machine.run(job, isolated=True)

    (record,) = (json.loads(path.read_text()) for path in machine.home.glob("jobs/*/job.json"))
    assert (record["status"], record["steps"]["one"]["status"]) == ("Failed", "NotStarted")
    assert "ensurepip is not available" in record["error"]


def test_what_cannot_be_built_is_said_before_there_is_a_job(machine, job, write):
    write("conda.yml", CONDA.replace("tiny=1.0", "r-ggplot2"))

    with pytest.raises(AmlocalError, match=r"conda\.yml:5: environment: conda package r-ggplot2 has no wheel"):
        machine.run(job, isolated=True)

    assert not (machine.home / "jobs").exists()


SWEEP = """\
type: sweep
trial:
  command: python train.py --x ${{search_space.x}} --out ${{outputs.out}}
  code: ./code
  environment: file:environment.yml
outputs: {out: {type: uri_folder}}
search_space:
  x: {type: choice, values: [1, 2]}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: score}
limits: {max_total_trials: 2}
"""
TRIAL = """\
import tiny

import importlib.util, json, os, pathlib, sys

x, out = sys.argv[2], pathlib.Path(sys.argv[4])
pathlib.Path(os.environ["METRICS"], os.environ["MLFLOW_RUN_ID"] + ".score").write_text(x)
facts = {
    "tiny": [tiny.VERSION, tiny.__file__],
    "ours": importlib.util.find_spec("yaml") is not None,
    "path": sys.path,
    "prefix": [sys.prefix, sys.base_prefix],
    "executable": sys.executable,
    "environment": {name: os.environ.get(name) for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH")},
    "forked": "warm/server.py" in pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_text(),
}
(out / "facts.json").write_text(json.dumps(facts))
"""


def test_trials_start_warm_in_the_environment_of_the_sweep(machine, job, write):
    """The imports are done by the Python that was built, which has what this one lacks, and the other way round."""
    write("code/train.py", TRIAL)
    file = write("sweep.yml", SWEEP)
    warm = machine.create(file, isolated=True)
    cold = machine.create(file, isolated=True, rerun=True, warm=False)

    assert re.fullmatch(
        r"warm: the imports of train\.py are done once, in [0-9.]+ CPU-seconds", warm.steps["sweep"].start
    )
    assert cold.steps["sweep"].start is None
    (built,) = machine.home.glob("environments/*/environment.json")
    for number in range(2):
        facts = []
        for record in (warm, cold):
            outputs = machine.home / "jobs" / record.name / "steps" / "sweep" / "trials" / str(number) / "outputs"
            facts.append(json.loads((outputs / "out" / "facts.json").read_text().replace(record.name, "JOB")))
        assert [each.pop("forked") for each in facts] == [True, False]
        assert facts[0] == facts[1]
        version, place = facts[0]["tiny"]
        assert version == "1.0"
        assert Path(place).is_relative_to(built.parent)
        assert not facts[0]["ours"]


def test_trials_start_cold_where_the_environment_lacks_what_they_import(machine, job, write):
    write("code/train.py", "import absent\n" + TRIAL)
    step = machine.create(write("sweep.yml", SWEEP), isolated=True).steps["sweep"]

    assert step.start == "cold: absent cannot be imported: No module named 'absent'"
    assert step.error.startswith("all trials failed; trial 0: exit code 1: ModuleNotFoundError")
