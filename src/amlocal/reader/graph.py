"""Pipelines: their nodes, and the components these name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amlocal.reader.automl import read_automl
from amlocal.reader.command import read_command, read_component, read_timeout, read_variables
from amlocal.reader.distribution import read_distribution
from amlocal.reader.elsewhere import is_elsewhere, note_elsewhere
from amlocal.reader.environment import read_environment
from amlocal.reader.inputs import read_all_given, read_output, read_outputs, read_specs, unreadable_output
from amlocal.reader.machine import read_machine
from amlocal.reader.model import (
    ARTIFACTS,
    Binding,
    CommandComponent,
    CommandNode,
    Graph,
    InputSpec,
    Node,
    OutputBinding,
    OutputSpec,
    PipelineNode,
    UnresolvedNode,
)
from amlocal.reader.parallel import PARALLEL_KEYS, read_parallel, read_parallel_component
from amlocal.reader.resolve import component_file
from amlocal.reader.section import RECORDED, Report, Section
from amlocal.reader.source import Located, UnreadableError, load, plain, shown
from amlocal.reader.sweep import read_sweep

_NODE_TYPES = ("automl", "command", "parallel", "pipeline", "sweep")
COMPONENT_TYPES = ("command", "parallel", "pipeline")
_PARENT_INPUT = re.compile(r"parent\.inputs\.([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)")
_PIPELINE_COMPONENT_KEYS = ("$schema", *RECORDED, "version", "display_name", "description", "tags", "properties")


def read_nodes(section: Section, outputs: Mapping[str, OutputSpec], open_files: tuple[Path, ...]) -> dict[str, Node]:
    """Read ``jobs``. A node that cannot be read becomes a problem, and reading goes on with the next.

    Args:
        section: the pipeline job or component.
        outputs: what it declares as outputs.
        open_files: the component files being read, to notice one that contains itself.
    """
    jobs = section.entries("jobs")
    if not jobs:
        raise UnreadableError(section.place, "required", f"{section.what} needs at least one node under 'jobs'")
    nodes: dict[str, Node] = {}
    for name, node in jobs.items():
        try:
            nodes[name] = _node(name, node, section.report, outputs, open_files)
        except UnreadableError as error:
            section.failed(error)
            nodes[name] = UnresolvedNode(name, node.place, "", {}, {})
    return nodes


def mentioned_inputs(section: Section) -> frozenset[str]:
    """Name the inputs that anything below ``jobs`` refers to, such as a node's compute."""
    return frozenset(name for text in section.texts("jobs") for name in _PARENT_INPUT.findall(text))


def read_graph_component(node: Located, report: Report, name: str, open_files: tuple[Path, ...]) -> Graph:
    """Read a component of ``type: pipeline``."""
    section = Section(node, "pipeline component", report)
    section.skip(*_PIPELINE_COMPONENT_KEYS, "type")
    section.ignore("is_deterministic", prefix="pipeline component ")
    outputs = read_outputs(section)
    inputs = read_specs(section)
    mentioned = mentioned_inputs(section)
    nodes = read_nodes(section, outputs, open_files)
    graph = Graph(section.text("name") or name, node.place, inputs, outputs, nodes, mentioned)
    section.finish()
    return graph


@dataclass(frozen=True)
class FoundComponent:
    """A component's definition.

    Attributes:
        name: the one it has unless it states another.
        open_files: the component files being read, this one included.
    """

    definition: Located
    name: str
    open_files: tuple[Path, ...]


def resolve_component(node: Located, open_files: tuple[Path, ...], report: Report) -> FoundComponent | None:
    """Find a component: written in place, in a file of its own, or registered.

    Returns:
        Where it is; None when it is not on this machine, which the report then says.

    Raises:
        UnreadableError: when its file is missing or contains itself.
    """
    if isinstance(node.value, dict):
        return FoundComponent(node, "inline component", open_files)
    path = component_file(node, report)
    if path is None:
        return None
    if path in open_files:
        raise UnreadableError(node.place, "cycle", f"component file {shown(path)} contains itself")
    return FoundComponent(load(path), path.stem, (*open_files, path))


def _node(
    name: str,
    node: Located,
    report: Report,
    parents: Mapping[str, OutputSpec],
    open_files: tuple[Path, ...],
) -> Node:
    section = Section(node, f"node {name!r}", report)
    kind_node = section.take("type")
    kind = None if kind_node is None else str(kind_node.value)
    if kind is not None and kind not in _NODE_TYPES and not is_elsewhere(kind):
        message = f"node {name!r}: there is no type {kind!r}; supported: {', '.join(_NODE_TYPES)}"
        raise UnreadableError(section.place, "type", message)
    if kind == "automl":
        return read_automl(name, section, parents)[0]
    section.skip("$schema", *RECORDED, "name", "display_name", "description", "tags", "properties")
    section.skip("comment", "experiment_name")
    section.drop_empty("inputs")
    given = read_all_given(section)
    written = section.each("outputs", lambda key, value: read_output(key, value, report, parents), unreadable_output)
    inputs = {key: binding for key, (_, binding) in given.items() if binding is not None}
    outputs = {key: binding for key, (_, binding) in written.items()}
    if kind is not None and is_elsewhere(kind):
        reference = section.look("component")
        if reference is not None and isinstance(reference.value, str):
            component_file(reference, Report(report.assets, report.mappings, report.used_mappings))
        note_elsewhere(f"node {name!r}", kind, _NODE_TYPES, section.place, report)
        section.skip_rest()
        return UnresolvedNode(name, section.place, kind, inputs, outputs)
    if kind == "sweep":
        return _sweep_node(name, section, inputs, outputs, open_files)
    if section.has("component"):
        return _component_node(name, kind, section, inputs, outputs, open_files)
    if kind == "pipeline":
        raise UnreadableError(section.place, "required", f"node {name!r} of type pipeline needs 'component'")
    specs = {key: spec for key, (spec, _) in given.items()}
    output_specs = {key: spec for key, (spec, _) in written.items() if key != ARTIFACTS}
    read = read_parallel if kind == "parallel" else read_command
    component = read(section, name, specs, output_specs)
    section.finish()
    return CommandNode(name, section.place, component, inputs, outputs)


