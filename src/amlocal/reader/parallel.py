"""Components of ``type: parallel``: a script that is called with one mini batch of its input after the other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from amlocal.reader.bind import Scope, Source
from amlocal.reader.command import read_code, read_variables
from amlocal.reader.environment import read_environment
from amlocal.reader.expressions import Template, has_expression
from amlocal.reader.inputs import read_outputs, read_specs
from amlocal.reader.machine import read_machine
from amlocal.reader.model import CodeSpec, CommandComponent, InputSpec, OutputSpec, ParallelSpec, Setting
from amlocal.reader.section import Report, Section, template
from amlocal.reader.settings import number, read_setting, value_of
from amlocal.reader.source import Located, Place, UnreadableError, plain, shown

PARALLEL_KEYS = (
    "task",
    "input_data",
    "mini_batch_size",
    "partition_keys",
    "mini_batch_error_threshold",
    "error_threshold",
    "max_concurrency_per_instance",
    "retry_settings",
    "logging_level",
    "resources",
    "environment",
    "environment_variables",
    "identity",
    "compute",
)
"""What a node may state beside its component; it replaces what the component states."""

_MEANINGLESS_ARGUMENTS = (
    "--progress_update_timeout",
    "--copy_logs_to_parent",
    "--metrics_name_prefix",
    "--push_metrics_to_parent",
    "--resource_monitor_interval",
)
_LEVELS = ("DEBUG", "INFO", "WARNING")
_SIZE = re.compile(r"(\d+)([kmg]b)?", re.IGNORECASE)
_UNITS = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}
_MAX_TIMEOUT = 259200


@dataclass(frozen=True)
class MiniBatchSize:
    """How much is in a mini batch.

    Attributes:
        number: files, or bytes.
        stated_in_bytes: it was given with a unit.
    """

    number: int
    stated_in_bytes: bool


@dataclass(frozen=True)
class MiniBatches:
    """How an input is split and worked on, with every number known.

    Attributes:
        input: the input that is split.
        size: None for the default of its kind.
        workers: processes that work on mini batches at the same time; None for one per core.
        mini_batch_error_threshold: mini batches that may fail; -1 for any number.
        error_threshold: items that may fail; -1 for any number.
        max_retries: how often a mini batch is tried again.
        timeout: seconds that one call of ``run()`` may take.
    """

    input: str
    size: MiniBatchSize | None
    workers: int | None
    mini_batch_error_threshold: int
    error_threshold: int
    max_retries: int
    timeout: int


def read_parallel_component(
    definition: Located, overrides: Mapping[str, Located], report: Report, default_name: str
) -> CommandComponent:
    """Read a component of ``type: parallel``.

    Args:
        definition: the component.
        overrides: what the node states in its place.
        report: where problems go.
        default_name: its name unless it states one.
    """
    merged = Located({**(definition.value or {}), **overrides}, definition.place)
    section = Section(merged, "parallel component", report)
    section.skip("$schema", "type", "version", "display_name", "description", "tags", "properties", "id")
    name = section.text("name") or default_name
    component = read_parallel(section, name, read_specs(section), read_outputs(section))
    section.finish()
    return component


def read_parallel(
    section: Section, name: str, inputs: Mapping[str, InputSpec], outputs: Mapping[str, OutputSpec]
) -> CommandComponent:
    """Read what a parallel component and a parallel node written in place have in common.

    Raises:
        UnreadableError: when the task is missing or of a kind that cannot be run here.
    """
    keys = section.take("partition_keys")
    if keys is not None:
        message = "partition_keys need a partitioned data set of Azure's; use mini_batch_size on this machine"
        section.report.unresolve(keys.place, "not-on-this-machine", message)
    environment = section.take("environment")
    task = section.section("task", "task")
    kind = _task_type(task)
    environment = task.take("environment") or environment
    code = section.attempt(lambda: read_code(task)) or CodeSpec(None, (), task.place)
    spec = _spec(section, task, code, scripted=kind != "model")
    task.finish()
    text = f"python {spec.entry_script} {spec.arguments.text}"
    component = CommandComponent(
        name=name,
        place=section.place,
        command=Template(text, (f"python {spec.entry_script} ", *spec.arguments.parts)),
        command_place=spec.arguments_place,
        inputs=inputs,
        outputs=outputs,
        code=code,
        environment=section.attempt(lambda: read_environment(environment, section.report)) if environment else None,
        environment_variables=section.attempt(lambda: read_variables(section)) or {},
        deterministic=section.attempt(lambda: section.boolean("is_deterministic", default=True)) is not False,
        instance_count=section.attempt(lambda: read_machine(section)),
        parallel=spec,
    )
    return dataclasses.replace(component, readable=section.readable and task.readable)


def _task_type(task: Section) -> str:
    stated = task.require("type")
    kind = str(stated.value).lower()
    if kind == "model":
        message = "a parallel task of type model is run by the service; give it a script (type: run_function)"
        task.report.unresolve(stated.place, "not-on-this-machine", message)
    elif kind not in {"run_function", "function"}:
        raise UnreadableError(stated.place, "type", f"task type must be run_function, found {stated.value!r}")
    return kind


def _spec(section: Section, task: Section, code: CodeSpec, *, scripted: bool) -> ParallelSpec:
    script = task.require("entry_script") if scripted else Located("", task.place)
    if scripted:
        task.attempt(lambda: _script_exists(script, code))
    else:
        task.skip("entry_script")
    arguments = task.take("program_arguments") or task.take("args")  # the name in older examples
    for name in _MEANINGLESS_ARGUMENTS:
        if arguments is not None and re.search(rf"{name}\b", str(plain(arguments))):
            section.report.ignore(f"program_arguments {name}", arguments.place)
    append, data = task.take("append_row_to"), section.require("input_data")
    task.skip("model")
    retries = section.section("retry_settings")
    level = section.attempt(lambda: _level(section)) or "INFO"
    spec = ParallelSpec(
        place=section.place,
        entry_script=str(plain(script)),
        arguments=Template("", ()) if arguments is None else template(arguments, str(plain(arguments))),
        arguments_place=script.place if arguments is None else arguments.place,
        input_data=template(data, str(plain(data))),
        input_data_place=data.place,
        append_row_to=None if append is None else template(append, str(plain(append))),
        append_row_to_place=None if append is None else append.place,
        logging_level=level,
        mini_batch_size=section.attempt(lambda: _read_size(section)),
        mini_batch_error_threshold=section.attempt(lambda: read_setting(section, "mini_batch_error_threshold", -1)),
        error_threshold=section.attempt(lambda: read_setting(section, "error_threshold", -1)),
        max_concurrency_per_instance=section.attempt(lambda: read_setting(section, "max_concurrency_per_instance", 1)),
        max_retries=section.attempt(lambda: read_setting(retries, "max_retries", 0)),
        timeout=section.attempt(lambda: read_setting(retries, "timeout", 1)),
    )
    retries.finish()
    return spec


def _script_exists(script: Located, code: CodeSpec) -> None:
    name = str(plain(script))
    candidates = [] if code.root is None else [code.root if code.root.is_file() else code.root / name]
    candidates += [path if path.name == name else path.parent / name for path in code.includes]
    if code.complete and not any(path.is_file() for path in candidates):
        where = "there is no code folder" if code.root is None else f"{shown(code.root)} does not hold it"
        raise UnreadableError(script.place, "missing-file", f"entry_script {name}: {where}")


def _level(section: Section) -> str | None:
    node = section.take("logging_level")
    if node is not None and node.value not in _LEVELS:
        message = f"logging_level must be one of {', '.join(_LEVELS)}, found {plain(node)!r}"
        raise UnreadableError(node.place, "type", message)
    return None if node is None else str(node.value)


def _read_size(section: Section) -> Setting | None:
    node = section.take("mini_batch_size")
    if node is None:
        return None
    if isinstance(node.value, str) and has_expression(node.value):
        return Setting("mini_batch_size", node.place, template(node, node.value), 1)
    setting = Setting("mini_batch_size", node.place, str(plain(node)), 1)
    parse_size(setting.place, str(plain(node)))
    return setting


def parse_size(place: Place, text: str) -> MiniBatchSize:
    """Read a size as azure-ai-ml does.

    Raises:
        UnreadableError: for anything but a number above 0, with or without a unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UnreadableError(place, "type", f"mini_batch_size must be like 10, 100kb, 10mb or 1gb, found {text!r}")
    if int(match[1]) == 0:
        raise UnreadableError(place, "range", f"mini_batch_size must be above 0, found {text!r}")
    unit = (match[2] or "").lower()
    return MiniBatchSize(int(match[1]) * _UNITS.get(unit, 1), bool(unit))


