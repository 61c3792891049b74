"""A job as azure-ai-ml submits it, turned back into the YAML that somebody would have written.

The nodes of a pipeline are those of a registered pipeline component (:mod:`amlocal.workspace.definitions`); a command
and a sweep come in the words of the REST interface (azure-ai-ml's ``_restclient/arm_ml_service``). What this module
does not know goes on under its YAML name, for the reader to judge: nothing is dropped here that could mean something.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from amlocal.workspace.definitions import (
    binding_definition,
    duration_seconds,
    node_definition,
    short_reference,
    typed_section,
)
from amlocal.workspace.errors import bad_request
from amlocal.workspace.store import Json

KINDS = {"Pipeline": "pipeline", "Command": "command", "Sweep": "sweep", "AutoML": "automl"}
"""What the REST interface calls the jobs that run here, and what YAML calls them."""

_OF_THE_RECORD = frozenset(
    {"jobType", "isArchived", "status", "properties", "services", "parentJobName", "sourceJobId"}
)
"""What says nothing about what is to run. ``services`` in a fetched job are links to the studio."""
_REFERENCES = {"componentId": "component", "environmentId": "environment", "codeId": "code", "computeId": "compute"}
_SEARCH_ARGUMENTS = {
    "choice": ("values",),
    "randint": ("upper",),
    **dict.fromkeys(("uniform", "loguniform"), ("min_value", "max_value")),
    **dict.fromkeys(("quniform", "qloguniform"), ("min_value", "max_value", "q")),
    **dict.fromkeys(("normal", "lognormal"), ("mu", "sigma")),
    **dict.fromkeys(("qnormal", "qlognormal"), ("mu", "sigma", "q")),
}


def job_document(properties: Json) -> Json:
    """Write a submitted job as YAML has it.

    Args:
        properties: Those of the job, as azure-ai-ml sent them.

    Returns:
        The job, as data. Components, code, environments and data are stated by their ids in the workspace.

    Raises:
        ArmError: The job is of a type that needs Azure's service, or a part of it is no object.
    """
    stated = properties.get("jobType")
    if stated not in KINDS:
        raise bad_request(f"Jobs of type {stated} do not run on this machine; these do: {', '.join(KINDS)}.")
    document: Json = {"type": KINDS[stated]}
    try:
        for key, value in properties.items():
            if value in (None, "") or key in _OF_THE_RECORD:
                continue
            if key == "taskDetails":
                document |= _task_details(value)
                continue
            name, write = _PARTS.get(key, (_snake(key), _plain))
            document[name] = write(value)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise bad_request(f"The job's {key} cannot be read ({type(error).__name__}: {error}).") from None
    if "component" in document:
        document.pop("jobs", None)  # sent empty beside a component
    return document


def _plain(value: Any) -> Any:
    """Spell the keys of sections in YAML's way."""
    return {_snake(key): _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()


def _verbatim(value: Any) -> Any:
    return value


def _compute(value: str) -> str:
    return f"azureml:{value.rpartition('/')[2]}"


def _bindings(values: Mapping[str, Any]) -> Json:
    return {name: binding_definition(value) for name, value in values.items()}


def _nodes(nodes: Mapping[str, Json]) -> Json:
    return {name: node_definition(node) for name, node in nodes.items()}


def _settings(settings: Json) -> Json:
    written = {key: value for key, value in settings.items() if key != "_source" and value is not None}
    if "default_compute" in written:
        written["default_compute"] = _compute(written["default_compute"])
    return written


def _limits(limits: Json) -> Json:
    return {
        _snake(key): duration_seconds(value)
        for key, value in limits.items()
        if key != "jobLimitsType" and value is not None
    }


def _typed(key: str) -> Callable[[Json], Json]:
    return lambda section: typed_section(_plain(section), _snake(key))


def _trial(trial: Json) -> Json:
    document = {}
    for key, value in trial.items():
        if value is not None:
            name, write = _PARTS.get(key, (_snake(key), _plain))
            document[name] = write(value)
    return document


def _search_space(space: Mapping[str, Any]) -> Json:
    return {name: _expression(value) for name, value in space.items()}


def _expression(value: Any) -> Json:
    """Read ``[kind, [argument, …]]``; the one argument of a choice is the list of its values."""
    kind, arguments = value
    if kind not in _SEARCH_ARGUMENTS:
        raise ValueError(f"there is no distribution {kind!r}")
    return {"type": kind, **dict(zip(_SEARCH_ARGUMENTS[kind], arguments, strict=True))}


def _task_details(details: Mapping[str, Any]) -> Json:
    """Write what an AutoML job asks for, which YAML has beside the rest of the job.

    A search space comes as texts of the service's own (``uniform(0.1,0.2)``) and has no meaning here: that it is there
    is all that goes on to the reader.
    """
    written: Json = {}
    for key, value in details.items():
        if value is None:
            continue
        if key == "taskType":
            written["task"] = _snake(value)
        elif key in {"trainingData", "validationData", "testData"}:
            written[_snake(key)] = binding_definition(value)
        elif key == "limitSettings":
            written["limits"] = {
                f"{_snake(name)}_minutes" if name.lower().endswith("timeout") else _snake(name): _minutes(limit)
                for name, limit in value.items()
                if limit is not None
            }
        elif key == "searchSpace":
            written["search_space"] = [{} for _ in value]
        elif key in {"sweepSettings", "fixedParameters", "featurizationSettings"}:
            written[_AUTOML_SECTIONS[key]] = {name: part for name, part in _plain(value).items() if part is not None}
        else:
            written[_snake(key)] = value
    return written


def _minutes(value: Any) -> Any:
    seconds = duration_seconds(value)
    return value if seconds is value else seconds // 60


_AUTOML_SECTIONS = {
    "sweepSettings": "sweep",
    "fixedParameters": "training_parameters",
    "featurizationSettings": "featurization",
}

_PARTS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "jobs": ("jobs", _nodes),
    "inputs": ("inputs", _bindings),
    "outputs": ("outputs", _bindings),
    "settings": ("settings", _settings),
    "tags": ("tags", _verbatim),
    "environmentVariables": ("environment_variables", _verbatim),
    "limits": ("limits", _limits),
    "trial": ("trial", _trial),
    "searchSpace": ("search_space", _search_space),
    "samplingAlgorithm": ("sampling_algorithm", _typed("samplingAlgorithmType")),
    "earlyTermination": ("early_termination", _typed("policyType")),
    "identity": ("identity", _typed("identityType")),
    "distribution": ("distribution", _typed("distributionType")),
    **{key: (name, _compute if key == "computeId" else short_reference) for key, name in _REFERENCES.items()},
}
"""Properties that are not just plain values, with their names in YAML and what writes them."""
