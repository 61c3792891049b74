"""A step together with the scripts that its command starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from amlocal.lint.script.arguments import Interface, interface
from amlocal.lint.script.modules import Module, Sources
from amlocal.lint.script.shell import Invocation, invocations
from amlocal.reader.model import CodeSpec
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
    """A step, the files in its working directory and the scripts it starts."""

    step: Step
    sources: Sources
    calls: tuple[ScriptCall, ...]


def scripted(steps: tuple[Step, ...]) -> Iterator[ScriptedStep]:
    """Look at the scripts of steps; each working directory is read once.

    Left out are steps whose component could not be read whole, or whose code is not on this machine.
    """
    known: dict[tuple[object, ...], Sources] = {}
    calls: dict[tuple[object, ...], tuple[ScriptCall, ...]] = {}
    for step in steps:
        component = step.node.component
        if not component.readable or not component.code.complete:
            continue
        key = _key(component.code)
        sources = known.setdefault(key, Sources(component.code))
        if (key, component.command.text) not in calls:
            found = _calls(invocations(component.command), sources)
            # The driver of a parallel component adds arguments of its own, and takes some for itself.
            own = [replace(call, interface=None) for call in found] if component.parallel else found
            calls[key, component.command.text] = tuple(own)
        yield ScriptedStep(step, sources, calls[key, component.command.text])


def _key(code: CodeSpec) -> tuple[object, ...]:
    return (code.root, code.includes)


def _calls(found: tuple[Invocation, ...], sources: Sources) -> Iterator[ScriptCall]:
    for invocation in found:
        module = sources.start(invocation) if invocation.python else None
        yield ScriptCall(invocation, module, interface(module, sources) if module else None)