def mini_batches_of(
    component: CommandComponent, scope: Scope | None, inputs: Mapping[str, Source]
) -> MiniBatches | None:
    """Work out the numbers of a parallel component; None for a command.

    Raises:
        UnreadableError: when one is not known before the job runs or out of range.
    """
    spec = component.parallel
    if spec is None:
        return None
    size, per_instance = spec.mini_batch_size, spec.max_concurrency_per_instance
    workers = None
    if per_instance is not None:
        instances = number(component.instance_count, 1, scope, inputs)
        workers = instances * number(per_instance, 1, scope, inputs)
    timeout = number(spec.timeout, 60, scope, inputs)
    if timeout > _MAX_TIMEOUT and spec.timeout is not None:
        message = f"timeout must be at most {_MAX_TIMEOUT} seconds, found {timeout}"
        raise UnreadableError(spec.timeout.place, "range", message)
    reference = spec.input_data.reference
    return MiniBatches(
        input="" if reference is None else reference.name,
        size=None if size is None else parse_size(size.place, str(value_of(size, scope, inputs))),
        workers=workers,
        mini_batch_error_threshold=number(spec.mini_batch_error_threshold, -1, scope, inputs),
        error_threshold=number(spec.error_threshold, -1, scope, inputs),
        max_retries=number(spec.max_retries, 2, scope, inputs),
        timeout=timeout,
    )
