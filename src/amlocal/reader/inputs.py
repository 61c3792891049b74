"""Declared inputs and outputs, and the values and references given to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from amlocal.reader.destination import read_destination
from amlocal.reader.expressions import Kind, Template, has_expression, references
from amlocal.reader.literals import coerce, fit
from amlocal.reader.model import (
    LITERAL_TYPES,
    PATH_TYPES,
    Binding,
    ExpressionBinding,
    InputSpec,
    LiteralBinding,
    OutputBinding,
    OutputSpec,
    UnresolvedBinding,
)
from amlocal.reader.resolve import read_data
from amlocal.reader.section import Report, Section, as_number, template
from amlocal.reader.source import Located, UnreadableError, plain

_ALL_TYPES = LITERAL_TYPES | PATH_TYPES

_OLD_TYPES = {"path": "uri_folder"}
"""Names from before the language was settled that azure-ai-ml still reads in components (``LegacyAssetTypes``)."""

_INPUT_MODES = ("download", "ro_mount", "direct")
_TABLE_MODES = (*_INPUT_MODES, "eval_mount", "eval_download")
_COMPONENT_MODES = (*_TABLE_MODES, "rw_mount", "mount", "upload", "link")
"""What azure-ai-ml takes for a component's inputs and outputs; outputs of jobs it narrows down by itself."""


def read_spec(name: str, node: Located, report: Report) -> InputSpec:
    """Read an input as a component declares it (``type``, ``optional``, ``default`` …)."""
    section = Section(node, f"input {name!r}", report)
    kind = _type(section, _ALL_TYPES)
    minimum = section.take("min")
    maximum = section.take("max")
    default = section.take("default")
    spec = InputSpec(
        name=name,
        place=node.place,
        type=kind,
        optional=section.boolean("optional"),
        minimum=None if minimum is None else as_number(minimum, "min"),
        maximum=None if maximum is None else as_number(maximum, "max"),
        enum=tuple(_enum_text(item, kind) for item in section.items("enum")),
    )
    section.skip("description")
    _check_mode(section, _COMPONENT_MODES)
    section.finish()
    spec = replace(spec, readable=section.readable)
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        report.problem(node.place, "range", f"input {name!r}: min {spec.minimum} is above max {spec.maximum}")
        spec = replace(spec, readable=False)
    if default is None:
        return spec
    try:
        value = fit(plain(default), spec)
    except ValueError as error:
        report.problem(default.place, "default", f"input {name!r}: {error}")
        return replace(spec, readable=False)
    return replace(spec, default=value)


def unreadable_spec(name: str, node: Located) -> InputSpec:
    """Stand in for an input whose declaration cannot be read."""
    return InputSpec(name, node.place, None, optional=True, readable=False)


def unreadable_given(name: str, node: Located) -> tuple[InputSpec, Binding | None]:
    """Stand in for an input whose value cannot be read."""
    return unreadable_spec(name, node), UnresolvedBinding("", node.place)


def unreadable_output(name: str, node: Located) -> tuple[OutputSpec, OutputBinding]:
    """Stand in for an output that cannot be read."""
    return OutputSpec(name, node.place, "uri_folder"), OutputBinding(node.place, None)


def read_specs(section: Section) -> dict[str, InputSpec]:
    """Read the inputs that a component declares."""
    return section.each("inputs", lambda key, node: read_spec(key, node, section.report), unreadable_spec)


def read_outputs(section: Section) -> dict[str, OutputSpec]:
    """Read the outputs that a component declares."""
    outputs = read_job_outputs(section)
    for key, spec in outputs.items():
        if spec.destination is not None:
            message = f"output {key!r} of a component takes no path, name or version; they belong where it is used"
            section.report.problem(spec.place, "unknown-key", message)
    return outputs


def read_job_outputs(section: Section) -> dict[str, OutputSpec]:
    """Read the outputs of a job."""
    found = section.each("outputs", lambda key, node: read_output(key, node, section.report), unreadable_output)
    return {key: spec for key, (spec, _) in found.items()}


def read_all_given(section: Section) -> dict[str, tuple[InputSpec, Binding | None]]:
    """Read the inputs that a job or node gives values to; see ``read_given``."""
    return section.each("inputs", lambda key, node: read_given(key, node, section.report), unreadable_given)


def _enum_text(item: Located, kind: str) -> str:
    try:
        return str(coerce(plain(item), kind)) if kind in LITERAL_TYPES else str(plain(item))
    except ValueError as error:
        raise UnreadableError(item.place, "type", f"enum: {error}") from None


def _type(section: Section, allowed: frozenset[str]) -> str:
    node = section.require("type")
    kind = _OLD_TYPES.get(str(node.value), str(node.value))
    if kind not in allowed:
        message = f"{section.what}: type {kind!r} is not known; expected one of {', '.join(sorted(allowed))}"
        raise UnreadableError(node.place, "type", message)
    return kind


