"""rollout.yml: how a new version takes over, and what stops it."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from finetune.errors import InputError

POLICY_FILE = "rollout.yml"


@dataclass(frozen=True)
class RolloutPolicy:
    """The contents of rollout.yml. Its keys are these fields, all of them: a policy leaves nothing to a default."""

    mirror_percent: int
    """Share of the live requests that the new version gets a copy of, 0 to 50; 0 leaves mirroring out."""
    mirror_seconds: float
    canary_percents: tuple[int, ...]
    """Shares of live traffic, rising, the last of them 100."""
    canary_seconds: float
    """For so long each of these shares is held."""
    hold_seconds: float
    """For so long the new version has all traffic before the old one goes."""
    probes: int
    """Requests to each of both versions, and to the endpoint, at each of these states."""
    maximum_error_rate: float
    """Of the probes to the new version, and of those to the endpoint: 0 to below 1."""
    maximum_p95_ms: float
    """95th percentile of the new version's answering times, in milliseconds."""
    maximum_p95_ratio: float
    """The same, against the old version's; at least 1."""
    p95_slack_ms: float
    """The ratio does not count while the new version is slower by less than this."""
    minimum_agreement: float
    """Share of the probes' rows that both versions answer alike, 0 to 1."""
    agreement_tolerance: float
    """Values, of models that answer with a number, are alike when they differ by at most this."""
    agreement_minimum_rows: int
    """With fewer different rows than this the agreement is recorded and not judged."""
    maximum_tracebacks: int
    """Tracebacks that the new version logs while traffic is mirrored to it: its mirrored answers are not seen."""
    lock_minutes: float
    """For so long a rollout that gives no sign keeps others away; longer than any of its steps takes."""


def read_rollout_policy(path: Path) -> RolloutPolicy:
    """Read rollout.yml.

    Raises:
        InputError: the file is missing or broken, lacks a key or has an unknown one, or a value cannot be used; with
            file and line.
    """
    values = _Values(path, _read(path))
    known = {field.name for field in fields(RolloutPolicy)}
    for key, (line, _) in values.given.items():
        if key not in known:
            raise InputError(f"{path}:{line}: {key} is no key of a rollout's policy; expected {_spell(known)}")
    if missing := known - values.given.keys():
        raise InputError(f"{path}: {_spell(missing)} is missing; a policy leaves nothing to a default")
    policy = RolloutPolicy(
        mirror_percent=values.whole("mirror_percent", 0, 50),
        mirror_seconds=values.number("mirror_seconds", 0),
        canary_percents=values.rising("canary_percents"),
        canary_seconds=values.number("canary_seconds", 0),
        hold_seconds=values.number("hold_seconds", 0),
        probes=values.whole("probes", 1, 10_000),
        maximum_error_rate=values.number("maximum_error_rate", 0, below=1),
        maximum_p95_ms=values.number("maximum_p95_ms", 1),
        maximum_p95_ratio=values.number("maximum_p95_ratio", 1),
        p95_slack_ms=values.number("p95_slack_ms", 0),
        minimum_agreement=values.number("minimum_agreement", 0, at_most=1),
        agreement_tolerance=values.number("agreement_tolerance", 0),
        agreement_minimum_rows=values.whole("agreement_minimum_rows", 1),
        maximum_tracebacks=values.whole("maximum_tracebacks", 0),
        lock_minutes=values.number("lock_minutes", 1),
    )
    for key in ("mirror_seconds", "canary_seconds", "hold_seconds"):
        if getattr(policy, key) >= policy.lock_minutes * 60 / 2:
            raise InputError(
                f"{path}:{values.given[key][0]}: {key} is {getattr(policy, key):g}; expected less than half of "
                f"lock_minutes ({policy.lock_minutes:g}), or the lock ends while the rollout still runs"
            )
    return policy


def _read(path: Path) -> yaml.MappingNode:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the rollout's policy") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}: expected a mapping of the policy's keys")
    return node


class _Values:
    """A mapping's values with their lines."""

    def __init__(self, path: Path, node: yaml.MappingNode) -> None:
        self.path = path
        self.given: dict[str, tuple[int, Any]] = {}
        constructor = yaml.SafeLoader("")
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in self.given:
                raise InputError(f"{path}:{line}: {key} is stated a second time, after line {self.given[key][0]}")
            self.given[key] = (line, constructor.construct_object(value_node, deep=True))

    def wrong(self, key: str, expected: str) -> InputError:
        line, value = self.given[key]
        return InputError(f"{self.path}:{line}: {key} is {value!r}; expected {expected}")

    def number(self, key: str, least: float, at_most: float = math.inf, below: float = math.inf) -> float:
        value = self.given[key][1]
        bounds = f"of at least {least:g}"
        bounds += f" and at most {at_most:g}" if at_most < math.inf else f" and below {below:g}" * (below < math.inf)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, f"a number {bounds}")
        if not least <= value <= at_most or value >= below:
            raise self.wrong(key, f"a number {bounds}")
        return float(value)

    def whole(self, key: str, least: int, at_most: float = math.inf) -> int:
        value = self.given[key][1]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= at_most:
            upper = f" and at most {at_most:g}" if at_most < math.inf else ""
            raise self.wrong(key, f"a whole number of at least {least}{upper}")
        return value

    def rising(self, key: str) -> tuple[int, ...]:
        value = self.given[key][1]
        whole = isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        if not whole or not value or value != sorted(set(value)) or value[0] < 1 or value[-1] != 100:
            raise self.wrong(key, "a list of rising whole numbers from 1 on, the last of them 100, as [10, 50, 100]")
        return tuple(value)


def _spell(keys: set[str]) -> str:
    return ", ".join(sorted(keys))
