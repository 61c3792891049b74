"""Jobs whose commands install packages, in the calling interpreter."""

import importlib.util

import pytest

from amlocal.run.environments.interpreter import calling_interpreter

PIP = "pip install --no-index --quiet --find-links $WHEELS"
JOB = f"""\
type: pipeline
outputs:
  found: {{type: uri_file}}
jobs:
  install:
    type: command
    environment: azureml:any:1
    command: {PIP} tiny==1.0 && python -c "import tiny; print(tiny.VERSION)" > ${{{{outputs.version}}}}
    outputs:
      version: {{type: uri_file}}
  look:
    type: command
    environment: azureml:any:1
    command: >-
      cat ${{{{inputs.version}}}} > ${{{{outputs.found}}}};
      python -c "import tiny" 2>> ${{{{outputs.found}}}} || echo gone >> ${{{{outputs.found}}}}
    inputs:
      version: ${{{{parent.jobs.install.outputs.version}}}}
    outputs:
      found: ${{{{parent.outputs.found}}}}
"""
SWEEP = f"""\
type: sweep
trial:
  environment: azureml:any:1
  command: >-
    {PIP} tiny==${{{{search_space.version}}}} &&
    python -c "import tiny; print(tiny.VERSION)" | tee ${{{{outputs.version}}}} > $METRICS/$MLFLOW_RUN_ID.version
outputs:
  version: {{type: uri_file}}
sampling_algorithm: grid
search_space:
  version: {{type: choice, values: ["1.0", "2.0"]}}
objective: {{primary_metric: version, goal: maximize}}
limits: {{max_total_trials: 2, max_concurrent_trials: 2}}
"""


@pytest.fixture(autouse=True)
def wheels(wheel):
    wheel("tiny", "1.0")
    wheel("tiny", "2.0")


def test_what_a_step_installs_is_its_own_and_does_not_count(machine, write, tmp_path):
    before = calling_interpreter(tmp_path / "stand-ins").packages
    file = write("job.yml", JOB)
    first = machine.create(file)
    second = machine.create(file)

    found = (machine.home / "jobs" / first.name / "outputs" / "found").read_text()
    assert found.startswith("1.0\n")
    assert found.endswith("ModuleNotFoundError: No module named 'tiny'\ngone\n")
    assert importlib.util.find_spec("tiny") is None
    assert calling_interpreter(tmp_path / "stand-ins").packages == before
    assert {step.reused_from for step in second.steps.values()} == {first.name}
    assert not list(machine.home.glob("jobs/*/steps/*/environment"))


def test_trials_of_a_sweep_install_what_they_like_at_the_same_time(machine, write):
    record = machine.create(write("job.yml", SWEEP))

    (step,) = record.steps.values()
    assert [trial.best for trial in step.trials.values()] == [1.0, 2.0]
