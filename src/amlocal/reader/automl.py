"""Nodes and jobs of type automl: what Azure's AutoML service is asked for, as a sweep over trials of amlocal's own.

The keys and their defaults are those of azure-ai-ml's ``_schema/automl/nlp_vertical`` and of Azure's reference
(learn.microsoft.com/azure/machine-learning, "CLI (v2) Automated ML text classification job YAML schema").
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from amlocal.reader.command import read_component
from amlocal.reader.expressions import has_expression
from amlocal.reader.inputs import read_given, read_output, unreadable_output
from amlocal.reader.machine import read_machine
from amlocal.reader.model import (
    Binding,
    CommandComponent,
    CommandNode,
    ExpressionBinding,
    LiteralBinding,
    OutputSpec,
    UnresolvedBinding,
    UnresolvedNode,
)
from amlocal.reader.search import Branch, Distribution, Sampling, SweepLimits, SweepSpec
from amlocal.reader.section import RECORDED, Report, Section, template
from amlocal.reader.source import Located, UnreadableError, load, plain
from amlocal.reader.sweep import read_distribution

LEARNER = "learner"
"""The hyperparameter that decides which others there are."""
TABLES = ("training_data", "validation_data")

_TRIAL = Path(__file__).parents[1] / "run" / "automl" / "text_classification"
_HERE = "text_classification"
_ELSEWHERE: Mapping[str, str] = {
    "text_classification_multilabel": "several labels a row",
    "text_ner": "a label a token",
    "classification": "tables",
    "regression": "tables",
    "forecasting": "time series",
    **dict.fromkeys(
        (
            *("image_classification", "image_classification_multilabel"),
            *("image_object_detection", "image_instance_segmentation"),
        ),
        "images",
    ),
}
_METRICS: Mapping[str, str] = {
    "auc_weighted": "AUC_weighted",
    "accuracy": "accuracy",
    "norm_macro_recall": "norm_macro_recall",
    "average_precision_score_weighted": "average_precision_score_weighted",
    "precision_score_weighted": "precision_score_weighted",
}
"""As the file states them → as the trials log them, which is how Azure's do."""
_VERBOSITIES = ("not_set", "debug", "info", "warning", "error", "critical")
_OF_TRANSFORMERS = (
    *("gradient_accumulation_steps", "learning_rate", "learning_rate_scheduler", "model_name", "number_of_epochs"),
    *("training_batch_size", "validation_batch_size", "warmup_ratio", "weight_decay"),
)
_MINUTE = 60
_DEFAULT_MINUTES = 7 * 24 * 60
"""Azure's own, of NLP jobs."""
_MOST_TRIALS = 1000


def read_automl(
    name: str, section: Section, parents: Mapping[str, OutputSpec] | None
) -> tuple[CommandNode | UnresolvedNode, dict[str, OutputSpec]]:
    """Read a node or job of type automl.

    Args:
        name: the node's name.
        section: the node, whose type has been taken.
        parents: the outputs of the pipeline around it; None for a job of its own.

    Returns:
        The node, an unresolved one for a task that only the service has; and its outputs.

    Raises:
        UnreadableError: when there is no such task, or the task's own part cannot be read.
    """
    report = section.report
    task = section.require("task")
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(task.value)).lower()
    section.skip("$schema", *RECORDED, "name", "display_name", "description", "tags", "properties")
    section.skip("experiment_name", "comment")
    if kind in _ELSEWHERE:
        return _elsewhere(name, section, task, kind), {}
    if kind != _HERE:
        known = ", ".join((_HERE, *_ELSEWHERE))
        raise UnreadableError(task.place, "type", f"{section.what}: there is no AutoML task {kind!r}; tasks: {known}")
    component = _trial(report)
    written = section.each("outputs", lambda key, node: read_output(key, node, report, parents), unreadable_output)
    for key in written.keys() - component.outputs.keys():
        message = f"AutoML has no output {key!r}; it has {', '.join(component.outputs)}"
        report.problem(written.pop(key)[0].place, "undefined-output", message)
    inputs: dict[str, Binding] = {}
    for key in TABLES:
        binding = section.attempt(lambda key=key: _table(key, section))  # type: ignore[misc]
        inputs[key] = UnresolvedBinding("", section.place) if binding is None else binding
    target = section.attempt(lambda: _text(section, "target_column_name"))
    inputs["target_column_name"] = UnresolvedBinding("", section.place) if target is None else target
    metric = section.attempt(lambda: _metric(section)) or "accuracy"
    inputs["primary_metric"] = LiteralBinding(metric, section.place)
    limits = section.attempt(lambda: _limits(section)) or SweepLimits(1, 1, None, None)
    _ignore_what_is_of_transformers(section)
    read_machine(section)
    section.ignore("environment_id", "environment_variables")
    section.finish()
    bindings = {key: binding for key, (_, binding) in written.items()} if parents is not None else {}
    node = CommandNode(name, section.place, component, inputs, bindings, _sweep(section, metric, limits), automl=True)
    return node, {**component.outputs, **{key: spec for key, (spec, _) in written.items()}}


def _elsewhere(name: str, section: Section, task: Located, kind: str) -> UnresolvedNode:
    message = (
        f"{section.what}: AutoML of task {kind} ({_ELSEWHERE[kind]}) needs the AutoML service; "
        f"on this machine: {_HERE} (one of several labels a row)"
    )
    section.report.unresolve(task.place, "not-on-this-machine", message)
    section.skip_rest()
    return UnresolvedNode(name, section.place, f"automl {kind}", {}, {})


