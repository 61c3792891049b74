"""Registered components and environments as the YAML that somebody would have written.

A component's definition is stored as azure-ai-ml sends it: what runs, in the keys of its YAML; the nodes of a
pipeline, in those of the REST interface, which are turned back here (azure-ai-ml's ``entities/_builders`` and
``_job/pipeline/_io`` write them).
"""

import re
from typing import Any

import yaml

from amlocal.reader.addresses import AddressError, AssetReference, parse_address
from amlocal.reader.model import ARTIFACTS
from amlocal.workspace.store import Json

_NO_MEANING = ("_source", "sourceJobId", "computeId", "additional_includes")
_NO_MEANING_IN_NODE = ("name", *_NO_MEANING)
_KINDS = {
    "early_termination": "policy_type",
    "distribution": "distribution_type",
    "sampling_algorithm": "sampling_algorithm_type",
    "identity": "identity_type",
}
_TYPE_KEYS = ("job_input_type", "job_output_type", "jobInputType", "jobOutputType", "type")
_WORDS = {"PyTorch": "pytorch", "TensorFlow": "tensorflow", "AMLToken": "aml_token"}
"""Types that are not simply written with underscores in YAML."""
_MODES = {"ReadOnlyMount": "ro_mount", "ReadWriteMount": "rw_mount"}
"""Modes that the REST interface spells in words of its own."""
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
        definition["jobs"] = {name: node_definition(node) for name, node in definition["jobs"].items()}
    if isinstance(definition.get("task"), dict):
        definition["task"] = _task(definition["task"])
    if isinstance(definition.get("environment"), str):
        definition["environment"] = short_reference(definition["environment"])
    if isinstance(definition.get("outputs"), dict):
        # Every command has it without saying so; azure-ai-ml declares it where a node written in place names it.
        definition["outputs"] = {name: spec for name, spec in definition["outputs"].items() if name != ARTIFACTS}
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


def node_definition(node: Json) -> Json:
    """Write a pipeline's node as YAML has it.

    Args:
        node: As azure-ai-ml sent it.
    """
    definition = {key: value for key, value in node.items() if key not in _NO_MEANING_IN_NODE and value is not None}
    if "componentId" in definition:
        definition["component"] = short_reference(definition.pop("componentId"))
    trial = definition.get("trial")
    if isinstance(trial, dict) and "componentId" in trial:
        definition["trial"] = short_reference(trial["componentId"])
    if isinstance(definition.get("task"), dict):
        definition["task"] = _task(definition["task"])
    for key in ("inputs", "outputs"):
        if key in definition:
            definition[key] = {name: binding_definition(binding) for name, binding in definition[key].items()}
    if "limits" in definition:
        limits = definition["limits"]
        definition["limits"] = {
            key: duration_seconds(value) for key, value in limits.items() if key != "job_limits_type"
        }
    for key, kind in _KINDS.items():
        if isinstance(definition.get(key), dict) and kind in definition[key]:
            definition[key] = typed_section(definition[key], kind)
    return definition


def binding_definition(binding: Any) -> Any:
    """Write the value of an input, or an output, as YAML has it.

    Args:
        binding: As azure-ai-ml sent it; what is no object is a plain value.
    """
    if not isinstance(binding, dict):
        return binding
    kind = next((binding[key] for key in _TYPE_KEYS if binding.get(key)), None)
    if kind == "literal":
        return binding.get("value")
    mode = str(binding["mode"]) if binding.get("mode") else None
    mode = mode and _MODES.get(mode, _words(mode))
    stated = {"type": kind, "path": binding.get("uri") or binding.get("path"), "mode": mode}
    named = {"name": binding.get("assetName", binding.get("name"))}
    named["version"] = binding.get("assetVersion", binding.get("version"))
    return {key: value for key, value in {**stated, **named}.items() if value is not None}


def typed_section(section: Json, kind: str) -> Json:
    """Write a section that has one of several types as YAML has it.

    Args:
        section: As azure-ai-ml sent it.
        kind: The key that states its type there.
    """
    value = str(section[kind])
    word = _WORDS.get(value) or _words(value)
    rest = {key: each for key, each in section.items() if key != kind and each is not None}
    if isinstance(rest.get("rule"), str):
        rest["rule"] = rest["rule"].lower()
    return {"type": word, **rest}


def _task(task: Json) -> Json:
    return {key: short_reference(value) if key == "environment" else value for key, value in task.items()}


def short_reference(value: str) -> str:
    """Name an asset of the workspace as ``azureml:name:version``; any other text is given back as it is."""
    try:
        address = parse_address(value)
    except AddressError:
        return value
    return str(address) if isinstance(address, AssetReference) else value


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def duration_seconds(value: Any) -> Any:
    """Give an ISO 8601 duration in seconds, and anything else as it is."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
