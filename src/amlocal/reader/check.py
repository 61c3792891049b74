"""Rules that each look at one graph or node of a job that could be read.

A rule is a function that yields problems; ``check_job`` runs them all. What depends on the values that
reach an input is checked where those are worked out, in ``plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amlocal.reader.expressions import Kind, Template, references
from amlocal.reader.literals import fit
from amlocal.reader.model import (
    ARTIFACTS,
    LITERAL_TYPES,
    CommandNode,
    Graph,
    InputSpec,
    Job,
    PipelineNode,
    UnresolvedNode,
)
from amlocal.reader.search import Distribution
from amlocal.reader.source import Place, Problem, line_of


def check_job(job: Job) -> list[Problem]:
    """Run every rule over every graph and node of a job, nested ones included."""
    standalone = job.kind != "pipeline"
    problems = list(_check_graph(job.graph, standalone))
    # What looks unused may be used by a node that could not be read.
    return problems if standalone or has_unresolved(job.graph) else [*problems, *_unused_override(job.graph)]


def has_unresolved(graph: Graph) -> bool:
    """Tell whether a pipeline has nodes that nothing is known of."""
    return any(isinstance(node, UnresolvedNode) for node in graph.nodes.values())


def unused(graph: Graph) -> Iterator[tuple[str, Place]]:
    """Name a pipeline's inputs that no node uses and outputs that no node writes, with their places.

    Azure ML accepts both, so they are no problems; but whoever runs the job should know.
    """
    targets = [output.target for node in graph.nodes.values() for output in node.outputs.values()]
    written = {target.reference.name for target in targets if target is not None and target.reference is not None}
    for name, spec in graph.inputs.items():
        if name not in graph.mentioned:
            yield f"input {name}, used by no node,", spec.place
    for name, output_spec in graph.outputs.items():
        if name not in written:
            yield f"output {name}, written by no node,", output_spec.place


def _unused_override(graph: Graph) -> Iterator[Problem]:
    """What ``--set`` puts in for nobody is a slip of the pen."""
    for name, place in unused(graph):
        if place.option is not None:
            yield Problem(place, "unused", f"{name} has no effect; inputs: {', '.join(graph.inputs)}")


def _check_graph(graph: Graph, standalone: bool) -> Iterator[Problem]:
    yield from output_written_twice(graph)
    for node in graph.nodes.values():
        if isinstance(node, UnresolvedNode):
            continue
        for rule in NODE_RULES:
            yield from rule(node, graph)
        if isinstance(node, CommandNode):
            for command_rule in COMMAND_RULES:
                yield from command_rule(node, standalone)
        else:
            yield from _check_graph(node.component, standalone=False)


def output_targets(node: CommandNode | PipelineNode, graph: Graph) -> Iterator[Problem]:
    """A node's outputs are declared, and go to outputs that the pipeline declares."""
    declared = set(node.component.outputs) | {ARTIFACTS}
    for name, binding in node.outputs.items():
        if name not in declared:
            expected = ", ".join(sorted(node.component.outputs)) or "none"
            message = f"node {node.name!r} has no output {name!r}; its component declares {expected}"
            yield Problem(binding.place, "undefined-output", message)
        if binding.target is None:
            continue
        reference = binding.target.reference
        if reference is None or reference.kind is not Kind.PARENT_OUTPUT:
            message = f"an output takes ${{{{parent.outputs.NAME}}}}, found {binding.target.text!r}"
            yield Problem(binding.place, "expression", message)
        elif reference.name not in graph.outputs:
            expected = ", ".join(graph.outputs) or "none"
            message = f"the pipeline has no output {reference.name!r}; it declares {expected}"
            yield Problem(binding.place, "undefined-output", message)


def output_written_twice(graph: Graph) -> Iterator[Problem]:
    """Only one node writes a pipeline output."""
    writers: dict[str, str] = {}
    for node in graph.nodes.values():
        for name, binding in node.outputs.items():
            reference = binding.target.reference if binding.target else None
            if reference is None:
                continue
            first = writers.setdefault(reference.name, f"{node.name}.{name}")
            if first != f"{node.name}.{name}":
                message = f"{first} and {node.name}.{name} both write pipeline output {reference.name!r}"
                yield Problem(binding.place, "output-written-twice", message)


def command_expressions(node: CommandNode, standalone: bool) -> Iterator[Problem]:
    """Every expression of a command names an input, output or hyperparameter that exists."""
    component = node.component
    yield from _template(node, component.command, component.command_place, standalone)
    for template in component.environment_variables.values():
        yield from _template(node, template, component.place, standalone)


