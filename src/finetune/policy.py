"""gate.yml: what it takes to be promoted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from finetune.errors import InputError
from finetune.metrics.known import COST_METRICS, LESS_IS_BETTER, UNBOUNDED, slice_metric
from finetune.metrics.known import known_metrics as metrics_of
from finetune.tasks import Task

_MOST_DAYS = 366
"""A verdict that is older says nothing of the data that a model would meet."""

Required = Literal["superior", "non_inferior"]
SeenInTrain = Literal["reject", "subtract", "accept"]
EmptySlices = Literal["reject", "accept"]
WithoutChampion = Literal["promote", "reject"]


@dataclass(frozen=True)
class GatePolicy:
    """The contents of gate.yml. Its keys are these fields, all of them: a policy leaves nothing to a default."""

    primary_metric: str
    """The metric that challenger and champion are compared by; more is better."""
    minimum: dict[str, float]
    """Metric → the least value that passes."""
    maximum: dict[str, float]
    """Metric → the greatest value that passes."""
    required: Required
    """superior: the interval of the difference to the champion lies above 0; non_inferior: above -margin."""
    minimum_improvement: float
    """superior: how large the difference itself has to be, in the primary metric's units; above 0."""
    margin: float
    """non_inferior: the loss in the primary metric that is accepted; above 0."""
    confidence: float
    """Of the intervals, between 0.5 and 1; 0.95 leaves 2.5 % on either side."""
    slice_margin: float
    """The loss against the champion that is accepted in a slice of the test rows, in the problem's slice metric; above
    0."""
    slice_minimum_rows: int
    """Slices with fewer rows are reported and not judged."""
    required_slices: tuple[str, ...]
    """Slices that have to be there with enough rows, such as "label: billing"."""
    empty_slices: EmptySlices
    """What happens when a slice of the test split has no row left to measure, and is not among the required ones."""
    test_rows_seen_in_train: SeenInTrain
    """What happens with test rows whose texts occur in train, to the letter or but for case and punctuation."""
    valid_days: float
    """For so long a verdict can be acted upon."""
    without_champion: WithoutChampion
    """What happens when no model serves yet and the challenger passes the limits."""


def read_policy(path: Path, task: Task) -> GatePolicy:
    """Read gate.yml.

    Args:
        path: the file.
        task: whose metrics it may name.

    Raises:
        InputError: the file is missing or broken, has an unknown key, a metric that the task's problem does not have, a
            primary metric of which less is better, or a value of the wrong kind.
    """
    known_metrics, lower_is_better = metrics_of(task), LESS_IS_BETTER
    try:
        value = _load(path, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the gate's policy") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    _check_keys(path, value)
    policy = GatePolicy(
        primary_metric=value["primary_metric"],
        minimum=_bounds(path, "minimum", value["minimum"]),
        maximum=_bounds(path, "maximum", value["maximum"]),
        required=_choice(path, "required", value["required"], get_args(Required)),
        minimum_improvement=_positive(path, "minimum_improvement", value["minimum_improvement"]),
        margin=_positive(path, "margin", value["margin"]),
        confidence=_number(path, "confidence", value["confidence"]),
        slice_margin=_positive(path, "slice_margin", value["slice_margin"]),
        slice_minimum_rows=_count(path, "slice_minimum_rows", value["slice_minimum_rows"]),
        required_slices=_texts(path, "required_slices", value["required_slices"]),
        empty_slices=_choice(path, "empty_slices", value["empty_slices"], get_args(EmptySlices)),
        test_rows_seen_in_train=_choice(
            path, "test_rows_seen_in_train", value["test_rows_seen_in_train"], get_args(SeenInTrain)
        ),
        valid_days=_positive(path, "valid_days", value["valid_days"], _MOST_DAYS),
        without_champion=_choice(path, "without_champion", value["without_champion"], get_args(WithoutChampion)),
    )
    known = ", ".join(known_metrics)
    for metric in (policy.primary_metric, *policy.minimum, *policy.maximum):
        if metric not in known_metrics:
            raise InputError(f"{path}: unknown metric {metric!r} of {task.name}; expected one of {known}")
    if policy.primary_metric in lower_is_better:
        raise InputError(
            f"{path}: primary_metric {policy.primary_metric!r}: less of it is better; expected one with more"
        )
    if not 0.5 <= policy.confidence < 1:
        raise InputError(f"{path}: confidence {policy.confidence}: expected a number from 0.5 to below 1, as 0.95")
    for key, metrics, wrong in (
        ("minimum", policy.minimum, [metric for metric in policy.minimum if metric in lower_is_better]),
        ("maximum", policy.maximum, [metric for metric in policy.maximum if metric not in lower_is_better]),
    ):
        if wrong and metrics:
            raise InputError(f"{path}: {key} {wrong[0]}: it would stop good models and let bad ones pass")
    if policy.margin >= 1 or (policy.slice_margin >= 1 and slice_metric(task) not in UNBOUNDED):
        raise InputError(f"{path}: a margin of 1 or more accepts any loss")
    if not {*policy.minimum, *policy.maximum} - {*COST_METRICS}:
        raise InputError(
            f"{path}: neither minimum nor maximum limits what its answers are worth; a first model would pass unseen"
        )
    return policy


def _load(path: Path, text: str) -> Any:
    """Read YAML as `yaml.safe_load` does, but for keys stated twice, of which it takes the last without a word."""
    pending = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            if twice:
                raise InputError(f"{path}: {', '.join(twice)} is stated twice")
            pending.extend(value for _, value in node.value)
    return yaml.safe_load(text)


def _check_keys(path: Path, value: Any) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{path}: found {type(value).__name__}; expected a mapping of the policy's keys")
    expected = {field.name for field in fields(GatePolicy)}
    missing, unknown = sorted(expected - value.keys()), sorted(map(str, value.keys() - expected))
    if missing or unknown:
        wrong = [*(f"{key} is missing" for key in missing), *(f"{key} is no key of a policy" for key in unknown)]
        raise InputError(f"{path}: {', '.join(wrong)}; expected exactly the keys {', '.join(sorted(expected))}")


def _bounds(path: Path, key: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {value!r}; expected metric: number pairs, or {{}}")
    return {metric: _number(path, f"{key}.{metric}", bound) for metric, bound in value.items()}


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{path}: {key} is {value!r}; expected a finite number")
    return float(value)


def _positive(path: Path, key: str, value: Any, most: float = math.inf) -> float:
    number = _number(path, key, value)
    if not 0 < number <= most:
        limit = "" if most == math.inf else f" and at most {most:g}"
        raise InputError(f"{path}: {key} is {value!r}; expected a number above 0{limit}")
    return number


def _count(path: Path, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{path}: {key} is {value!r}; expected a whole number of at least 1")
    return value


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{path}: {key} is {value!r}; expected a list of texts, or []")
    return tuple(value)


def _choice(path: Path, key: str, value: Any, choices: Sequence[str]) -> Any:
    if value not in choices:
        raise InputError(f"{path}: {key} is {value!r}; expected {' or '.join(choices)}")
    return value
