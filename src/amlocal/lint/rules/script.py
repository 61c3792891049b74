"""A command against the script that it starts."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from amlocal.lint.script.call import Misfit
from amlocal.lint.script.metrics import logged
from amlocal.lint.script.shell import Word
from amlocal.lint.script.step import ScriptCall, ScriptedStep
from amlocal.reader.expressions import Kind
from amlocal.reader.model import LITERAL_TYPES, CommandComponent, LiteralBinding
from amlocal.reader.section import suggestion
from amlocal.reader.source import Place, Problem, line_of, shown

_CODE_SUFFIXES = frozenset({".py", ".sh", ".bash", ".r", ".ipynb", ".jl", ".pl", ".js", ".yml", ".yaml", ".json", ""})
_MOST_CODE_BYTES = 4_000_000
# Code that may learn its inputs otherwise than from its arguments.
_READS_INPUTS = re.compile(rb"AZURE_ML|AZUREML_PARAMETER|(import|from)\s+(azureml|azure\.ai|mldesigner)")


def missing_script(scripted: ScriptedStep) -> Iterator[Problem]:
    """The script that a command starts is in its working directory."""
    component = scripted.step.node.component
    for call in scripted.calls:
        invocation = call.invocation
        if invocation.script is None:
            yield from _missing_module(scripted, call)
            continue
        name = posixpath.normpath(posixpath.join(invocation.folder, invocation.script))
        if name.startswith(("/", "..", "~")) or scripted.sources.find(name) is not None:
            continue
        place = line_of(component.command_place, re.compile(re.escape(invocation.script)))
        root = component.code.root
        where = f"not in {shown(root)}" if root else "not there: the component has no code"
        yield Problem(place, "missing-script", f"{name} is {where}", not invocation.first)


def _missing_module(scripted: ScriptedStep, call: ScriptCall) -> Iterator[Problem]:
    """A module may also be installed; it is missing only when its package is here and it is not in it."""
    dotted = str(call.invocation.module)
    package, _, rest = dotted.partition(".")
    inside = scripted.sources.find(posixpath.join(call.invocation.folder, package))
    if call.module is not None or inside is None or not inside.is_dir() or not rest:
        return
    stem = posixpath.join(call.invocation.folder, dotted.replace(".", "/"))
    if all(scripted.sources.find(name) is None for name in (f"{stem}.py", stem)):
        place = line_of(scripted.step.node.component.command_place, re.compile(re.escape(dotted)))
        yield Problem(place, "missing-script", f"module {dotted} is not in {shown(inside)}", not call.invocation.first)


def script_syntax(scripted: ScriptedStep) -> Iterator[Problem]:
    """A Python script can be parsed; what another version of Python may take is a warning."""
    component = scripted.step.node.component
    for call in scripted.calls:
        name = call.invocation.script
        if call.module is not None or not call.invocation.python or name is None or not name.endswith(".py"):
            continue
        found = scripted.sources.syntax_error(call.invocation)
        if found is not None:
            error, certain = found
            message = f"{name}, line {error.lineno}: {error.msg}"
            place = line_of(component.command_place, _target(call))
            yield Problem(place, "script-syntax", message, not (certain and call.invocation.first))


def parallel_script(scripted: ScriptedStep) -> Iterator[Problem]:
    """The entry script of a parallel component defines ``run``, which gets each mini batch."""
    component = scripted.step.node.component
    if component.parallel is None:
        return
    for call in scripted.calls:
        if call.module is not None and not _may_define(call.module.tree, "run"):
            place = line_of(component.parallel.place, re.compile(r"entry_script"))
            message = f"{_name(call)} defines no run(), which gets each mini batch"
            yield Problem(place, "parallel-script", message)


def _may_define(tree: ast.AST, name: str) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            return True
        if isinstance(node, ast.Name) and node.id in {name, "exec", "globals", "setattr"}:
            return True
        imported = node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if any((alias.asname or alias.name) in {name, "*"} for alias in imported):
            return True
    return False


def unknown_argument(scripted: ScriptedStep) -> Iterator[Problem]:
    """A script takes every argument that the command gives it."""
    for call, misfit in scripted.misfits:
        if misfit.kind == "unknown" and call.interface is not None and not call.interface.outside:
            if call.interface.open and misfit.text.lstrip("-").replace("-", "_") in _words(call.interface.texts):
                continue
            names = [name for argument in call.interface.arguments for name in argument.names]
            message = f"{_name(call)} takes no argument {misfit.text!r}; {suggestion(misfit.text, names)}"
            yield Problem(_place(scripted, misfit), "unknown-argument", message, call.interface.open)


def _words(texts: Iterable[str]) -> set[str]:
    return {text.lstrip("-").replace("-", "_") for text in texts}


def argument_usage(scripted: ScriptedStep) -> Iterator[Problem]:
    """An argument gets as many values as the script takes for it."""
    for call, misfit in scripted.misfits:
        if misfit.kind == "usage" and call.interface is not None:
            message = f"{_name(call)}: {misfit.text}"
            yield Problem(_place(scripted, misfit), "argument-usage", message, call.interface.open)


def missing_argument(scripted: ScriptedStep) -> Iterator[Problem]:
    """The command gives every argument that the script requires."""
    for call, misfit in scripted.misfits:
        if misfit.kind == "missing":
            message = f"{_name(call)} requires {misfit.text}, which the command does not always give"
            yield Problem(_place(scripted, misfit, _target(call)), "missing-argument", message)


def argument_value(scripted: ScriptedStep) -> Iterator[Problem]:
    """A plain value, and each that an input's enum allows, is one that the script's ``type`` and ``choices`` take."""
    inputs = scripted.step.node.component.inputs
    for call, misfit in scripted.misfits:
        if misfit.kind == "allowed" and misfit.word is not None:
            spec = inputs[misfit.word.references[0].name]
            message = f"{_name(call)} refuses what the enum of {spec.name!r} allows: {misfit.text}"
            yield Problem(spec.place, "argument-value", message, True)
        if misfit.kind == "value":
            place = _place(scripted, misfit)
            word = misfit.word
            if word is not None and len(word.references) == 1:
                source = scripted.step.inputs.get(word.references[0].name)
                place = source.place if isinstance(source, LiteralBinding) else place
            yield Problem(place, "argument-value", f"{_name(call)} refuses {misfit.text}")


def boolean_argument(scripted: ScriptedStep) -> Iterator[Problem]:
    """``type=bool`` makes True of every text, also of False."""
    inputs = scripted.step.node.component.inputs
    for call in scripted.calls:
        interface = call.interface
        if interface is None or interface.reader != "argparse":
            continue
        flags = {name for argument in interface.arguments if argument.type == "bool" for name in argument.names}
        words = call.invocation.arguments
        for flag, value in pairwise(words):
            given = [inputs.get(reference.name) for reference in value.references if reference.kind is Kind.INPUT]
            if flag.text in flags and any(spec is not None and spec.type == "boolean" for spec in given):
                message = f"{_name(call)} reads {flag.text} with type=bool, for which any text is True, also False"
                place = line_of(scripted.step.node.component.command_place, _word_pattern(flag))
                yield Problem(place, "boolean-argument", message, True)


def metric_not_logged(scripted: ScriptedStep) -> Iterator[Problem]:
    """Some script of a trial logs the metric that the sweep compares trials by."""
    sweep = scripted.step.node.sweep
    modules = [call.module for call in scripted.calls if call.module is not None]
    if sweep is None or not sweep.primary_metric or not modules or len(modules) < len(scripted.calls):
        return
    reached, outside = zip(*(scripted.sources.closure(module) for module in modules), strict=True)
    found = logged([module for group in reached for module in group], frozenset().union(*outside))
    metric = sweep.primary_metric
    if metric in found.names or (found.other is not None and metric in found.texts):
        return
    scripts = ", ".join(sorted({module.path.name for module in modules}))
    logs = f"; it logs {', '.join(sorted(found.names))}" if found.names else ""
    place = line_of(sweep.place, re.compile(r"primary_metric"))
    if found.other is None:
        yield Problem(place, "metric-not-logged", f"{scripts} never logs {metric!r}{logs}")
    elif found.other.endswith("worked out"):
        message = f"{scripts} names {metric!r} nowhere{logs}, but {found.other}"
        yield Problem(place, "metric-not-logged", message, True)


def unused_inputs(scripted: ScriptedStep) -> Iterator[Problem]:
    """A plain value that a component declares is used by it: in its file, or as ``AZURE_ML_INPUT_…`` in its code."""
    node = scripted.step.node
    component = node.component
    if not scripted.calls or any(call.invocation.python and call.module is None for call in scripted.calls):
        return  # what is started is not at hand and may read the environment
    # A value stated where the command is says what it was run with, even when nothing reads it.
    plain_inputs = [
        spec
        for spec in component.inputs.values()
        if spec.type in LITERAL_TYPES
        and spec.readable
        and getattr(node.inputs.get(spec.name), "place", None) != spec.place
    ]
    if not plain_inputs:
        return
    try:
        text = component.place.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    suspects = [
        spec
        for spec in plain_inputs
        if spec.place.option is None
        and spec.place.file == component.place.file
        and not re.search(rf"(?:inputs|search_space)\.{re.escape(spec.name)}\b", text)
        and (node.sweep is None or spec.name not in node.sweep.search_space)
    ]
    if suspects and "AZURE_ML" not in text and _takes_no_environment(component):
        for spec in suspects:
            message = f"{component.name} declares input {spec.name!r} and does not use it"
            yield Problem(spec.place, "unused", message, True)


def _takes_no_environment(component: CommandComponent) -> bool:
    """Tell whether no code of a component names the variables that hold its inputs; False where it is too much."""
    read = 0
    for top in (component.code.root, *component.code.includes):
        if top is None:
            continue
        for path in [top] if top.is_file() else top.rglob("*"):
            if not path.is_file() or path.suffix.lower() not in _CODE_SUFFIXES:
                continue
            try:
                content = path.read_bytes()
            except OSError:
                return False
            read += len(content)
            if read > _MOST_CODE_BYTES or _READS_INPUTS.search(content):
                return False
    return True


def _name(call: ScriptCall) -> str:
    return call.invocation.script or str(call.invocation.module)


def _target(call: ScriptCall) -> re.Pattern[str]:
    return re.compile(re.escape(_name(call)))


def _place(scripted: ScriptedStep, misfit: Misfit, otherwise: re.Pattern[str] | None = None) -> Place:
    place = scripted.step.node.component.command_place
    if misfit.word is not None:
        return line_of(place, _word_pattern(misfit.word))
    return line_of(place, otherwise) if otherwise else place


def _word_pattern(word: Word) -> re.Pattern[str]:
    shown_text = word.shown().partition("=")[0] if word.text.startswith("-") else word.shown()
    return re.compile(rf"(?<![\w-]){re.escape(shown_text)}(?![\w-])")