def read_given(name: str, node: Located, report: Report) -> tuple[InputSpec, Binding | None]:
    """Read an input that a job or node gives a value: a literal, a reference or ``{type, path}``.

    Returns:
        What the value itself declares, and the binding; no binding when only a type or default is stated.
    """
    if not isinstance(node.value, dict):
        binding = _scalar(node)
        known = coerce_type(binding.value) if isinstance(binding, LiteralBinding) else None
        return InputSpec(name, node.place, known), binding
    if not {"path", "value"} & node.value.keys():
        return read_spec(name, node, report), None
    section = Section(node, f"input {name!r}", report)
    kind = section.text("type")
    if kind is not None and kind not in _ALL_TYPES:
        message = f"{section.what}: type {kind!r} is not known; expected one of {', '.join(sorted(_ALL_TYPES))}"
        raise UnreadableError(node.place, "type", message)
    value, path = section.take("value"), section.take("path")
    section.skip("description", "optional")
    _check_mode(section, _TABLE_MODES if kind in {None, "mltable"} else _INPUT_MODES)
    section.ignore("datastore", "path_on_compute", prefix="inputs ")
    section.finish()
    if value is not None:
        return InputSpec(name, node.place, kind), _scalar(value)
    if path is None:
        raise UnreadableError(node.place, "required", f"input {name!r} has an empty path")
    if has_expression(str(path.value)):
        parsed = template(path, str(path.value))
        if any(reference.kind is Kind.MACRO for reference, _ in references(parsed)):
            message = f"{path.value}: an input cannot be at an address that contains the job's own name"
            raise UnreadableError(path.place, "not-supported", message)
        return InputSpec(name, node.place, kind), ExpressionBinding(parsed, path.place)
    if kind in LITERAL_TYPES:
        message = f"input {name!r} is a {kind}, which takes a plain value and no path"
        raise UnreadableError(path.place, "type", message)
    found, data = read_data(path, kind, f"input {name!r}", report)
    return InputSpec(name, node.place, found), data


def _check_mode(section: Section, allowed: tuple[str, ...]) -> str | None:
    """Read ``mode``: in small letters, or as an expression; None where none is stated."""
    node = section.take("mode")
    if node is None:
        return None
    mode = str(node.value).lower()
    if has_expression(mode) or mode in allowed:
        return mode
    message = f"{section.what}: mode {plain(node)!r} is not known there; expected one of {', '.join(allowed)}"
    section.report.problem(node.place, "mode", message)
    return None


def coerce_type(value: object) -> str:
    """Name the Azure ML type of a plain value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _scalar(node: Located) -> LiteralBinding | ExpressionBinding:
    value = plain(node)
    if not isinstance(value, (str, bool, int, float)):
        # YAML 1.1 also reads dates, which Azure ML's inputs do not take.
        found = f"{type(value).__name__} {value!s}"
        message = f"expected text (in quotes), a number, a boolean or a reference, found {found}"
        raise UnreadableError(node.place, "type", message)
    if isinstance(value, str) and has_expression(value):
        return ExpressionBinding(template(node, value), node.place)
    return LiteralBinding(value, node.place)


def read_output(
    name: str, node: Located, report: Report, parents: Mapping[str, OutputSpec] | None = None
) -> tuple[OutputSpec, OutputBinding]:
    """Read an output of a component, node or job: ``{type, mode}`` or a reference to a pipeline output.

    Args:
        name: the output.
        node: what is stated about it.
        report: where ignored settings go.
        parents: the pipeline's outputs, whose type an output takes on that states none of its own.
    """
    place = node.place
    if isinstance(node.value, str):
        if has_expression(node.value):
            written = template(node, node.value)
            return OutputSpec(name, place, _parent_type(written, parents)), OutputBinding(place, written)
        raise UnreadableError(place, "type", f"output {name!r} must be a mapping or ${{{{parent.outputs.NAME}}}}")
    section = Section(node, f"output {name!r}", report)
    stated_type = section.text("type")
    kind = None if stated_type is None else _OLD_TYPES.get(stated_type, stated_type)
    if kind is not None and kind not in _ALL_TYPES:
        message = f"{section.what}: type {kind!r} is not known; expected one of {', '.join(sorted(PATH_TYPES))}"
        raise UnreadableError(place, "type", message)
    if kind in LITERAL_TYPES:
        message = f"output {name!r} is a {kind}, which only the service passes on; write it to a uri_file"
        report.unresolve(place, "not-on-this-machine", message)
    target, destination = read_destination(section, kind)
    section.skip("description", "early_available", "is_control")
    mode = _check_mode(section, _COMPONENT_MODES)
    section.finish()
    spec = OutputSpec(name, place, kind or _parent_type(target, parents), destination, mode)
    return spec, OutputBinding(place, target, destination, mode)


def _parent_type(target: Template | None, parents: Mapping[str, OutputSpec] | None) -> str:
    reference = target.reference if target is not None else None
    if reference is None or parents is None or reference.name not in parents:
        return "uri_folder"
    return parents[reference.name].type
