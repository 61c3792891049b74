"""What Azure ML's MLflow backend takes in one run, and the refusal of more.

Sources: Azure's page "Service limits in Azure Machine Learning" (https://aka.ms/azure-machine-learning-limits) and,
for the number of parameters, the service's own message in azure-sdk-for-python issue 35685.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
GetRun = Callable[[str], Awaitable[Json | None]]
"""Gives MLflow's ``run`` object, or ``None`` where there is none."""

PARAMETERS = 200
PARAMETER_VALUE = 500
METRIC_NAMES = 50
METRICS_PER_BATCH = 250
TAGS = 50
TAG_KEY = 100
TAG_VALUE = 1000
EXPERIMENT_TAG_KEY = 250
DESCRIPTION = 5000
NAME = 256
"""Characters of an experiment's and of a run's name."""

OWN_TAGS = "mlflow."
"""Beginning of the tags that mlflow itself sets."""
DESCRIPTION_TAG = "mlflow.note.content"
_REMEMBERED_RUNS = 256


class LimitExceeded(Exception):
    """More than Azure ML takes; its text is for whoever logged it."""


@dataclass(frozen=True)
class Logged:
    """What a request logs to a run.

    Attributes:
        parameters: Values by name.
        metrics: One name per value.
        tags: Values by name.
        name: The run's name.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass
class RunNames:
    """Names that a run holds.

    Attributes:
        parameters: Of its parameters.
        metrics: Of its metrics.
        tags: Of its tags, without those of mlflow.
        lock: Held from a check to the end of the change that it lets pass.
    """

    parameters: set[str] = field(default_factory=set)
    metrics: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def has(self, logged: Logged) -> bool:
        """Say whether a request brings no new names."""
        return (
            self.parameters.issuperset(logged.parameters)
            and self.metrics.issuperset(logged.metrics)
            and self.tags.issuperset(own_tags(logged.tags))
        )

    def add(self, logged: Logged) -> None:
        """Note what a request has logged."""
        self.parameters.update(logged.parameters)
        self.metrics.update(logged.metrics)
        self.tags.update(own_tags(logged.tags))


class RunNamesCache:
    """Names of the runs that were logged to last, read from MLflow once each: nothing else writes to its database.

    Args:
        get_run: Reads a run.
    """

    def __init__(self, get_run: GetRun) -> None:
        self._get_run = get_run
        self._runs: OrderedDict[str, RunNames] = OrderedDict()

    async def get(self, run_id: str) -> RunNames:
        """Give a run's names; none for a run that does not exist, which MLflow will refuse itself."""
        if run_id not in self._runs:
            run = await self._get_run(run_id)
            if run is None:
                return RunNames()
            self._runs.setdefault(run_id, _names_of(run))
        self._runs.move_to_end(run_id)
        if len(self._runs) > _REMEMBERED_RUNS:
            self._runs.popitem(last=False)
        return self._runs[run_id]

    def forget(self, run_id: str) -> None:
        """Read a run again next time."""
        self._runs.pop(run_id, None)


def own_tags(tags: Collection[str]) -> set[str]:
    """Leave out mlflow's own tags, which Azure's client sets as well."""
    return {name for name in tags if not name.startswith(OWN_TAGS)}


def read_logged(operation: str, body: Json) -> Logged | None:
    """Read what a request logs.

    Args:
        operation: The request's path below ``/mlflow/``.
        body: Its JSON.

    Returns:
        ``None`` when the request logs nothing.
    """
    tags = {str(tag.get("key")): str(tag.get("value")) for tag in _objects(body, "tags")}
    match operation:
        case "runs/create" | "runs/update":
            return Logged(tags=tags, name=str(body.get("run_name") or ""))
        case "runs/log-batch":
            parameters = {str(item.get("key")): str(item.get("value")) for item in _objects(body, "params")}
            return Logged(parameters, [str(item.get("key")) for item in _objects(body, "metrics")], tags)
        case "runs/log-parameter":
            return Logged(parameters={str(body.get("key")): str(body.get("value"))})
        case "runs/log-metric":
            return Logged(metrics=[str(body.get("key"))])
        case "runs/set-tag":
            return Logged(tags={str(body.get("key")): str(body.get("value"))})
    return None


def check_sizes(logged: Logged) -> None:
    """Check what can be known from a request alone.

    Raises:
        LimitExceeded: A name or value is too long, or the batch too large.
    """
    _at_most("Run.DisplayName/Length", NAME, len(logged.name), f"name {logged.name[:60]!r}…")
    _at_most("MetricV2Dto.Value/Count", METRICS_PER_BATCH, len(logged.metrics), "metrics in one request")
    for name, value in logged.parameters.items():
        _at_most("Parameters.Value/Length", PARAMETER_VALUE, len(value), f"value of parameter {name!r}")
    for name, value in logged.tags.items():
        if name == DESCRIPTION_TAG:
            _at_most("Run.Description/Length", DESCRIPTION, len(value), "description")
        elif not name.startswith(OWN_TAGS):
            _at_most("Tags.Key/Length", TAG_KEY, len(name), f"name of tag {name[:60]!r}…")
            _at_most("Tags.Value/Length", TAG_VALUE, len(value), f"value of tag {name!r}")


def check_numbers(logged: Logged, run: RunNames) -> None:
    """Check what a run would hold.

    Raises:
        LimitExceeded: It would hold too much.
    """
    _at_most("Parameters", PARAMETERS, len(run.parameters.union(logged.parameters)), "parameters of the run")
    _at_most("MetricNames", METRIC_NAMES, len(run.metrics.union(logged.metrics)), "names of metrics of the run")
    _at_most("Tags", TAGS, len(run.tags | own_tags(logged.tags)), "tags of the run")


def check_experiment(operation: str, body: Json) -> None:
    """Check a new experiment, or a tag of one.

    Args:
        operation: The request's path below ``/mlflow/``.
        body: Its JSON.

    Raises:
        LimitExceeded: A name or value is too long, or there are too many tags.
    """
    tags = _objects(body, "tags") if operation == "experiments/create" else [body]
    if operation == "experiments/create":
        name = str(body.get("name"))
        _at_most("Experiment.Name/Length", NAME, len(name), f"name {name[:60]!r}…")
        _at_most("Tags", TAGS, len(tags), "tags of the experiment")
    for tag in tags:
        key = str(tag.get("key"))
        if not key.startswith(OWN_TAGS):
            _at_most("Tags.Key/Length", EXPERIMENT_TAG_KEY, len(key), f"name of tag {key[:60]!r}…")
            _at_most("Tags.Value/Length", TAG_VALUE, len(str(tag.get("value"))), f"value of tag {key!r}")


def error_body(message: str) -> bytes:
    """Build MLflow's error object, which its clients raise with the message."""
    return json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": message}).encode()


def _at_most(field_name: str, limit: int, size: int, what: str) -> None:
    if size > limit:
        raise LimitExceeded(
            f"A field of the entity is over the size limit. FieldName={field_name}, Limit={limit}, Size={size} "
            f"({what}). Azure ML refuses this, so amlocal does. "
            "See https://aka.ms/azure-machine-learning-limits for service limits documentation."
        )


def _names_of(run: Json) -> RunNames:
    data = run.get("data", {})
    keys = {part: {str(item["key"]) for item in data.get(part, [])} for part in ("params", "metrics", "tags")}
    return RunNames(keys["params"], keys["metrics"], own_tags(keys["tags"]))


def _objects(body: Json, name: str) -> list[Json]:
    """Give the objects in a list of a request; MLflow itself refuses what is none."""
    listed = body.get(name)
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