def _component_node(
    name: str,
    kind: str | None,
    section: Section,
    inputs: Mapping[str, Binding],
    outputs: Mapping[str, OutputBinding],
    open_files: tuple[Path, ...],
) -> Node:
    reference = section.require("component")
    found = resolve_component(reference, open_files, section.report)
    if found is None:
        section.skip_rest()
        return UnresolvedNode(name, section.place, str(plain(reference)), inputs, outputs)
    component_type = type_of_component(found.definition)
    if is_elsewhere(component_type):
        what = f"node {name!r}: its component"
        note_elsewhere(what, component_type, COMPONENT_TYPES, reference.place, section.report)
        section.skip_rest()
        return UnresolvedNode(name, section.place, str(plain(reference)), inputs, outputs)
    if component_type not in COMPONENT_TYPES:
        message = f"node {name!r}: there is no component type {component_type!r}; {', '.join(COMPONENT_TYPES)}"
        raise UnreadableError(reference.place, "type", message)
    if kind is not None and kind != component_type:
        message = f"node {name!r} is of type {kind} and its component of type {component_type}"
        raise UnreadableError(reference.place, "type", message)
    if component_type == "pipeline":
        section.ignore("compute")
        settings = section.section("settings")
        force_rerun = settings.boolean("force_rerun")
        settings.ignore("default_compute", "default_datastore", "continue_on_step_failure", prefix="settings ")
        settings.finish()
        graph = read_graph_component(found.definition, section.report, found.name, found.open_files)
        section.finish()
        return PipelineNode(name, section.place, graph, inputs, outputs, force_rerun)
    if component_type == "parallel":
        stated = {key: value for key in PARALLEL_KEYS if (value := section.take(key)) is not None}
        component = read_parallel_component(found.definition, stated, section.report, found.name)
        section.finish()
        return CommandNode(name, section.place, component, inputs, outputs)
    component = read_component(found.definition, section.report, found.name)
    environment = section.take("environment")
    if environment is not None:
        component = dataclasses.replace(component, environment=read_environment(environment, section.report))
    instances, distribution = read_machine(section), read_distribution(section)
    component = dataclasses.replace(
        component,
        environment_variables={**component.environment_variables, **read_variables(section)},
        timeout=read_timeout(section) or component.timeout,
        distribution=distribution or component.distribution,
        instance_count=instances or component.instance_count,
    )
    section.finish()
    return CommandNode(name, section.place, component, inputs, outputs)


def type_of_component(definition: Located) -> str:
    """Tell what type a component is of, also when it does not say.

    Raises:
        UnreadableError: when it is no mapping.
    """
    if not isinstance(definition.value, dict):
        raise UnreadableError(definition.place, "type", "a component must be a mapping")
    kind = definition.value.get("type")
    if kind is not None:
        return str(kind.value)
    return "pipeline" if "jobs" in definition.value else "command"


def _sweep_node(
    name: str,
    section: Section,
    inputs: Mapping[str, Binding],
    outputs: Mapping[str, OutputBinding],
    open_files: tuple[Path, ...],
) -> CommandNode | UnresolvedNode:
    reference = section.require("trial")
    found = resolve_component(reference, open_files, section.report)
    if found is None:
        section.skip_rest()
        return UnresolvedNode(name, section.place, str(plain(reference)), inputs, outputs)
    trial = read_component(found.definition, section.report, found.name)
    sweep = read_sweep(section)
    trial = with_instances(trial, section)
    section.finish()
    return CommandNode(name, section.place, trial, inputs, outputs, sweep)


def with_instances(trial: CommandComponent, section: Section) -> CommandComponent:
    """Let a sweep's own ``resources`` say how many instances each trial takes."""
    return dataclasses.replace(trial, instance_count=read_machine(section) or trial.instance_count)


def lone_node(
    name: str,
    section: Section,
    component: CommandComponent,
    inputs: Mapping[str, Binding],
    sweep_section: Section | None,
) -> Graph:
    """Wrap a standalone command or sweep job as a graph of one node, whose outputs are the job's."""
    sweep = None if sweep_section is None else read_sweep(sweep_section)
    node = CommandNode(name, section.place, component, inputs, {}, sweep)
    no_inputs: dict[str, InputSpec] = {}
    outputs: Mapping[str, OutputSpec] = component.outputs
    return Graph(name, section.place, no_inputs, outputs, {name: node})
