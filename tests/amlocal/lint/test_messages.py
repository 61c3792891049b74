"""What a message says, where the obvious one would mislead."""

import pytest

from amlocal.cli.main import main
from amlocal.lint.check import lint_file

PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
settings: {default_compute: azureml:cpu}
inputs:
  data: INPUT
jobs:
  NODE:
    command: ls ${{inputs.data}}
    environment: azureml:any@latest
    inputs:
      data: GIVEN
"""
SWEEP = """\
$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
trial:
  command: echo ${{search_space.rate}}
  environment: azureml:any@latest
search_space:
  rate: {type: uniform, minimum: 0.1, max_value: 0.9}
objective: {primary_metric: loss, goal: minimize}
limits: {max_total_trials: 2}
"""


@pytest.fixture
def messages(tmp_path):
    def lint(text):
        path = tmp_path / "file.yml"
        path.write_text(text)
        return [(problem.place.line, problem.message) for problem in lint_file(path).problems]

    return lint


def pipeline(source="3", node="show", given="${{parent.inputs.data}}"):
    return PIPELINE.replace("INPUT", source).replace("NODE", node).replace("GIVEN", given)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (pipeline("{type: uri_folder, path: ., mode: ro_moutn}"), 5, "expected one of download, ro_mount, direct"),
        (pipeline("{type: string, default: a}"), 5, "only a component declares 'default'; write data: a"),
        (pipeline(node="1show"), 7, "node '1show': expected lower-case letters"),
        (pipeline(given="{{parent.inputs.data}}"), 11, "did you mean ${{…}}?"),
        (SWEEP, 7, "'rate' has no key 'minimum'; did you mean 'min_value'?"),
    ],
)
def test_the_message_says_what_is_wrong(messages, text, line, message):
    ((found_line, found),) = messages(text)
    assert found_line == line
    assert message in found


def test_an_untyped_input_has_no_type_in_the_message(messages):
    found = messages(pipeline("{path: ''}", given="${{parent.inputs.nothing}}"))
    assert "None" not in str(found)


def test_a_component_is_validated_as_one(tmp_path, capsys):
    path = tmp_path / "step.yml"
    path.write_text(
        "$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json\n"
        "name: step\ntype: command\ncommand: echo ${{inputs.rate}}\nenvironment: azureml:any@latest\n"
        "inputs:\n  rate: {type: number}\n"
    )
    assert main(["--home", str(tmp_path / "home"), "job", "validate", "--file", str(path)]) == 0
    assert capsys.readouterr().out == ""


def test_what_only_a_component_declares_is_refused_before_a_job_runs(tmp_path, capsys):
    path = tmp_path / "job.yml"
    path.write_text(pipeline("{type: integer, default: 3}"))
    assert main(["--home", str(tmp_path / "home"), "job", "create", "--file", str(path)]) != 0
    assert "job-input" in capsys.readouterr().err
    assert not list((tmp_path / "home").rglob("*.log"))
