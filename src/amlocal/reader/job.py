"""The reader's front door: a job file in, a checked job out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import DEFAULT_DATASTORE
from amlocal.reader.assets import Assets, NoAssets, UriMapping
from amlocal.reader.automl import read_automl
from amlocal.reader.check import unused
from amlocal.reader.command import read_command
from amlocal.reader.elsewhere import is_elsewhere, note_elsewhere
from amlocal.reader.graph import lone_node, mentioned_inputs, read_nodes, resolve_component, with_instances
from amlocal.reader.inputs import read_all_given, read_job_outputs, read_outputs, read_specs
from amlocal.reader.model import Binding, Graph, InputSpec, Job, Settings, UnresolvedNode
from amlocal.reader.section import RECORDED, Report, Section
from amlocal.reader.source import InvalidJobError, Located, Problem, UnreadableError, load, override, plain, shown

_TYPES = ("pipeline", "command", "sweep", "automl")


def read_job(
    path: Path,
    overrides: Sequence[str] = (),
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> Job:
    """Read an Azure ML v2 job file.

    Args:
        path: the YAML of a pipeline, command, sweep or automl job.
        overrides: ``--set`` texts, as ``inputs.epochs=2``.
        assets: what is registered on this machine; nothing by default.
        mappings: local paths that stand in for addresses.

    Returns:
        The job; ``plan.make_plan`` checks how its parts fit together. What is not on this machine is in its
        ``unresolved``.

    Raises:
        InvalidJobError: with every problem found, each with file and line.
        AmlocalError: for a mapping of something that the job does not name.
    """
    job, problems = examine_job(path, overrides, assets, mappings)
    if job is None or problems:
        raise InvalidJobError(problems)
    return job


def examine_job(
    path: Path,
    overrides: Sequence[str] = (),
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> tuple[Job | None, list[Problem]]:
    """Read as much of a job file as can be read.

    Returns:
        The job without what cannot be read (None when that is all of it), and the problems.

    Raises:
        AmlocalError: for a ``--set`` that cannot be applied, or a mapping of something that the job does not name.
    """
    report = Report(assets or NoAssets(), tuple(mappings))
    try:
        root = override(load(path.resolve()), overrides)
        job = _job(root, path.resolve(), report)
    except UnreadableError as error:
        return None, [*report.problems, error.problem]
    for mapping in mappings:
        if mapping.uri not in report.used_mappings and not report.problems:
            raise AmlocalError(f"--map {mapping.option}: nothing in {shown(path)} names {mapping.uri}")
    return job, report.problems


def _job(root: Located, path: Path, report: Report) -> Job:
    section = Section(root, "job", report)
    kind = section.text("type")
    if kind is None:
        kind = "pipeline" if section.has("jobs") else "command"
    if kind == "parallel":
        message = "a parallel job runs only as a node of a pipeline"
        raise UnreadableError(section.place, "type", message)
    if kind not in _TYPES and not is_elsewhere(kind):
        message = f"there is no job type {kind!r}; supported: {', '.join(_TYPES)}"
        raise UnreadableError(section.place, "type", message)
    schema = section.text("$schema") or ""
    is_component = section.has("version") or "Component.schema" in schema
    section.skip(*RECORDED, "description", "properties", "version")
    name, display_name = section.text("name"), section.text("display_name")
    experiment_name = section.text("experiment_name")
    tags = {key: str(plain(node)) for key, node in section.entries("tags").items()}
    label = name or path.stem
    if is_elsewhere(kind):
        note_elsewhere("the job", kind, _TYPES, section.place, report)
        section.skip_rest()
        node = UnresolvedNode(kind, section.place, kind, {}, {})
        graph = Graph(label, section.place, {}, {}, {kind: node})
        inputs, settings = dict[str, Binding](), Settings()
    elif kind == "pipeline":
        graph, inputs, settings = _pipeline(section, label, path)
    else:
        graph, inputs, settings = _lone(section, kind, label), {}, Settings()
    section.finish()
    if kind == "pipeline" and graph.nodes:
        for setting, place in unused(graph):
            report.ignore(setting, place)
    return Job(
        kind=kind,
        file=path,
        name=None if is_component else name,  # a component's name is no job's: it runs more than once
        display_name=display_name,
        experiment_name=experiment_name,
        graph=graph,
        inputs=inputs,
        settings=settings,
        tags=tags,
        ignored=dict(report.ignored),
        unresolved=tuple(report.unresolved),
    )


def _pipeline(section: Section, label: str, path: Path) -> tuple[Graph, dict[str, Binding], Settings]:
    report = section.report
    section.ignore("compute", "identity", "services", "is_deterministic")
    stated = section.section("settings")
    datastore = (stated.text("default_datastore") or DEFAULT_DATASTORE).rpartition("/")[2].removeprefix("azureml:")
    settings = Settings(stated.boolean("continue_on_step_failure"), stated.boolean("force_rerun"), datastore)
    # Public pipelines state the last two; azure-ai-ml passes them on and Azure ML gives them no meaning.
    stated.ignore("default_compute", "is_deterministic", "environment", prefix="settings ")
    stated.finish()
    given = read_all_given(section)
    outputs = read_job_outputs(section)
    specs = {key: spec for key, (spec, _) in given.items()}
    body = section
    open_files: tuple[Path, ...] = (path,)
    reference = section.take("component")
    if reference is not None:
        found = resolve_component(reference, open_files, report)
        if found is None:
            return Graph(label, section.place, specs, outputs, {}), _bindings(given), settings
        open_files = found.open_files
        body = Section(found.definition, "pipeline component", report)
        body.skip("$schema", "name", "version", "display_name", "description", "tags", "properties", "type")
        body.skip("is_deterministic")
        specs = read_specs(body)
        outputs = {**read_outputs(body), **outputs}
        _undeclared(given, specs, report)
    mentioned = mentioned_inputs(body)
    graph = Graph(label, section.place, specs, outputs, read_nodes(body, outputs, open_files), mentioned)
    if body is not section:
        body.finish()
    return graph, _bindings(given), settings


def _bindings(given: dict[str, tuple[InputSpec, Binding | None]]) -> dict[str, Binding]:
    return {key: binding for key, (_, binding) in given.items() if binding is not None}


def _undeclared(
    given: dict[str, tuple[InputSpec, Binding | None]], specs: dict[str, InputSpec], report: Report
) -> None:
    for key, (spec, _) in given.items():
        if key not in specs:
            message = f"input {key!r} is not declared by the component; it declares {', '.join(specs) or 'none'}"
            report.problem(spec.place, "undeclared-input", message)


def _lone(section: Section, kind: str, label: str) -> Graph:
    report = section.report
    if kind == "automl":
        automl, declared = read_automl("automl", section, None)
        return Graph(label, section.place, {}, declared, {"automl": automl})
    given = read_all_given(section)
    specs = {key: spec for key, (spec, _) in given.items()}
    outputs = read_job_outputs(section)
    inputs = _bindings(given)
    if kind == "command":
        component = read_command(section, label, specs, outputs)
        return lone_node("command", section, component, inputs, None)
    trial_node = section.require("trial")
    found = resolve_component(trial_node, (), report)
    if found is None:
        section.skip_rest()
        node = UnresolvedNode("sweep", section.place, str(plain(trial_node)), inputs, {})
        return Graph(label, section.place, {}, outputs, {"sweep": node})
    trial = Section(found.definition, "trial", report)
    trial.skip("$schema", "type", "name", "version", "display_name", "description")
    component = read_command(trial, label, specs, outputs)
    trial.finish()
    return lone_node("sweep", section, with_instances(component, section), inputs, section)
