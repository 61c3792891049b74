"""Commands: component files, components written in place, and the command part of a job."""

from __future__ import annotations

from collections.abc import Mapping

from amlocal.reader.environment import read_environment
from amlocal.reader.expressions import Template
from amlocal.reader.inputs import read_output, read_spec
from amlocal.reader.model import CodeSpec, CommandComponent, InputSpec, OutputSpec
from amlocal.reader.resolve import code_path
from amlocal.reader.section import Report, Section, template
from amlocal.reader.source import Located, UnreadableError, plain

RESOURCES = ("instance_type", "shm_size", "docker_args", "properties", "locations", "max_instance_count")


def read_component(node: Located, report: Report, default_name: str) -> CommandComponent:
    """Read a component of ``type: command``."""
    section = Section(node, "component", report)
    kind = section.text("type") or "command"
    if kind != "command":
        raise UnreadableError(section.place, "type", f"expected a command component, found type {kind!r}")
    section.skip("$schema", "version", "display_name", "description", "tags", "properties", "id")
    name = section.text("name") or default_name
    inputs = {key: read_spec(key, value, report) for key, value in section.entries("inputs").items()}
    outputs = {key: read_output(key, value, report)[0] for key, value in section.entries("outputs").items()}
    component = read_command(section, name, inputs, outputs)
    section.finish()
    return component


def read_command(
    section: Section,
    name: str,
    inputs: Mapping[str, InputSpec],
    outputs: Mapping[str, OutputSpec],
) -> CommandComponent:
    """Read what a component, a node with a command and a command job have in common."""
    command = section.require("command")
    environment = section.take("environment")
    code = read_code(section)
    ignore_machine(section)
    return CommandComponent(
        name=name,
        place=section.place,
        command=template(command, str(command.value)),
        command_place=command.place,
        inputs=inputs,
        outputs=outputs,
        code=code,
        environment=None if environment is None else read_environment(environment, section.report),
        environment_variables=read_variables(section),
        deterministic=section.boolean("is_deterministic", default=True),
        timeout=read_timeout(section),
    )


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


def read_timeout(section: Section) -> int | None:
    """Read ``limits.timeout`` in seconds."""
    limits = section.section("limits")
    timeout = limits.integer("timeout", minimum=1)
    limits.finish()
    return timeout


def ignore_machine(section: Section) -> None:
    """Pass over what describes a cluster; refuse what would change the result when passed over."""
    section.ignore("compute", "identity", "services", "queue_settings", "priority")
    resources = section.section("resources")
    resources.ignore(*RESOURCES, prefix="resources ")
    count = resources.take("instance_count")
    if count is not None:
        resources.report.ignore("resources instance_count", count.place)
    resources.finish()
    distribution = section.take("distribution")
    if distribution is not None:
        raise UnreadableError(distribution.place, "not-supported", "distribution is not supported yet")
