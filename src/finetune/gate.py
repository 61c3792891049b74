"""The promotion gate: (challenger, champion, policy) → verdict. Pure; no file, no clock, no network.

A model is promoted only if every check passes. What is missing, not a number, or measured on other rows fails its
check: there is no path on which an absent figure counts as a good one.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from finetune.errors import InputError

POLICY_KEYS = {"primary_metric", "minimum", "maximum", "minimum_improvement", "without_champion"}


@dataclass(frozen=True)
class GatePolicy:
    """The contents of gate.yml: what it takes to be promoted."""

    primary_metric: str
    """The metric that challenger and champion are compared by; more is better."""
    minimum: Mapping[str, float]
    """Metric → the least value that passes."""
    maximum: Mapping[str, float]
    """Metric → the greatest value that passes."""
    minimum_improvement: float
    """How much better than the champion the challenger has to be, in the primary metric's units; above 0."""
    without_champion: Literal["promote", "reject"]
    """What happens when no model serves yet and the challenger passes the limits."""


@dataclass(frozen=True)
class Evidence:
    """What was measured of one model."""

    model_sha256: str
    test_sha256: str
    """Digest of the test rows that the metrics were measured on."""
    metrics: Mapping[str, float]
    name: str
    """For reasons, such as "customer-messages:3"."""


@dataclass(frozen=True)
class UnusableChampion:
    """A model serves, but it could not be measured."""

    name: str
    reason: str


@dataclass(frozen=True)
class Check:
    """One check of the gate."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer."""

    checks: tuple[Check, ...]

    @property
    def promoted(self) -> bool:
        """True when there were checks and every one of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The failed checks' reasons; those of all checks when none failed."""
        failed = tuple(check.reason for check in self.checks if not check.passed)
        return failed or tuple(check.reason for check in self.checks)


def decide(challenger: Evidence, champion: Evidence | UnusableChampion | None, policy: GatePolicy) -> Verdict:
    """Decide whether the challenger takes the champion's place.

    Args:
        challenger: the new model's figures.
        champion: the serving model's, measured on the same rows; or why it could not be measured; None when nothing
            serves.
        policy: what it takes.
    """
    checks = [*_limit_checks(challenger, policy)]
    if champion is None:
        checks.append(_without_champion(policy))
    elif isinstance(champion, UnusableChampion):
        checks.append(
            Check("champion", False, f"the champion {champion.name} could not be measured: {champion.reason}")
        )
    else:
        checks.append(_comparison(challenger, champion, policy))
    return Verdict(tuple(checks))


def _limit_checks(challenger: Evidence, policy: GatePolicy) -> Iterator[Check]:
    for metric, bound in policy.minimum.items():
        value = _figure(challenger, metric)
        if value is None:
            yield _missing(challenger, metric)
        else:
            sign = "≥" if value >= bound else "<"
            yield Check(f"minimum {metric}", value >= bound, f"{metric} {value:.4f} {sign} {bound:g} (minimum)")
    for metric, bound in policy.maximum.items():
        value = _figure(challenger, metric)
        if value is None:
            yield _missing(challenger, metric)
        else:
            sign = "≤" if value <= bound else ">"
            yield Check(f"maximum {metric}", value <= bound, f"{metric} {value:.4f} {sign} {bound:g} (maximum)")


def _without_champion(policy: GatePolicy) -> Check:
    if policy.without_champion == "promote":
        return Check("champion", True, "no model serves yet; the policy promotes the first one that passes its limits")
    return Check("champion", False, "no model serves yet, and the policy does not promote without a champion")


def _comparison(challenger: Evidence, champion: Evidence, policy: GatePolicy) -> Check:
    name, metric = "improvement over the champion", policy.primary_metric
    if challenger.model_sha256 == champion.model_sha256:
        return Check(name, False, f"this is the model that serves already ({champion.name})")
    if challenger.test_sha256 != champion.test_sha256:
        return Check(name, False, f"challenger and champion {champion.name} were measured on different test rows")
    new, old = _figure(challenger, metric), _figure(champion, metric)
    if new is None:
        return _missing(challenger, metric)
    if old is None:
        return _missing(champion, metric)
    gain = new - old
    # Rounded to what the figures can carry, so that 0.91 - 0.90 meets a required 0.01.
    passed = round(gain, 9) >= policy.minimum_improvement
    return Check(
        name,
        passed,
        f"{metric} {new:.4f} against the champion's {old:.4f} ({champion.name}): {gain:+.4f}, "
        f"{'meets' if passed else 'short of'} the required {policy.minimum_improvement:+g}",
    )


def _figure(evidence: Evidence, metric: str) -> float | None:
    """Return a metric's value, or None when it is missing or not a finite number."""
    value = evidence.metrics.get(metric)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _missing(evidence: Evidence, metric: str) -> Check:
    found = evidence.metrics.get(metric, "nothing")
    return Check(f"has {metric}", False, f"{evidence.name}: found {found} for {metric}; expected a finite number")


def read_policy(path: Path, known_metrics: Sequence[str], lower_is_better: Collection[str]) -> GatePolicy:
    """Read gate.yml.

    Args:
        path: the file.
        known_metrics: the metrics that evaluate measures; a policy may name no other.
        lower_is_better: those of them that cannot be the primary metric, because a gain in them is a loss.

    Raises:
        InputError: the file is missing or broken, has an unknown key or metric, or a value of the wrong kind.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the gate's policy") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(value, dict) or set(value) != POLICY_KEYS:
        found = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: found {found}; expected exactly the keys {', '.join(sorted(POLICY_KEYS))}")
    policy = GatePolicy(
        primary_metric=value["primary_metric"],
        minimum=_bounds(path, "minimum", value["minimum"]),
        maximum=_bounds(path, "maximum", value["maximum"]),
        minimum_improvement=_number(path, "minimum_improvement", value["minimum_improvement"]),
        without_champion=value["without_champion"],
    )
    for metric in (policy.primary_metric, *policy.minimum, *policy.maximum):
        if metric not in known_metrics:
            raise InputError(f"{path}: unknown metric {metric!r}; expected one of {', '.join(known_metrics)}")
    if policy.primary_metric in lower_is_better:
        raise InputError(
            f"{path}: primary_metric {policy.primary_metric!r}: less of it is better; expected one with more"
        )
    if policy.minimum_improvement <= 0:
        raise InputError(f"{path}: minimum_improvement {policy.minimum_improvement}: expected a number above 0")
    if policy.without_champion not in ("promote", "reject"):
        raise InputError(f"{path}: without_champion {policy.without_champion!r}: expected promote or reject")
    if not policy.minimum and not policy.maximum:
        raise InputError(f"{path}: neither minimum nor maximum holds a limit; a first model would pass unseen")
    return policy


def _bounds(path: Path, key: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {value!r}; expected metric: number pairs, or {{}}")
    return {metric: _number(path, f"{key}.{metric}", bound) for metric, bound in value.items()}


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{path}: {key} is {value!r}; expected a finite number")
    return float(value)
