"""From a job to its steps: nested pipelines unfolded, every input followed to where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from amlocal.reader.check import check_job
from amlocal.reader.expressions import Kind, Reference, references, render
from amlocal.reader.job import read_job
from amlocal.reader.literals import fit
from amlocal.reader.model import (
    ARTIFACTS,
    LITERAL_TYPES,
    Binding,
    CommandNode,
    ExpressionBinding,
    Graph,
    InputSpec,
    Job,
    LiteralBinding,
    PathBinding,
    PipelineNode,
)
from amlocal.reader.source import InvalidJobError, Place, Problem, UnreadableError, shown


@dataclass(frozen=True)
class StepOutput:
    """An output of a step, as the source of an input or of a job output."""

    step: str
    output: str


Source: TypeAlias = LiteralBinding | PathBinding | StepOutput


@dataclass(frozen=True)
class Step:
    """One command (or sweep) to run.

    Attributes:
        name: the node's name; nested ones are dotted, as ``outer.inner``.
        inputs: a source for each input of the component; one without is unset.
        depends: the steps that must have finished before.
    """

    name: str
    node: CommandNode
    inputs: Mapping[str, Source]
    depends: frozenset[str]


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


@dataclass(frozen=True)
class _Scope:
    """A graph being unfolded: its name in front of its steps, and what its inputs are."""

    graph: Graph
    prefix: str
    inputs: _Inputs


@dataclass(frozen=True)
class _Inputs:
    """Inputs with their sources; those with a problem are ``broken``, so that nothing is reported twice."""

    values: Mapping[str, Source]
    broken: frozenset[str]


class _BrokenInputError(Exception):
    """Refers to an input whose problem has been reported."""


def read_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a job file and work out its steps.

    Raises:
        InvalidJobError: with every problem found, each with file and line.
    """
    return make_plan(read_job(path, overrides))


def make_plan(job: Job) -> Plan:
    """Work out a job's steps.

    Raises:
        InvalidJobError: for values, references and types that do not fit, missing data and cycles.
    """
    problems: list[Problem] = list(check_job(job))
    inputs = _bind(job.graph.inputs, job.inputs, None, job.graph.place, "the job", problems)
    scope = _Scope(job.graph, "", inputs)
    steps: list[Step] = []
    _unfold(scope, steps, problems)
    if problems:
        raise InvalidJobError(problems)
    outputs = {name: _written(job.graph, "", name) for name in job.graph.outputs}
    if job.kind != "pipeline":
        outputs = {name: StepOutput(steps[0].name, name) for name in job.graph.outputs}
    return Plan(job, _ordered(steps), outputs)


def _unfold(scope: _Scope, steps: list[Step], problems: list[Problem]) -> None:
    for node in scope.graph.nodes.values():
        name = scope.prefix + node.name
        if isinstance(node, PipelineNode):
            inner = _bind(node.component.inputs, node.inputs, scope, node.place, f"node {name!r}", problems)
            _unfold(_Scope(node.component, f"{name}.", inner), steps, problems)
            continue
        swept = frozenset(node.sweep.search_space) if node.sweep else frozenset()
        bound = _bind(node.component.inputs, node.inputs, scope, node.place, f"node {name!r}", problems, swept)
        inputs = bound.values
        problems.extend(_unset(node, inputs, swept))
        depends = frozenset(source.step for source in inputs.values() if isinstance(source, StepOutput))
        steps.append(Step(name, node, inputs, depends))


def _bind(
    specs: Mapping[str, InputSpec],
    bindings: Mapping[str, Binding],
    scope: _Scope | None,
    place: Place,
    what: str,
    problems: list[Problem],
    swept: frozenset[str] = frozenset(),
) -> _Inputs:
    """Give each declared input its source; ``swept`` ones get theirs from the sampler."""
    for name, binding in bindings.items():
        if name not in specs:
            message = f"{what} gives input {name!r}, which is not declared; declared: {', '.join(specs) or 'none'}"
            problems.append(Problem(binding.place, "undeclared-input", message))
    result: dict[str, Source] = {}
    broken: set[str] = set()
    for name, spec in specs.items():
        if name in swept:
            continue
        bound = bindings.get(name)
        try:
            source = None if bound is None else _resolve(bound, scope)
            if source is None and spec.default is not None:
                source = LiteralBinding(spec.default, spec.place)
            if source is None and not spec.optional:
                found = "is not given" if bound is None else "is bound to an input that has no value"
                at = bound.place if bound else place if scope else spec.place
                raise UnreadableError(at, "required-input", f"{what}: input {name!r} ({spec.type}) {found}")
            if source is not None:
                result[name] = _fitted(source, spec, bound.place if bound else spec.place)
        except UnreadableError as error:
            problems.append(error.problem)
            broken.add(name)
        except _BrokenInputError:
            broken.add(name)
    return _Inputs(result, frozenset(broken))


