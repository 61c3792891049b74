"""A step together with the scripts that its command starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from difflib import get_close_matches

from amlocal.lint.script.arguments import Interface, interface
from amlocal.lint.script.call import Misfit, misfits_of
from amlocal.lint.script.modules import Module, Sources
from amlocal.lint.script.shell import Invocation, invocations
from amlocal.reader.expressions import Kind, Reference
from amlocal.reader.model import CommandComponent, LiteralBinding
from amlocal.reader.plan import Step

# What the driver of a parallel component takes out of its arguments ("parallel job program_arguments").
_DRIVER_ARGUMENTS = frozenset(
    {"--progress_update_timeout", "--copy_logs_to_parent", "--metrics_name_prefix", "--push_metrics_to_parent"}
    | {"--resource_monitor_interval", "--allowed_failed_count", "--allowed_failed_percent", "--task_overhead_timeout"}
    | {"--first_task_creation_timeout", "--node_count", "--process_count_per_node", "--logging_level"}
    | {"--mini_batch_size", "--error_threshold", "--output", "--append_row_file_name", "--run_invocation_timeout"}
    | {"--append_row_dataframe_header", "--run_max_try", "--create_snapshot_at_runtime", "--scoring_module_name"}
)


@dataclass(frozen=True)
class ScriptCall:
    """A script being started.

    Attributes:
        module: its source; None when it is not in the working directory or no Python.
        interface: the arguments it takes; None when that cannot be seen.
    """

    invocation: Invocation
    module: Module | None
    interface: Interface | None


@dataclass(frozen=True)
class ScriptedStep:
    """A step, the files in its working directory, the scripts it starts and what they would refuse."""

    step: Step
    sources: Sources
    calls: tuple[ScriptCall, ...]
    misfits: tuple[tuple[ScriptCall, Misfit], ...]


def scripted(steps: Sequence[Step]) -> Iterator[ScriptedStep]:
    """Look at the scripts of steps; each working directory, command and set of values is looked at once.

    Left out are steps whose component could not be read whole, or whose code is not on this machine.
    """
    sources: dict[tuple[object, ...], Sources] = {}
    calls: dict[tuple[object, ...], tuple[ScriptCall, ...]] = {}
    misfits: dict[tuple[object, ...], tuple[tuple[ScriptCall, Misfit], ...]] = {}
    for step in steps:
        component = step.node.component
        if not component.readable or not component.code.complete:
            continue
        code = (component.code.root, component.code.includes)
        found = sources.setdefault(code, Sources(component.code))
        command = (*code, component.command, component.parallel is not None)
        if command not in calls:
            calls[command] = tuple(_calls(component, found))
        values, texts = _values(step), _texts(component)
        allowed = frozenset((name, spec.enum) for name, spec in component.inputs.items() if spec.enum)
        given = (*command, frozenset(values.items()), texts, allowed)
        if given not in misfits:
            found_misfits = _misfits(component, calls[command], values, texts)
            misfits[given] = tuple(found_misfits)
        yield ScriptedStep(step, found, calls[command], misfits[given])


def _values(step: Step) -> dict[Reference, str]:
    swept = step.node.sweep.search_space if step.node.sweep else {}
    return {
        Reference(Kind.INPUT, name): str(source.value)
        for name, source in step.inputs.items()
        if isinstance(source, LiteralBinding) and name not in swept
    }


def _texts(component: CommandComponent) -> frozenset[Reference]:
    texts = {name for name, spec in component.inputs.items() if spec.type in {None, "string"}}
    return frozenset(Reference(Kind.INPUT, name) for name in texts)


def _misfits(
    component: CommandComponent,
    calls: Sequence[ScriptCall],
    values: Mapping[Reference, str],
    texts: Set[Reference],
) -> Iterator[tuple[ScriptCall, Misfit]]:
    for call in calls:
        if call.interface is None:
            continue
        for misfit in misfits_of(call.interface, call.invocation.arguments, values, texts):
            if component.parallel is None or _misspelt(misfit, call.interface):
                yield call, misfit
        if component.parallel is None:
            for misfit in _refused_of_enums(component, call.interface, call.invocation, values, texts):
                yield call, misfit


def _misspelt(misfit: Misfit, interface: Interface) -> bool:
    """Tell whether a flag is meant for a parallel script rather than for the driver that calls it."""
    names = [name for argument in interface.arguments for name in argument.names]
    flag = misfit.kind == "unknown" and misfit.text.startswith("--") and misfit.text not in _DRIVER_ARGUMENTS
    return flag and bool(get_close_matches(misfit.text, names, n=1))


def _refused_of_enums(
    component: CommandComponent,
    interface: Interface,
    invocation: Invocation,
    values: Mapping[Reference, str],
    texts: Set[Reference],
) -> Iterator[Misfit]:
    """Find what an input's enum allows and the script refuses, besides the value that is given."""
    for name, spec in component.inputs.items():
        reference = Reference(Kind.INPUT, name)
        for value in spec.enum:
            if value != values.get(reference):
                for misfit in misfits_of(interface, invocation.arguments, {reference: value}, texts):
                    if misfit.kind == "value" and misfit.word is not None and misfit.word.references == (reference,):
                        yield replace(misfit, kind="allowed")


def _calls(component: CommandComponent, sources: Sources) -> Iterator[ScriptCall]:
    for invocation in invocations(component.command):
        module = sources.start(invocation) if invocation.python else None
        takes = None if module is None else interface(module, sources)
        if takes is not None and component.parallel is not None:
            # Its driver adds arguments of its own, and takes some for itself.
            takes = replace(takes, open=True, certain=False)
        yield ScriptCall(invocation, module, takes)
