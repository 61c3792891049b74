"""Follows an input to where its value comes from, and checks that it fits what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from amlocal.reader.expressions import Kind, Reference, references, render
from amlocal.reader.literals import fit
from amlocal.reader.model import (
    ARTIFACTS,
    LITERAL_TYPES,
    Binding,
    CommandNode,
    ExpressionBinding,
    Graph,
    InputSpec,
    LiteralBinding,
    Node,
    PathBinding,
    PipelineNode,
    UnresolvedBinding,
    UnresolvedNode,
    UrlBinding,
)
from amlocal.reader.source import Place, Problem, UnreadableError, shown


@dataclass(frozen=True)
class StepOutput:
    """An output of a step, as the source of an input or of a job output."""

    step: str
    output: str


Source: TypeAlias = LiteralBinding | PathBinding | UrlBinding | StepOutput


@dataclass(frozen=True)
class Scope:
    """A graph being unfolded: its name in front of its steps, and what its inputs are."""

    graph: Graph
    prefix: str
    inputs: Inputs


@dataclass(frozen=True)
class Inputs:
    """Inputs with their sources; those with a problem are ``broken``, so that nothing is reported twice."""

    values: Mapping[str, Source]
    broken: frozenset[str]


class BrokenInputError(Exception):
    """Refers to an input whose problem has been reported, or to what is not on this machine."""


def bind(
    specs: Mapping[str, InputSpec],
    bindings: Mapping[str, Binding],
    scope: Scope | None,
    place: Place,
    what: str,
    problems: list[Problem],
    swept: frozenset[str] = frozenset(),
) -> Inputs:
    """Give each declared input its source.

    Args:
        specs: what is declared.
        bindings: what is given.
        scope: the pipeline that references refer to; None for a job's own inputs.
        place: whose inputs these are, in the file,
        what: and in words.
        problems: where problems go.
        swept: inputs that get their values from a sampler.
    """
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
        if not spec.readable:
            broken.add(name)
            continue
        try:
            source = None if bound is None else _resolve(bound, scope)
            if source is None and spec.default is not None:
                source = LiteralBinding(spec.default, spec.place)
            if source is None and not spec.optional:
                found = "is not given" if bound is None else "is bound to an input that has no value"
                kind = f" ({spec.type})" if spec.type else ""
                at = bound.place if bound else place if scope else spec.place
                raise UnreadableError(at, "required-input", f"{what}: input {name!r}{kind} {found}")
            if source is not None:
                result[name] = _fitted(source, spec, bound.place if bound else spec.place)
        except UnreadableError as error:
            problems.append(error.problem)
            broken.add(name)
        except BrokenInputError:
            broken.add(name)
    return Inputs(result, frozenset(broken))


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


def _resolve(binding: Binding, scope: Scope | None, through: frozenset[Reference] = frozenset()) -> Source | None:
    if isinstance(binding, UnresolvedBinding):
        raise BrokenInputError
    if not isinstance(binding, ExpressionBinding):
        return binding
    if scope is None:
        message = f"{binding.template.text!r}: the job's own inputs take plain values"
        raise UnreadableError(binding.place, "expression", message)
    whole = binding.template.reference
    if whole is not None:
        return follow(whole, scope, binding.place, through)
    values: dict[Reference, str] = {}
    for reference, _ in references(binding.template):
        source = follow(reference, scope, binding.place, through)
        if not isinstance(source, LiteralBinding):
            message = f"{reference} inside other text must be a plain value"
            raise UnreadableError(binding.place, "expression", message)
        values[reference] = str(source.value)
    return LiteralBinding(render(binding.template, values.get), binding.place)


def follow(
    reference: Reference, scope: Scope, place: Place, through: frozenset[Reference] = frozenset()
) -> Source | None:
    """Find where a reference's value comes from; None for an input without one.

    Args:
        reference: what stands in the file.
        scope: the pipeline it refers to.
        place: where it stands.
        through: inputs of nodes that led here, to notice one that leads back to itself.

    Raises:
        UnreadableError: when it refers to nothing.
        BrokenInputError: when it refers to an input that has a problem itself.
    """
    graph = scope.graph
    if reference.kind is Kind.PARENT_INPUT:
        if reference.name not in graph.inputs:
            declared_inputs = ", ".join(graph.inputs) or "none"
            message = f"the pipeline has no input {reference.name!r}; it declares {declared_inputs}"
            raise UnreadableError(place, "undefined-input", message)
        if reference.name in scope.inputs.broken:
            raise BrokenInputError
        return scope.inputs.values.get(reference.name)
    if reference.node is None:
        expected = "${{parent.inputs.NAME}}, ${{parent.jobs.NODE.outputs.NAME}} or ${{parent.jobs.NODE.inputs.NAME}}"
        raise UnreadableError(place, "expression", f"an input takes {expected}, found {reference}")
    node = graph.nodes.get(reference.node)
    if node is None:
        message = f"there is no node {reference.node!r}; nodes: {', '.join(graph.nodes)}"
        raise UnreadableError(place, "undefined-node", message)
    if isinstance(node, UnresolvedNode):
        raise BrokenInputError
    if reference.kind is Kind.NODE_INPUT:
        return _input_of(node, reference, scope, place, through)
    declared = set(node.component.outputs)
    if isinstance(node, CommandNode):
        declared.add(ARTIFACTS)
    if reference.name not in declared:
        message = f"node {node.name!r} has no output {reference.name!r}; it has {', '.join(sorted(declared))}"
        raise UnreadableError(place, "undefined-output", message)
    spec = node.component.outputs.get(reference.name)
    if spec is not None and spec.type in LITERAL_TYPES:
        raise BrokenInputError  # a value that only the service passes on
    found = output_of(node, scope.prefix, reference.name)
    if found is None and _has_unresolved(node):
        raise BrokenInputError
    if found is None:
        message = f"no node of pipeline {node.name!r} writes its output {reference.name!r}"
        raise UnreadableError(place, "undefined-output", message)
    return found


def _input_of(
    node: CommandNode | PipelineNode, reference: Reference, scope: Scope, place: Place, through: frozenset[Reference]
) -> Source | None:
    """Find what another node of the same pipeline is given."""
    spec = node.component.inputs.get(reference.name)
    if spec is None:
        declared = ", ".join(node.component.inputs) or "none"
        message = f"node {node.name!r} has no input {reference.name!r}; it has {declared}"
        raise UnreadableError(place, "undefined-input", message)
    if reference in through:
        raise UnreadableError(place, "cycle", f"{reference} leads back to itself")
    binding = node.inputs.get(reference.name)
    if binding is not None:
        return _resolve(binding, scope, through | {reference})
    return None if spec.default is None else LiteralBinding(spec.default, spec.place)


def _has_unresolved(node: Node) -> bool:
    if isinstance(node, PipelineNode):
        return any(_has_unresolved(inner) for inner in node.component.nodes.values())
    return isinstance(node, UnresolvedNode)


def output_of(node: Node, prefix: str, output: str) -> StepOutput | None:
    """Find the step that writes a node's output; None when there is none, or the node cannot be known."""
    if isinstance(node, UnresolvedNode):
        return None
    if isinstance(node, CommandNode):
        return StepOutput(prefix + node.name, output)
    return written(node.component, f"{prefix}{node.name}.", output)


def written(graph: Graph, prefix: str, output: str) -> StepOutput | None:
    """Find the step that writes a graph's output."""
    for node in graph.nodes.values():
        for name, binding in node.outputs.items():
            reference = binding.target.reference if binding.target else None
            if reference is not None and reference.name == output:
                return output_of(node, prefix, name)
    return None