def _table(key: str, section: Section) -> Binding:
    node = section.require(key)
    if isinstance(node.value, str) and not has_expression(node.value):
        message = f"{key} must be {{type: mltable, path: …}} or a reference, found {node.value!r}"
        raise UnreadableError(node.place, "type", message)
    spec, binding = read_given(key, node, section.report)
    if binding is None or (isinstance(node.value, dict) and spec.type != "mltable"):
        message = f"{key} must be {{type: mltable, path: …}}, found {plain(node)!r}"
        raise UnreadableError(node.place, "type", message)
    return binding


def _text(section: Section, key: str) -> Binding:
    node = section.require(key)
    if isinstance(node.value, (dict, list)):
        raise UnreadableError(node.place, "type", f"{key} must be text, found {plain(node)!r}")
    text = str(node.value)
    if has_expression(text):
        return ExpressionBinding(template(node, text), node.place)
    return LiteralBinding(text, node.place)


def _metric(section: Section) -> str:
    node = section.take("primary_metric")
    if node is None:
        return "accuracy"
    _no_expression("primary_metric", node)
    # As azure-ai-ml takes it: AUC_weighted, AUCWeighted and auc_weighted are one.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", str(node.value)).lower().replace("__", "_")
    if text not in _METRICS:
        message = f"primary_metric must be one of {', '.join(_METRICS)}, found {plain(node)!r}"
        raise UnreadableError(node.place, "objective", message)
    return text


def _limits(section: Section) -> SweepLimits:
    stated = section.look("limits")
    if stated is not None and isinstance(stated.value, dict):
        for key, node in stated.value.items():
            _no_expression(f"limits.{key}", node)
    limits = section.section("limits")
    total = limits.integer("max_trials", minimum=1) or 1
    concurrent = limits.integer("max_concurrent_trials", minimum=1) or 1
    minutes = limits.integer("timeout_minutes", minimum=1) or _DEFAULT_MINUTES
    of_a_trial = limits.integer("trial_timeout_minutes", minimum=1)
    limits.ignore("max_nodes", prefix="limits ")
    limits.finish()
    for key, value in (("max_trials", total), ("max_concurrent_trials", concurrent)):
        if value > _MOST_TRIALS:
            raise UnreadableError(limits.place, "range", f"{key} must be at most {_MOST_TRIALS}, found {value}")
    seconds = None if of_a_trial is None else of_a_trial * _MINUTE
    return SweepLimits(total, min(concurrent, total), minutes * _MINUTE, seconds)


def _no_expression(key: str, node: Located) -> None:
    if isinstance(node.value, str) and has_expression(node.value):
        message = f"{key} of AutoML takes a plain value on this machine, not an expression; found {plain(node)!r}"
        raise UnreadableError(node.place, "expression", message)


def _ignore_what_is_of_transformers(section: Section) -> None:
    """Pass over what steers the service's transformers; what is misspelt in it is an error all the same."""
    verbosity = section.take("log_verbosity")
    if verbosity is not None and not has_expression(str(verbosity.value)):
        if str(verbosity.value).lower() not in _VERBOSITIES:
            message = f"log_verbosity must be one of {', '.join(_VERBOSITIES)}, found {plain(verbosity)!r}"
            section.report.problem(verbosity.place, "type", message)
        section.report.ignore("log_verbosity", verbosity.place)
    for key, known in (
        ("featurization", ("dataset_language",)),
        ("training_parameters", _OF_TRANSFORMERS),
        ("sweep", ("sampling_algorithm", "early_termination")),
    ):
        node = section.take(key)
        if node is not None:
            section.attempt(lambda key=key, node=node, known=known: _pass_over(section, key, node, known))  # type: ignore[misc]
    spaces = section.take("search_space")
    if spaces is not None:
        section.report.ignore("search_space of AutoML", spaces.place)
        for space in spaces.value if isinstance(spaces.value, list) else [spaces]:
            stated = Section(space, "search_space", section.report)
            stated.skip(*_OF_TRANSFORMERS)
            stated.finish()


def _pass_over(section: Section, key: str, node: Located, known: tuple[str, ...]) -> None:
    section.report.ignore(f"{key} of AutoML", node.place)
    stated = Section(node, f"{section.what} {key}", section.report)
    stated.skip(*known)
    stated.finish()


def _trial(report: Report) -> CommandComponent:
    """Read the component of a trial; what it says of its machine is of no interest to the job's author."""
    of_its_own = Report(report.assets)
    component = read_component(load(_TRIAL / "component.yml"), of_its_own, "automl")
    if of_its_own.problems:
        raise AssertionError(f"amlocal's own component is broken: {of_its_own.problems}")
    return dataclasses.replace(component, name="automl")


def _sweep(section: Section, metric: str, limits: SweepLimits) -> SweepSpec:
    branches = read_branches(_TRIAL / "search_space.yml")
    learners = Distribution("choice", section.place, values=tuple(branches))
    space = {name: found for branch in branches.values() for name, found in branch.search_space.items()}
    return SweepSpec(
        place=section.place,
        search_space={LEARNER: learners, **space},
        sampling=Sampling("automl"),
        primary_metric=_METRICS[metric],
        goal="maximize",
        early_termination=None,
        limits=limits,
        branches=branches,
        keeps_best=True,
    )


def read_branches(path: Path) -> dict[str, Branch]:
    """Read what is searched for each learner.

    Raises:
        UnreadableError: when the file cannot be read.
    """
    report = Report()
    branches: dict[str, Branch] = {}
    root = load(path)
    for learner, node in root.value.items():
        section = Section(node, f"learner {learner}", report)
        space = {
            name: read_distribution(name, found, report) for name, found in section.entries("search_space").items()
        }
        start = {name: plain(found) for name, found in section.entries("start").items()}
        section.finish()
        branches[learner] = Branch(space, start)
    if report.problems:
        raise AssertionError(f"amlocal's own search space is broken: {report.problems}")
    return branches
