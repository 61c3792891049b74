"""Registered components and environments as the YAML that somebody would have written.

A component's definition is stored as azure-ai-ml sends it: what runs, in the keys of its YAML; the nodes of a
pipeline, in those of the REST interface, which are turned back here (azure-ai-ml's ``entities/_builders`` and
``_job/pipeline/_io`` write them).
"""

import re
from typing import Any

import yaml

from amlocal.workspace.store import Json

_NO_MEANING = ("_source", "sourceJobId", "computeId", "additional_includes")
_NO_MEANING_IN_NODE = ("name", *_NO_MEANING)
_KINDS = {
    "early_termination": "policy_type",
    "distribution": "distribution_type",
    "sampling_algorithm": "sampling_algorithm_type",
}
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d*)?S)?)?")


def component_definition(spec: Json) -> Json:
    """Write a component's definition as YAML has it.

    Args:
        spec: ``componentSpec``, as azure-ai-ml sent it.

    Returns:
        The definition, as data. Code and environment are stated by their ids in the workspace.
    """
    # Includes are a part of the uploaded code.
    definition = {key: value for key, value in spec.items() if key not in _NO_MEANING and value is not None}
    if "jobs" in definition:
        definition["jobs"] = {name: _node(node) for name, node in definition["jobs"].items()}
    return definition


def environment_definition(name: str, version: str, properties: Json) -> Json:
    """Write an environment's definition as YAML has it.

    Args:
        name: Its name.
        version: Its version.
        properties: Those of the version, as azure-ai-ml sent them.

    Returns:
        The definition, as data. An anonymous environment has no name, like the one that was written in place.
    """
    definition: Json = {} if properties.get("isAnonymous") else {"name": name, "version": version}
    if properties.get("image"):
        definition["image"] = properties["image"]
    if properties.get("condaFile"):
        definition["conda_file"] = yaml.safe_load(properties["condaFile"])
    build = properties.get("build")
    if build:
        definition["build"] = {"path": build.get("contextUri"), "dockerfile_path": build.get("dockerfilePath")}
    return definition


def _node(node: Json) -> Json:
    definition = {key: value for key, value in node.items() if key not in _NO_MEANING_IN_NODE and value is not None}
    if "componentId" in definition:
        definition["component"] = definition.pop("componentId")
    trial = definition.get("trial")
    if isinstance(trial, dict) and "componentId" in trial:
        definition["trial"] = trial["componentId"]
    for key in ("inputs", "outputs"):
        if key in definition:
            definition[key] = {name: _binding(binding) for name, binding in definition[key].items()}
    if "limits" in definition:
        limits = definition["limits"]
        definition["limits"] = {key: _seconds(value) for key, value in limits.items() if key != "job_limits_type"}
    for key, kind in _KINDS.items():
        if isinstance(definition.get(key), dict) and kind in definition[key]:
            definition[key] = _typed(definition[key], kind)
    return definition


def _binding(binding: Any) -> Any:
    if not isinstance(binding, dict):
        return binding
    kind = binding.get("job_input_type") or binding.get("job_output_type") or binding.get("type")
    if kind == "literal":
        return binding.get("value")
    stated = {"type": kind, "path": binding.get("uri") or binding.get("path"), "mode": binding.get("mode")}
    named = {key: binding.get(key) for key in ("name", "version")}
    return {key: value for key, value in {**stated, **named}.items() if value is not None}


def _typed(section: Json, kind: str) -> Json:
    # PyTorch is one word in YAML; all others are written with underscores.
    words = {"PyTorch": "pytorch", "TensorFlow": "tensorflow"}
    value = str(section[kind])
    word = words.get(value) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value).lower()
    rest = {key: each for key, each in section.items() if key != kind and each is not None}
    if isinstance(rest.get("rule"), str):
        rest["rule"] = rest["rule"].lower()
    return {"type": word, **rest}


def _seconds(value: Any) -> Any:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
