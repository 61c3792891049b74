"""Every component.yml says what its script's arguments say: names, types, defaults, choices, optionality."""

import argparse
import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import load_component
from transformers import HfArgumentParser

STAGES = (
    *("prep", "train", "adapt_automl", "compress", "evaluate", "choose", "register", "deploy"),
    "compare",
)
COMPONENTS = Path(__file__).parents[2] / "components"
DATACLASSES = {
    "prep": "PrepArguments",
    "train": "TrainArguments",
    "adapt_automl": "AdaptArguments",
    "evaluate": "EvaluateArguments",
    "choose": "ChooseArguments",
    "register": "RegisterArguments",
    "deploy": "DeployArguments",
    "compare": "CompareArguments",
    "compress": "CompressArguments",
}
PATH_TYPES = {"uri_file", "uri_folder", "mltable", "mlflow_model"}
ONLY_WHERE_ASKED = {("prep", "train_table"), ("prep", "validation_table")}
"""Outputs that a command line by hand may leave out; a component always has them."""
SCALARS = {"string": str, "number": float, "integer": int}
ARGUMENT = re.compile(r"(\$\[\[)?--(\w+) '?\$\{\{(inputs|outputs)\.(\w+)\}\}'?(\]\])?")


def component(stage: str) -> dict[str, Any]:
    return yaml.safe_load((COMPONENTS / stage / "component.yml").read_text())


def actions(stage: str) -> dict[str, argparse.Action]:
    """Return the script's arguments by name."""
    module = load_component(stage)
    parser = HfArgumentParser(getattr(module, DATACLASSES[stage]))
    return {action.dest: action for action in parser._actions}


def arguments_in_command(stage: str) -> dict[tuple[str, str], tuple[str, bool]]:
    """Return (inputs|outputs, name) → (the script's argument, whether it drops out when unset)."""
    found = {}
    for opening, argument, side, name, closing in ARGUMENT.findall(component(stage)["command"]):
        assert bool(opening) == bool(closing)
        assert (side, name) not in found
        found[side, name] = (argument, bool(opening))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_every_port_reaches_the_command_once_and_nothing_else_does(stage: str) -> None:
    value = component(stage)
    declared = {(side, name) for side in ("inputs", "outputs") for name in value[side]}
    assert set(arguments_in_command(stage)) == declared
    rest = ARGUMENT.sub("", value["command"])
    assert shlex.split(rest) == ["python", f"{stage}.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_argument_of_the_stage_can_be_given_in_yaml(stage: str) -> None:
    in_yaml = {argument for argument, _ in arguments_in_command(stage).values()}
    module = load_component(stage)
    own = {field.name for field in dataclasses.fields(getattr(module, DATACLASSES[stage]))}
    assert in_yaml == own


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_agree_with_the_arguments(stage: str) -> None:
    value, known = component(stage), actions(stage)
    for (side, name), (argument, drops_out) in arguments_in_command(stage).items():
        action = known[argument]
        if side == "outputs":
            assert action.required != ((stage, name) in ONLY_WHERE_ASKED), name
            continue
        declared = value["inputs"][name]
        optional = declared.get("optional", False)
        assert isinstance(optional, bool)
        assert drops_out == optional, f"{name}: optional inputs, and no others, stand in $[[ ]]"
        if declared["type"] in PATH_TYPES:
            assert "default" not in declared
            # A list is required as a whole: its first inputs are, and more may be given.
            assert action.required != optional or action.nargs == "+", name
            continue
        assert action.type in (SCALARS[declared["type"]], None) or declared.get("enum"), name
        if optional:
            assert action.default is None, name
        elif "default" in declared:
            assert declared["default"] == action.default, name
            assert type(declared["default"]) is SCALARS[declared["type"]], name
        else:
            assert action.required, name
        if "enum" in declared and action.choices is not None:
            assert tuple(declared["enum"]) == tuple(action.choices), name


@pytest.mark.parametrize("stage", STAGES)
def test_only_an_argument_that_adds_up_takes_several_inputs(stage: str) -> None:
    known, inputs = actions(stage), component(stage)["inputs"]
    taken: dict[str, list[str]] = {}
    for (side, name), (argument, _) in arguments_in_command(stage).items():
        if side == "inputs":
            taken.setdefault(argument, []).append(name)
    for argument, names in taken.items():
        if known[argument].nargs != "+":
            assert names == [argument]
            continue
        assert isinstance(known[argument], argparse._ExtendAction)
        assert known[argument].required
        assert not inputs[names[0]].get("optional", False)
        assert names == [f"{argument.removesuffix('s')}_{number + 1}" for number in range(len(names))]


def test_the_task_choices_are_the_task_table() -> None:
    from finetune.tasks import TASKS

    assert component("prep")["inputs"]["task"]["enum"] == list(TASKS)


@pytest.mark.parametrize("stage", STAGES)
def test_strings_and_paths_are_quoted_in_the_command(stage: str) -> None:
    value = component(stage)
    for (side, name), (argument, _) in arguments_in_command(stage).items():
        declared = value[side][name]
        free_text = declared["type"] in {*PATH_TYPES, "string"} and ("enum" not in declared or stage != "train")
        assert (f"--{argument} '${{{{{side}.{name}}}}}'" in value["command"]) == free_text, name


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_explains_itself(stage: str) -> None:
    value = component(stage)
    for side in ("inputs", "outputs"):
        for name, declared in value[side].items():
            assert declared.get("description"), f"{stage}: {side}.{name}"
    assert value["description"]
    for name, action in actions(stage).items():
        assert action.help, name


@pytest.mark.parametrize("stage", STAGES)
def test_help(stage: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        load_component(stage).main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "\nExample:\n    python components/" in shown
    assert "default: None" not in shown


@pytest.mark.parametrize("stage", ["evaluate", "choose", "register", "deploy", "compare"])
def test_stages_that_read_or_change_the_workspace_are_never_reused(stage: str) -> None:
    assert component(stage)["is_deterministic"] is False


@pytest.mark.parametrize("stage", ["prep", "train", "adapt_automl"])
def test_stages_that_depend_on_their_inputs_alone_may_be_reused(stage: str) -> None:
    assert "is_deterministic" not in component(stage)
