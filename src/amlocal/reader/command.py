"""Commands: component files, components written in place, and the command part of a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from amlocal.reader.distribution import read_distribution
from amlocal.reader.environment import read_environment
from amlocal.reader.expressions import Template
from amlocal.reader.inputs import read_outputs, read_specs
from amlocal.reader.machine import read_machine
from amlocal.reader.model import CodeSpec, CommandComponent, InputSpec, OutputSpec, Setting
from amlocal.reader.resolve import code_path
from amlocal.reader.section import RECORDED, Report, Section, template
from amlocal.reader.settings import read_setting
from amlocal.reader.source import Located, UnreadableError, plain


def read_component(node: Located, report: Report, default_name: str) -> CommandComponent:
    """Read a component of ``type: command``."""
    section = Section(node, "component", report)
    kind = section.text("type") or "command"
    if kind != "command":
        raise UnreadableError(section.place, "type", f"expected a command component, found type {kind!r}")
    section.skip("$schema", *RECORDED, "version", "latest_version", "display_name", "description", "tags", "properties")
    name = section.text("name") or default_name
    component = read_command(section, name, read_specs(section), read_outputs(section))
    section.finish()
    return component


def read_command(
    section: Section,
    name: str,
    inputs: Mapping[str, InputSpec],
    outputs: Mapping[str, OutputSpec],
) -> CommandComponent:
    """Read what a component, a node with a command and a command job have in common."""
    command = section.attempt(lambda: section.require("command")) or Located("", section.place)
    environment = section.take("environment")
    no_code = CodeSpec(None, (), section.place)
    component = CommandComponent(
        name=name,
        place=section.place,
        command=section.attempt(lambda: template(command, str(command.value))) or Template("", ()),
        command_place=command.place,
        inputs=inputs,
        outputs=outputs,
        code=section.attempt(lambda: read_code(section)) or no_code,
        environment=section.attempt(lambda: read_environment(environment, section.report)) if environment else None,
        environment_variables=section.attempt(lambda: read_variables(section)) or {},
        deterministic=section.attempt(lambda: section.boolean("is_deterministic", default=True)) is not False,
        timeout=section.attempt(lambda: read_timeout(section)),
        distribution=section.attempt(lambda: read_distribution(section)),
        instance_count=section.attempt(lambda: read_machine(section)),
    )
    return dataclasses.replace(component, readable=section.readable)


def read_code(section: Section) -> CodeSpec:
    """Read ``code`` and ``additional_includes``; both must exist.

    Raises:
        UnreadableError: when a file or folder is missing.
    """
    node = section.take("code")
    root = None if node is None else code_path(node, "code", section.report)
    stated = [code_path(item, "additional_includes", section.report) for item in section.items("additional_includes")]
    includes = tuple(path for path in stated if path is not None)
    complete = (node is None or root is not None) and len(includes) == len(stated)
    return CodeSpec(root, includes, section.place if node is None else node.place, complete)


def read_variables(section: Section) -> dict[str, Template]:
    """Read ``environment_variables``; values may refer to inputs."""
    result: dict[str, Template] = {}
    for key, node in section.entries("environment_variables").items():
        value = plain(node)
        if isinstance(value, (dict, list)):
            raise UnreadableError(node.place, "type", f"environment variable {key} must be text, found {value!r}")
        result[key] = template(node, "" if value is None else str(value))
    return result


def read_timeout(section: Section) -> Setting | None:
    """Read ``limits.timeout`` in seconds."""
    limits = section.section("limits")
    timeout = read_setting(limits, "timeout", 1)
    limits.finish()
    return timeout
