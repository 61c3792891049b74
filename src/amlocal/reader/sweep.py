"""Search spaces, sampling, objectives, early termination and limits of a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from amlocal.reader.search import Distribution, EarlyTermination, Sampling, SweepLimits, SweepSpec
from amlocal.reader.section import Report, Section, as_number
from amlocal.reader.source import Located, UnreadableError, plain

_BOUNDS = ("uniform", "quniform", "loguniform", "qloguniform")
_MOMENTS = ("normal", "qnormal", "lognormal", "qlognormal")
_TYPES = ("choice", "randint", *_BOUNDS, *_MOMENTS)
_KEYS = ("search_space", "sampling_algorithm", "objective", "early_termination", "limits")
_MOST_TRIALS = 1000
"""Azure ML's own limit, for all trials and for concurrent ones ("Set limits for your sweep job")."""


def read_sweep(section: Section) -> SweepSpec:
    """Read the keys that make a node or job a sweep.

    A part that cannot be read is noted, and is replaced by what raises no further problem.

    Raises:
        UnreadableError: for an expression where none is taken.
    """
    for key in _KEYS:
        for found in _expressions(section.look(key)):
            message = f"{key} takes plain values, not expressions; found {plain(found)!r}"
            raise UnreadableError(found.place, "expression", message)
    space = section.each("search_space", lambda name, node: read_distribution(name, node, section.report), _unreadable)
    if not space and section.readable:
        section.report.problem(section.place, "required", f"{section.what} needs 'search_space'")
    metric, goal = section.attempt(lambda: _objective(section)) or ("", "maximize")
    spec = SweepSpec(
        place=section.place,
        search_space=space,
        sampling=section.attempt(lambda: _sampling(section)) or Sampling("random"),
        primary_metric=metric,
        goal=goal,
        early_termination=section.attempt(lambda: _early_termination(section)),
        limits=section.attempt(lambda: _limits(section)) or SweepLimits(1, 1, None, None),
    )
    _check(spec, section.report)
    return spec


def _expressions(node: Located | None) -> Iterator[Located]:
    value = None if node is None else node.value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _expressions(item)
    elif node is not None and isinstance(value, str) and "${{" in value:
        yield node


def _unreadable(name: str, node: Located) -> Distribution:
    """Stand in for a hyperparameter that cannot be read: a choice that nothing is known of."""
    del name
    return Distribution("choice", node.place)


def _objective(section: Section) -> tuple[str, str]:
    objective = section.section("objective")
    goal = objective.attempt(lambda: _goal(objective))
    metric = objective.require("primary_metric")
    objective.finish()
    if not isinstance(metric.value, str) or not metric.value:
        raise UnreadableError(metric.place, "objective", f"primary_metric must be text, found {plain(metric)!r}")
    return metric.value, goal or "maximize"


def _goal(objective: Section) -> str:
    node = objective.require("goal")
    goal = str(node.value).lower()
    if goal not in {"maximize", "minimize"}:
        raise UnreadableError(node.place, "objective", f"goal must be maximize or minimize, found {plain(node)!r}")
    return goal


def read_distribution(name: str, node: Located, report: Report) -> Distribution:
    """Read one hyperparameter's distribution.

    Raises:
        UnreadableError: when its type is unknown, or bounds are missing or empty.
    """
    section = Section(node, f"search_space {name!r}", report)
    kind_node = section.require("type")
    kind = str(kind_node.value).lower()
    if kind not in _TYPES:
        message = f"{section.what}: type {plain(kind_node)!r} is not known; expected one of {', '.join(_TYPES)}"
        raise UnreadableError(kind_node.place, "search-space", message)
    result = Distribution(kind, node.place, **_parameters(section, kind))
    section.finish()
    return result


def _parameters(section: Section, kind: str) -> dict[str, Any]:
    if kind == "choice":
        values = section.require("values").value
        if not isinstance(values, list) or not values:
            raise UnreadableError(section.place, "search-space", f"{section.what}: values must be a list")
        for item in values:
            if isinstance(item.value, dict):
                # azure-ai-ml accepts it, but nobody says what a command would get to see.
                message = f"{section.what}: a choice between mappings is not supported, found {plain(item)!r}"
                raise UnreadableError(item.place, "not-supported", message)
            if isinstance(item.value, bool):
                message = f"{section.what}: values are numbers or text; write {str(item.value)!r} in quotes"
                raise UnreadableError(item.place, "search-space", message)
            if isinstance(item.value, list) or item.value is None:
                message = f"{section.what}: values are numbers or text, found {plain(item)!r}"
                raise UnreadableError(item.place, "search-space", message)
        return {"values": tuple(item.value for item in values)}
    if kind == "randint":
        upper = section.integer("upper", minimum=1)
        if upper is None:
            raise UnreadableError(section.place, "required", f"{section.what} needs 'upper'")
        return {"upper": upper}
    keys = {"min_value": "minimum", "max_value": "maximum"} if kind in _BOUNDS else {"mu": "mu", "sigma": "sigma"}
    if kind.startswith("q"):
        keys["q"] = "q"
    result = {field: as_number(section.require(key, keys), key) for key, field in keys.items()}
    if kind in _BOUNDS and result["minimum"] >= result["maximum"]:
        found = f"min_value {result['minimum']} is not below max_value {result['maximum']}"
        raise UnreadableError(section.place, "search-space", f"{section.what}: {found}")
    for key in ("sigma", "q"):
        if key in result and result[key] <= 0:
            message = f"{section.what}: {key} must be above 0, found {result[key]}"
            raise UnreadableError(section.place, "search-space", message)
    return result


