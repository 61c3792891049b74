"""A step together with the scripts that its command starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from amlocal.lint.script.arguments import Interface, interface
from amlocal.lint.script.call import Misfit, misfits_of
from amlocal.lint.script.modules import Module, Sources
from amlocal.lint.script.shell import Invocation, invocations
from amlocal.reader.expressions import Kind, Reference
from amlocal.reader.model import CommandComponent, LiteralBinding
from amlocal.reader.plan import Step


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
        given = (*command, frozenset(values.items()), texts)
        if given not in misfits:
            misfits[given] = tuple(_misfits(calls[command], values, texts))
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
    calls: Sequence[ScriptCall], values: Mapping[Reference, str], texts: Set[Reference]
) -> Iterator[tuple[ScriptCall, Misfit]]:
    for call in calls:
        if call.interface is not None:
            for misfit in misfits_of(call.interface, call.invocation.arguments, values, texts):
                yield call, misfit


def _calls(component: CommandComponent, sources: Sources) -> Iterator[ScriptCall]:
    for invocation in invocations(component.command):
        module = sources.start(invocation) if invocation.python else None
        # The driver of a parallel component adds arguments of its own, and takes some for itself.
        known = module is not None and component.parallel is None
        yield ScriptCall(invocation, module, interface(module, sources) if module is not None and known else None)
