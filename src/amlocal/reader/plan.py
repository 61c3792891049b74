"""From a job to its steps: nested pipelines unfolded, every input followed to where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from amlocal.reader.assets import Assets, UriMapping
from amlocal.reader.automl import TABLES
from amlocal.reader.bind import BrokenInputError, Scope, Source, StepOutput, bind, output_of, written
from amlocal.reader.check import check_job
from amlocal.reader.distribution import Processes, processes_of
from amlocal.reader.expressions import Kind, references
from amlocal.reader.job import examine_job
from amlocal.reader.mltable import look_at_table
from amlocal.reader.model import (
    CommandNode,
    Destination,
    Graph,
    Job,
    OutputSpec,
    PathBinding,
    PipelineNode,
    UnresolvedNode,
)
from amlocal.reader.parallel import MiniBatches, mini_batches_of
from amlocal.reader.settings import number
from amlocal.reader.source import InvalidJobError, Problem, UnreadableError, line_of

_MOUNTS = (None, "rw_mount", "mount")
"""Modes of an output that is written in its place; Azure ML's default is ``rw_mount``."""


@dataclass(frozen=True)
class Delivery:
    """An output of a step that goes somewhere besides the job's own folder.

    Attributes:
        output: the step's output.
        name: the output's name where the destination is stated.
        of_job: whether it is stated for an output of the job, rather than of a node.
        type: the output's type.
        mounted: the command writes it there, and sees what is there already, instead of having it copied at the end.
    """

    output: str
    name: str
    of_job: bool
    type: str
    destination: Destination
    mounted: bool = False


@dataclass(frozen=True)
class Step:
    """One command (or sweep) to run.

    Attributes:
        name: the node's name; nested ones are dotted, as ``outer.inner``.
        inputs: a source for each input of the component; one without is unset.
        depends: the steps that must have finished before.
        processes: what a distributed command runs as.
        timeout: seconds after which it is ended; None for no limit.
        deliveries: what is to be done with its outputs.
        mini_batches: how a parallel node's input is split.
        force_rerun: a pipeline node around it says that nothing of it is reused.
    """

    name: str
    node: CommandNode
    inputs: Mapping[str, Source]
    depends: frozenset[str]
    processes: Processes | None = None
    timeout: int | None = None
    deliveries: tuple[Delivery, ...] = ()
    mini_batches: MiniBatches | None = None
    force_rerun: bool = False


@dataclass(frozen=True)
class Plan:
    """What there is to run.

    Attributes:
        steps: in an order in which each follows all it depends on.
        outputs: for each job output the step output it is; None when no node writes it.
    """

    job: Job
    steps: tuple[Step, ...]
    outputs: Mapping[str, StepOutput | None]