def _sampling(section: Section) -> Sampling:
    node = section.take("sampling_algorithm")
    if node is None:
        return Sampling("random")
    if isinstance(node.value, dict):
        inner = Section(node, "sampling_algorithm", section.report)
        kind = str(inner.require("type").value).lower()
        rule, seed, logbase = "random", None, None
        if kind == "random":
            rule = (inner.text("rule") or "random").lower()
            seed = inner.integer("seed")
            logbase = _logbase(inner)
        inner.finish()
    else:
        kind, rule, seed, logbase = str(node.value).lower(), "random", None, None
    if kind not in {"random", "grid", "bayesian"}:
        message = f"sampling_algorithm must be random, grid or bayesian, found {kind!r}"
        raise UnreadableError(node.place, "sampling", message)
    if rule not in {"random", "sobol"}:
        raise UnreadableError(node.place, "sampling", f"rule must be random or sobol, found {rule!r}")
    return Sampling(kind, rule, seed, logbase)


def _logbase(section: Section) -> float | None:
    node = section.take("logbase")
    if node is None or str(node.value).lower() == "e":
        return None
    base = as_number(node, "logbase")
    if base <= 0 or base == 1:
        raise UnreadableError(node.place, "sampling", f"logbase must be e or a positive number, found {base}")
    return base


def _early_termination(section: Section) -> EarlyTermination | None:
    node = section.take("early_termination")
    if node is None:
        return None
    inner = Section(node, "early_termination", section.report)
    kind_node = inner.require("type")
    # azure-ai-ml takes MedianStopping as well as median_stopping.
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(kind_node.value)).lower()
    interval = inner.integer("evaluation_interval", minimum=0)
    delay = inner.integer("delay_evaluation", minimum=0)
    factor = amount = percentage = None
    if kind == "bandit":
        factor, amount = inner.number("slack_factor"), inner.number("slack_amount")
        # azure-ai-ml's own default of 0 means "not given".
        if bool(factor) == bool(amount):
            message = "bandit needs either slack_factor or slack_amount, above 0"
            raise UnreadableError(node.place, "early-termination", message)
        if (factor or amount or 0) < 0:
            raise UnreadableError(node.place, "early-termination", "a bandit's slack must be above 0")
    elif kind == "truncation_selection":
        percentage = inner.integer("truncation_percentage", minimum=1)
        if percentage is None or percentage > 99:
            message = f"truncation_percentage must be 1 to 99, found {percentage}"
            raise UnreadableError(node.place, "early-termination", message)
    elif kind != "median_stopping":
        message = f"type must be bandit, median_stopping or truncation_selection, found {plain(kind_node)!r}"
        raise UnreadableError(kind_node.place, "early-termination", message)
    inner.finish()
    return EarlyTermination(kind, interval or 1, delay or 0, factor or None, amount or None, percentage)


def _limits(section: Section) -> SweepLimits:
    limits = section.section("limits")
    total = limits.integer("max_total_trials", minimum=1)
    if total is None:
        raise UnreadableError(limits.place, "required", "a sweep needs limits.max_total_trials")
    concurrent = limits.integer("max_concurrent_trials", minimum=1)
    timeout = limits.integer("timeout", minimum=1)
    trial_timeout = limits.integer("trial_timeout", minimum=1)
    limits.finish()
    for key, value in (("max_total_trials", total), ("max_concurrent_trials", concurrent)):
        if value is not None and value > _MOST_TRIALS:
            message = f"{key} must be at most {_MOST_TRIALS}, found {value}"
            section.report.problem(limits.place, "limits", message)
            return SweepLimits(total, concurrent or total, timeout, trial_timeout)
    if concurrent is not None and concurrent > total:
        message = f"max_concurrent_trials {concurrent} is above max_total_trials {total}"
        section.report.problem(limits.place, "limits", message)
    return SweepLimits(total, concurrent or total, timeout, trial_timeout)


def _check(spec: SweepSpec, report: Report) -> None:
    for name, distribution in spec.search_space.items():
        if spec.sampling.type == "grid" and distribution.type != "choice":
            message = f"search_space {name!r}: grid sampling takes only choice, found {distribution.type}"
            report.problem(distribution.place, "sampling", message)
    if spec.sampling.type == "bayesian":
        if spec.early_termination is not None:
            message = "bayesian sampling does not go with early_termination"
            report.problem(spec.place, "sampling", message)
        for name, distribution in spec.search_space.items():
            if distribution.type not in {"choice", "uniform", "quniform"}:
                message = (
                    f"search_space {name!r}: bayesian sampling takes choice, uniform and quniform, "
                    f"found {distribution.type}"
                )
                report.problem(distribution.place, "sampling", message)
