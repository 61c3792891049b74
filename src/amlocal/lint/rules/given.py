"""What jobs and nodes say about the inputs that they give values to."""

from __future__ import annotations

from collections.abc import Iterator

from amlocal.lint.rule import Document
from amlocal.lint.rules.document import child
from amlocal.reader.model import LITERAL_TYPES
from amlocal.reader.source import Located, Problem, plain

# azure-ai-ml's input schema of a job has none of these.
_DECLARATIONS = ("default", "optional", "enum", "min", "max")
_NODE_TYPES = (None, "command", "sweep", "pipeline", "parallel", "spark")


def job_inputs(document: Document) -> Iterator[Problem]:
    """A job or node gives its inputs values; what they may be is declared by components."""
    yield from _check(document.root, "a job")
    nodes = child(document.root, "jobs")
    for name, node in nodes.value.items() if nodes is not None and isinstance(nodes.value, dict) else ():
        stated = child(node, "type")
        if (None if stated is None else stated.value) in _NODE_TYPES:
            yield from _check(node, f"node {name!r}")


def _check(owner: Located, what: str) -> Iterator[Problem]:
    inputs = child(owner, "inputs")
    for name, node in inputs.value.items() if inputs is not None and isinstance(inputs.value, dict) else ():
        if not isinstance(node.value, dict):
            continue
        declared = next((key for key in _DECLARATIONS if child(node, key) is not None), None)
        kind = child(node, "type")
        literal = kind is not None and str(kind.value).lower() in LITERAL_TYPES
        value = child(node, "value") or child(node, "default")  # without one, the reader says what is missing
        example = "VALUE" if value is None or isinstance(value.value, dict | list) else plain(value)
        if declared is not None:
            place = node.value[declared].place
            expected = f"write {name}: {example}" if child(node, "path") is None else "leave it out"
            message = f"input {name!r} of {what}: only a component declares {declared!r}; {expected}"
            yield Problem(place, "job-input", message)
        elif literal and kind is not None and child(node, "value") is not None:
            message = f"input {name!r} of {what}: {kind.value} values are given plainly; write {name}: {example}"
            yield Problem(kind.place, "job-input", message)
