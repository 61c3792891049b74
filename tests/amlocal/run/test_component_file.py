"""Components run as job files."""

from pathlib import Path

import pytest

from amlocal.errors import AmlocalError

COMMAND = """\
type: command
name: speak
version: 1
inputs:
  word: {type: string, default: hello}
outputs:
  said: {type: uri_folder}
environment: azureml:any:1
command: echo ${{inputs.word}} > ${{outputs.said}}/x.txt
"""
PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: speech
inputs:
  word: {type: string}
outputs:
  said: {type: uri_folder}
jobs:
  speak:
    type: command
    component: ./speak.yml
    inputs: {word: "${{parent.inputs.word}}"}
    outputs: {said: "${{parent.outputs.said}}"}
"""
OUTER = """\
type: pipeline
jobs:
  again:
    type: pipeline
    component: ./speech.yml
    inputs: {word: hello}
    settings: {force_rerun: true}
  once:
    type: command
    component: ./speak.yml
    inputs: {word: other}
"""


def said(record):
    return (Path(record.outputs["said"]) / "x.txt").read_text()


def test_command_component_runs_with_its_defaults_as_often_as_asked(machine, write):
    file = write("speak.yml", COMMAND)

    first, second = machine.create(file), machine.create(file, "inputs.word=bye")

    assert (said(first), said(second)) == ("hello\n", "bye\n")
    assert first.name.startswith("speak-2")
    assert first.name != second.name


def test_pipeline_component_runs_with_inputs_from_the_command_line(machine, write):
    write("speak.yml", COMMAND)
    file = write("speech.yml", PIPELINE)

    assert [said(machine.create(file, "inputs.word=bye")) for _ in range(2)] == ["bye\n"] * 2


def test_nested_pipeline_that_is_forced_to_rerun_is_the_only_one_that_does(machine, write):
    write("speak.yml", COMMAND)
    write("speech.yml", PIPELINE)
    file = write("outer.yml", OUTER)
    machine.create(file)

    record = machine.create(file)

    assert {name: step.reused_from is None for name, step in record.steps.items()} == {
        "again.speak": True,
        "once": False,
    }


def test_command_component_with_all_that_azure_writes_into_it_runs(machine, write):
    schema = "$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json\n"
    file = write("speak.yml", schema + COMMAND)

    machine.create(file, "inputs.word=hi", name="job")

    assert (machine.home / "jobs" / "job" / "outputs" / "said" / "x.txt").read_text() == "hi\n"


def test_a_path_given_as_text_names_the_right_option(machine, write):
    file = write("copy.yml", COMMAND.replace("{type: string, default: hello}", "{type: uri_file}"))

    with pytest.raises(AmlocalError, match=r"a uri_file, which has a path; use --set inputs\.word\.path=\./x\.csv"):
        machine.create(file, "inputs.word=./x.csv")
