"""Jobs whose commands run in environments of their own."""

import json

import pytest

from amlocal.errors import AmlocalError

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
    wheel("tiny", "1.1", script=True)
    wheel("small", "2.0")


@pytest.fixture
def job(write):
    write("environment.yml", ENVIRONMENT)
    write("conda.yml", CONDA)
    return write("job.yml", JOB)


def environments(machine) -> list[dict]:
    return [json.loads(path.read_text()) for path in machine.home.glob("environments/*/environment.json")]


def test_step_runs_in_an_environment_that_is_built_once(machine, job, write):
    first = machine.create(job, isolated=True)
    second = machine.create(job, isolated=True)
    rerun = machine.create(job, isolated=True, rerun=True)

    found = (machine.home / "jobs" / first.name / "outputs" / "found").read_text()
    assert found == "1.0 True\nno yaml\n1.0\n"
    assert [built["requirements"] for built in environments(machine)] == [["pip", "tiny==1.0.*", "small==2.0"]]
    assert second.steps["one"].reused_from == first.name
    assert rerun.message is None
    assert "conda channels: packages come from pip's index" in first.ignored


def test_mode_and_packages_are_part_of_the_fingerprint(machine, job, write):
    first = machine.create(job, isolated=True)
    current = machine.run(job)[0]
    write("conda.yml", CONDA.replace("tiny=1.0", "tiny=1.1"))
    other = machine.create(job, isolated=True)

    assert first.steps["one"].status == "Completed"
    assert current.steps["one"].reason == "installed packages changed"
    assert current.steps["one"].reused_from is None
    assert "environment changed" in other.steps["one"].reason
    assert len(environments(machine)) == 2


def test_build_that_fails_names_the_line_and_runs_nothing(machine, job, write):
    write("conda.yml", CONDA.replace("small==2.0", "small==3.0"))

    with pytest.raises(AmlocalError) as caught:
        machine.run(job, isolated=True)

    message = str(caught.value)
    assert "conda.yml:7: environment: tiny-environment cannot be built: pip ended with exit code 1" in message
    assert "No matching distribution found for small==3.0" in message
    assert "  log: " in message
    assert environments(machine) == []
    (record,) = (json.loads(path.read_text()) for path in machine.home.glob("jobs/*/job.json"))
    assert (record["status"], record["steps"]["one"]["status"]) == ("Failed", "NotStarted")
    assert [path.suffix for path in machine.home.glob("environments/*") if path.is_dir()] == []