def read_plan(
    path: Path,
    overrides: Sequence[str] = (),
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> Plan:
    """Read a job file and work out its steps.

    Args:
        path: the job file.
        overrides: ``--set`` texts.
        assets: what is registered on this machine; nothing by default.
        mappings: local paths that stand in for addresses.

    Raises:
        InvalidJobError: with every problem found, each with file and line.
    """
    plan, problems = examine(path, overrides, assets, mappings)
    if plan is None or problems:
        raise InvalidJobError(problems)
    return _whole(plan)


def examine(
    path: Path,
    overrides: Sequence[str] = (),
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> tuple[Plan | None, list[Problem]]:
    """Read a job file and work out its steps as far as can be.

    What is not on this machine (``job.unresolved``) is no problem of the file, and what depends on it is not judged.

    Returns:
        The plan of what can be read (None when nothing can), and every problem found.

    Raises:
        AmlocalError: for a ``--set`` or ``--map`` that cannot be applied.
    """
    job, problems = examine_job(path, overrides, assets, mappings)
    if job is None:
        return None, problems
    plan, found = _plan(job)
    return plan, [*problems, *found]


def plan_of(job: Job) -> tuple[Plan, list[Problem]]:
    """Work out the steps of a job as far as can be, and what does not fit."""
    return _plan(job)


def find_problems(job: Job) -> list[Problem]:
    """Find the values, references and types of a job that do not fit, missing data and cycles."""
    return _plan(job)[1]


def make_plan(job: Job) -> Plan:
    """Work out a job's steps.

    Raises:
        InvalidJobError: for what ``find_problems`` finds, and for what is not on this machine.
    """
    plan, problems = _plan(job)
    if problems:
        raise InvalidJobError([*problems, *job.unresolved])
    return _whole(plan)


def _whole(plan: Plan) -> Plan:
    if plan.job.unresolved:
        raise InvalidJobError(plan.job.unresolved)
    return plan


def _plan(job: Job) -> tuple[Plan, list[Problem]]:
    problems: list[Problem] = list(check_job(job))
    inputs = bind(job.graph.inputs, job.inputs, None, job.graph.place, "the job", problems)
    steps: list[Step] = []
    _unfold(Scope(job.graph, "", inputs), steps, problems)
    outputs = {name: written(job.graph, "", name) for name in job.graph.outputs}
    if job.kind != "pipeline" and steps:
        outputs = {name: StepOutput(steps[0].name, name) for name in job.graph.outputs}
    deliveries: dict[str, list[Delivery]] = {step.name: [] for step in steps}
    for spec in job.graph.outputs.values():
        _deliver(outputs.get(spec.name), spec, True, steps, deliveries)
    _deliveries(job.graph, "", steps, deliveries)
    steps = [replace(step, deliveries=tuple(deliveries[step.name])) for step in steps]
    return Plan(job, _ordered(steps, problems), outputs), problems


def _deliveries(graph: Graph, prefix: str, steps: Sequence[Step], found: dict[str, list[Delivery]]) -> None:
    for node in graph.nodes.values():
        for name, binding in node.outputs.items():
            stated = OutputSpec(name, binding.place, "", binding.destination, binding.mode)
            _deliver(output_of(node, prefix, name), stated, False, steps, found)
        if isinstance(node, PipelineNode):
            _deliveries(node.component, f"{prefix}{node.name}.", steps, found)


def _deliver(
    source: StepOutput | None,
    stated: OutputSpec,
    of_job: bool,
    steps: Sequence[Step],
    found: dict[str, list[Delivery]],
) -> None:
    destination = stated.destination
    if source is None or destination is None:
        return
    step = next((step for step in steps if step.name == source.step), None)
    if step is None:
        return
    declared = step.node.component.outputs.get(source.output)
    kind = destination.type or (declared.type if declared is not None else "uri_folder")
    mounted = destination.path is not None and step.node.sweep is None and _mode(stated, step, source) in _MOUNTS
    found[step.name].append(Delivery(source.output, stated.name, of_job, kind, destination, mounted))


def _mode(stated: OutputSpec, step: Step, source: StepOutput) -> str | None:
    """Find how an output is written: as its path's place says, else its node, else its component."""
    binding, declared = step.node.outputs.get(source.output), step.node.component.outputs.get(source.output)
    return stated.mode or (binding.mode if binding else None) or (declared.mode if declared else None)


def _unfold(scope: Scope, steps: list[Step], problems: list[Problem], force_rerun: bool = False) -> None:
    for node in scope.graph.nodes.values():
        name = scope.prefix + node.name
        if isinstance(node, UnresolvedNode):
            continue
        if isinstance(node, PipelineNode):
            inner = bind(node.component.inputs, node.inputs, scope, node.place, f"node {name!r}", problems)
            scope_inside = Scope(node.component, f"{name}.", inner)
            _unfold(scope_inside, steps, problems, force_rerun or node.force_rerun)
            continue
        swept = frozenset(node.sweep.search_space) if node.sweep else frozenset()
        bound = bind(node.component.inputs, node.inputs, scope, node.place, f"node {name!r}", problems, swept)
        inputs = bound.values
        problems.extend(_unset(node, inputs, swept | bound.broken))
        depends = frozenset(source.step for source in inputs.values() if isinstance(source, StepOutput))
        step = Step(name, node, inputs, depends, force_rerun=force_rerun)
        try:
            processes = processes_of(node.component, scope, inputs)
            timeout = number(node.component.timeout, 0, scope, inputs) or None
            mini_batches = mini_batches_of(node.component, scope, inputs)
            step = replace(step, processes=processes, timeout=timeout, mini_batches=mini_batches)
        except UnreadableError as error:
            problems.append(error.problem)
        except BrokenInputError:
            pass  # its problem has been reported
        problems.extend(_table_problems(step))
        steps.append(step)


def _table_problems(step: Step) -> Sequence[Problem]:
    """Look at the tables that amlocal itself reads; one that another step writes is looked at when it is there."""
    read = TABLES if step.node.automl else () if step.mini_batches is None else (step.mini_batches.input,)
    problems: list[Problem] = []
    for name in read:
        source = step.inputs.get(name)
        if isinstance(source, PathBinding):
            try:
                look_at_table(source.path, step.node.component.inputs[name].type)
            except InvalidJobError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    return problems


def _unset(node: CommandNode, inputs: Mapping[str, Source], elsewhere: frozenset[str]) -> list[Problem]:
    component = node.component
    problems = []
    for reference, optional in references(component.command):
        spec = component.inputs.get(reference.name)
        if reference.kind is not Kind.INPUT or optional or spec is None or not spec.optional:
            continue
        if reference.name not in inputs and reference.name not in elsewhere:
            message = f"{reference} is optional and has no value here; put it inside $[[ ]]"
            problems.append(Problem(line_of(component.command_place, reference.pattern()), "optional-input", message))
    return problems


def _ordered(steps: Sequence[Step], problems: list[Problem]) -> tuple[Step, ...]:
    done: set[str] = set()
    order: list[Step] = []
    left = list(steps)
    while left:
        ready = [step for step in left if step.depends <= done]
        if not ready:
            names = ", ".join(step.name for step in left)
            message = f"these nodes wait for each other or for nodes that do: {names}"
            problems.append(Problem(left[0].node.place, "cycle", message))
            break
        order.extend(ready)
        done.update(step.name for step in ready)
        left = [step for step in left if step.name not in done]
    return tuple(order)