def parallel_expressions(node: CommandNode, standalone: bool) -> Iterator[Problem]:
    """What a parallel node splits is an input that holds files, and what it appends to is in an output."""
    del standalone
    spec, inputs = node.component.parallel, node.component.inputs
    if spec is None:
        return
    reference = spec.input_data.reference
    if reference is None or reference.kind is not Kind.INPUT:
        message = f"input_data takes ${{{{inputs.NAME}}}}, found {spec.input_data.text!r}"
        yield Problem(spec.input_data_place, "expression", message)
    elif reference.name not in inputs:
        message = f"{reference} names no input; declared: {', '.join(inputs) or 'none'}"
        yield Problem(spec.input_data_place, "undefined-input", message)
    elif inputs[reference.name].type in LITERAL_TYPES:
        kind = inputs[reference.name].type
        message = f"input_data must be files or a table, which are split into mini batches; {reference} is a {kind}"
        yield Problem(spec.input_data_place, "type", message)
    elif inputs[reference.name].optional and reference.name not in node.inputs:
        message = f"input_data: {reference} is optional and is not given here"
        yield Problem(spec.input_data_place, "required-input", message)
    if spec.append_row_to is not None and spec.append_row_to_place is not None:
        yield from _template(node, spec.append_row_to, spec.append_row_to_place, standalone=False)


def _template(node: CommandNode, template: Template, place: Place, standalone: bool) -> Iterator[Problem]:
    component = node.component
    space = node.sweep.search_space if node.sweep and standalone else {}
    known = {
        Kind.INPUT: (component.inputs, "input"),
        Kind.OUTPUT: (component.outputs, "output"),
        Kind.SEARCH_SPACE: (space, "hyperparameter"),
        Kind.MACRO: ({"name": None}, "macro"),
    }
    for reference, _ in references(template):
        where = line_of(place, reference.pattern())
        if reference.kind not in known:
            message = f"{reference} has no meaning in a command; use ${{{{inputs.NAME}}}} or ${{{{outputs.NAME}}}}"
            yield Problem(where, "expression", message)
            continue
        names, what = known[reference.kind]
        if reference.name not in names:
            message = f"{reference} names no {what}; declared: {', '.join(names) or 'none'}"
            yield Problem(where, f"undefined-{what}", message)


def search_space(node: CommandNode, standalone: bool) -> Iterator[Problem]:
    """A hyperparameter is an input of the trial, and its choices fit that input."""
    if node.sweep is None or node.automl:  # that one's search space is amlocal's own
        return
    used = {reference.name for reference, _ in references(node.component.command)}
    for name, distribution in node.sweep.search_space.items():
        spec = node.component.inputs.get(name)
        if standalone:
            if name not in used:
                message = f"hyperparameter {name!r} is not used by the command (${{{{search_space.{name}}}}})"
                yield Problem(distribution.place, "search-space", message)
            continue
        if spec is None:
            declared = ", ".join(node.component.inputs) or "none"
            message = f"hyperparameter {name!r} is no input of the trial; it declares {declared}"
            yield Problem(distribution.place, "search-space", message)
        elif spec.type not in LITERAL_TYPES:
            message = f"hyperparameter {name!r} is a {spec.type} of the trial and takes no plain value"
            yield Problem(distribution.place, "search-space", message)
        else:
            yield from _values_fit(name, distribution, spec)


def _values_fit(name: str, distribution: Distribution, spec: InputSpec) -> Iterator[Problem]:
    if spec.type == "boolean" and distribution.type != "choice":
        message = f"hyperparameter {name!r} is a boolean of the trial; {distribution.type} gives numbers"
        yield Problem(distribution.place, "search-space", message)
        return
    for value in (*distribution.values, *distribution.ends):
        try:
            fit(value, spec)
        except ValueError as error:
            yield Problem(distribution.place, "search-space", f"hyperparameter {name!r}: {error}")


def name_is_free(node: CommandNode, standalone: bool) -> Iterator[Problem]:
    """An output may not take the name of the one that every node has."""
    del standalone
    if ARTIFACTS in node.component.outputs:
        place = node.component.outputs[ARTIFACTS].place
        yield Problem(place, "reserved-name", f"{ARTIFACTS!r} is the default output of every node")


NODE_RULES: tuple[Callable[[CommandNode | PipelineNode, Graph], Iterator[Problem]], ...] = (output_targets,)
COMMAND_RULES: tuple[Callable[[CommandNode, bool], Iterator[Problem]], ...] = (
    command_expressions,
    parallel_expressions,
    search_space,
    name_is_free,
)