def _fitted(source: Source, spec: InputSpec, place: Place) -> Source:
    if isinstance(source, LiteralBinding):
        try:
            return LiteralBinding(fit(source.value, spec), source.place)
        except ValueError as error:
            raise UnreadableError(place, "value", f"input {spec.name!r}: {error}") from None
    if spec.type in LITERAL_TYPES:
        message = f"input {spec.name!r} is a {spec.type} and is given a file or folder"
        raise UnreadableError(place, "type", message)
    if isinstance(source, PathBinding) and not source.path.exists():
        message = f"input {spec.name!r}: {shown(source.path)} does not exist"
        raise UnreadableError(source.place, "missing-data", message)
    return source


def _resolve(binding: Binding, scope: _Scope | None) -> Source | None:
    if not isinstance(binding, ExpressionBinding):
        return binding
    if scope is None:
        message = f"{binding.template.text!r}: the job's own inputs take plain values"
        raise UnreadableError(binding.place, "expression", message)
    whole = binding.template.reference
    if whole is not None:
        return _follow(whole, scope, binding.place)
    values: dict[Reference, str] = {}
    for reference, _ in references(binding.template):
        source = _follow(reference, scope, binding.place)
        if not isinstance(source, LiteralBinding):
            message = f"{reference} inside other text must be a plain value"
            raise UnreadableError(binding.place, "expression", message)
        values[reference] = str(source.value)
    return LiteralBinding(render(binding.template, values.get), binding.place)


def _follow(reference: Reference, scope: _Scope, place: Place) -> Source | None:
    graph = scope.graph
    if reference.kind is Kind.PARENT_INPUT:
        if reference.name not in graph.inputs:
            declared_inputs = ", ".join(graph.inputs) or "none"
            message = f"the pipeline has no input {reference.name!r}; it declares {declared_inputs}"
            raise UnreadableError(place, "undefined-input", message)
        if reference.name in scope.inputs.broken:
            raise _BrokenInputError
        return scope.inputs.values.get(reference.name)
    if reference.kind is not Kind.NODE_OUTPUT or reference.node is None:
        expected = "${{parent.inputs.NAME}} or ${{parent.jobs.NODE.outputs.NAME}}"
        raise UnreadableError(place, "expression", f"an input takes {expected}, found {reference}")
    node = graph.nodes.get(reference.node)
    if node is None:
        message = f"there is no node {reference.node!r}; nodes: {', '.join(graph.nodes)}"
        raise UnreadableError(place, "undefined-node", message)
    declared = set(node.component.outputs)
    if isinstance(node, CommandNode):
        declared.add(ARTIFACTS)
    if reference.name not in declared:
        message = f"node {node.name!r} has no output {reference.name!r}; it has {', '.join(sorted(declared))}"
        raise UnreadableError(place, "undefined-output", message)
    found = _output_of(node, scope.prefix, reference.name)
    if found is None:
        message = f"no node of pipeline {node.name!r} writes its output {reference.name!r}"
        raise UnreadableError(place, "undefined-output", message)
    return found


def _output_of(node: CommandNode | PipelineNode, prefix: str, output: str) -> StepOutput | None:
    if isinstance(node, CommandNode):
        return StepOutput(prefix + node.name, output)
    return _written(node.component, f"{prefix}{node.name}.", output)


def _written(graph: Graph, prefix: str, output: str) -> StepOutput | None:
    """Find the step that writes a graph's output."""
    for node in graph.nodes.values():
        for name, binding in node.outputs.items():
            reference = binding.target.reference if binding.target else None
            if reference is not None and reference.name == output:
                return _output_of(node, prefix, name)
    return None


def _unset(node: CommandNode, inputs: Mapping[str, Source], swept: frozenset[str]) -> list[Problem]:
    component = node.component
    problems = []
    for reference, optional in references(component.command):
        spec = component.inputs.get(reference.name)
        if reference.kind is not Kind.INPUT or optional or spec is None or not spec.optional:
            continue
        if reference.name not in inputs and reference.name not in swept:
            message = f"{reference} is optional and has no value here; put it inside $[[ ]]"
            problems.append(Problem(component.command_place, "optional-input", message))
    return problems


def _ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    done: set[str] = set()
    order: list[Step] = []
    left = list(steps)
    while left:
        ready = [step for step in left if step.depends <= done]
        if not ready:
            first = left[0]
            names = ", ".join(step.name for step in left)
            message = f"these nodes wait for each other or for nodes that do: {names}"
            raise InvalidJobError([Problem(first.node.place, "cycle", message)])
        order.extend(ready)
        done.update(step.name for step in ready)
        left = [step for step in left if step.name not in done]
    return tuple(order)
