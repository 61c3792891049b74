"""Pipelines: what is wired to what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from amlocal.reader.check import has_unresolved, unused
from amlocal.reader.expressions import Kind, references
from amlocal.reader.model import (
    CommandNode,
    ExpressionBinding,
    Graph,
    InputSpec,
    OutputSpec,
    UnresolvedNode,
)
from amlocal.reader.plan import Plan
from amlocal.reader.source import Problem, line_of

# "parameter name must be composed of letters, numbers and underscores": azure-ai-ml's IOConstants.VALID_KEY_PATTERN.
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def unused_names(graph: Graph) -> Iterator[Problem]:
    """Every input of a pipeline goes to a node, and every output comes from one."""
    if not graph.nodes or has_unresolved(graph):
        return
    for what, place in unused(graph):
        yield Problem(place, "unused", f"pipeline {what.rstrip(',').replace(',', ' is', 1)}", True)


def mixed_types(graph: Graph) -> Iterator[Problem]:
    """What is passed on as a file is taken as a file, and a folder as a folder."""
    for node in graph.nodes.values():
        if isinstance(node, UnresolvedNode):
            continue
        for name, given in node.inputs.items():
            spec = node.component.inputs.get(name)
            whole = given.template.reference if isinstance(given, ExpressionBinding) else None
            if spec is None or whole is None or not spec.readable:
                continue
            found = None
            if whole.kind is Kind.PARENT_INPUT and whole.name in graph.inputs:
                found = graph.inputs[whole.name].type
            elif whole.kind is Kind.NODE_OUTPUT and whole.node is not None and whole.node in graph.nodes:
                producer = graph.nodes[whole.node]
                if not isinstance(producer, UnresolvedNode) and whole.name in producer.component.outputs:
                    found = producer.component.outputs[whole.name].type
            if _differ(found, spec.type):
                message = f"input {name!r} of node {node.name!r} is a {spec.type}, and {whole} a {found}"
                yield Problem(given.place, "file-or-folder", message, True)


def _differ(found: str | None, expected: str | None) -> bool:
    folders = {"uri_folder", "mlflow_model"}  # the other model types and tables may be either
    return (found == "uri_file" and expected in folders) or (found in folders and expected == "uri_file")


def input_names(graph: Graph) -> Iterator[Problem]:
    """Names of inputs and outputs are letters, digits and underscores, and differ in more than their case."""
    declared: list[tuple[str, Mapping[str, InputSpec] | Mapping[str, OutputSpec]]] = [
        ("input", graph.inputs),
        ("output", graph.outputs),
    ]
    for node in graph.nodes.values():
        if not isinstance(node, UnresolvedNode):
            declared += [("input", node.component.inputs), ("output", node.component.outputs)]
    for what, specs in declared:
        lower: dict[str, str] = {}
        for name, spec in specs.items():
            if not _NAME.fullmatch(name):
                message = f"{what} {name!r}: expected letters, digits and underscores, not starting with a digit"
                yield Problem(spec.place, "name", message)
            first = lower.setdefault(name.lower(), name)
            if first != name:
                yield Problem(spec.place, "name", f"{what}s {first!r} and {name!r} differ only in case")


def empty_values(plan: Plan) -> Iterator[Problem]:
    """The service takes a pipeline's empty text, 0 and false for values that are missing (azure-sdk issue 35285)."""
    if plan.job.kind != "pipeline":
        return
    for name, given in plan.job.inputs.items():
        value = getattr(given, "value", None)
        if value is not None and (value == "" or value is False or (value == 0 and not isinstance(value, bool))):
            message = f"pipeline input {name!r} is {value!r}, which the service may take for no value"
            yield Problem(given.place, "empty-value", message, True)


def optional_outside(node: CommandNode) -> Iterator[Problem]:
    """An optional input without a default stands inside ``$[[ ]]``."""
    component = node.component
    for reference, inside in references(component.command):
        spec = component.inputs.get(reference.name)
        if reference.kind is not Kind.INPUT or inside or spec is None or not spec.readable:
            continue
        if spec.optional and spec.default is None and reference.name not in node.inputs:
            message = f"{reference} is optional and may have no value; put it inside $[[ ]]"
            yield Problem(
                line_of(component.command_place, reference.pattern()),
                "optional-input",
                message,
                True,
            )
