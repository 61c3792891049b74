"""A component file read by itself: as the only node of a pipeline that gives it everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from amlocal.reader.command import read_component
from amlocal.reader.elsewhere import is_elsewhere
from amlocal.reader.graph import COMPONENT_TYPES, read_graph_component, type_of_component
from amlocal.reader.model import Binding, CommandNode, Graph, InputSpec, Job, Node, PipelineNode, UnresolvedBinding
from amlocal.reader.parallel import read_parallel_component
from amlocal.reader.section import Report
from amlocal.reader.source import Problem, UnreadableError, load


def examine_component(path: Path) -> tuple[Job | None, list[Problem]]:
    """Read as much of a component file as can be read.

    Returns:
        A job of one node; inputs without a default have a value that nothing is known of, so that what is declared
        can be checked and what is given cannot. None when nothing can be read, or its type is not one that runs here.
        And the problems.
    """
    report = Report()
    try:
        definition = load(path)
        kind = type_of_component(definition)
        if is_elsewhere(kind):
            return None, []
        if kind not in COMPONENT_TYPES:
            message = f"there is no component type {kind!r}; {', '.join(COMPONENT_TYPES)}"
            raise UnreadableError(definition.place, "type", message)
        if kind != "pipeline":
            read = read_component(definition, report, path.stem) if kind == "command" else None
            component = read or read_parallel_component(definition, {}, report, path.stem)
            node: Node = CommandNode(component.name, component.place, component, _given(component.inputs), {})
        else:
            inner = read_graph_component(definition, report, path.stem, (path,))
            node = PipelineNode(inner.name, inner.place, inner, _given(inner.inputs), {})
    except UnreadableError as error:
        return None, [*report.problems, error.problem]
    graph = Graph(path.stem, node.place, {}, {}, {node.name: node})
    job = Job("pipeline", path, None, None, None, graph, {}, unresolved=tuple(report.unresolved))
    return job, report.problems


def _given(specs: Mapping[str, InputSpec]) -> dict[str, Binding]:
    return {
        name: UnresolvedBinding("", spec.place)
        for name, spec in specs.items()
        if spec.default is None and not spec.optional
    }
