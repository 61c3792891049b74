"""Runs the rules over a job, a component or any other file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from amlocal.lint.files import Kind, kind_of
from amlocal.lint.registry import NAMES, OF_THIS_MACHINE, RULES
from amlocal.lint.rule import Document
from amlocal.lint.script.step import scripted
from amlocal.lint.suppress import suppressed
from amlocal.reader.assets import Assets, UriMapping
from amlocal.reader.component import examine_component
from amlocal.reader.model import CommandNode, Graph, PipelineNode
from amlocal.reader.plan import Plan, examine, plan_of
from amlocal.reader.source import InvalidJobError, Located, Place, Problem, UnreadableError, load, override


def read_checked_plan(
    path: Path,
    overrides: Sequence[str] = (),
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> Plan:
    """Read a job that is to be run.

    Raises:
        InvalidJobError: for every error of the linter, and for what is not on this machine; never for a warning.
    """
    plan, problems = examine(path, overrides, assets, mappings)
    if plan is None:
        raise InvalidJobError(problems)
    stated = [] if _is_component(path) else _document_problems(Kind.JOB, override(load(path.resolve()), overrides))
    found = suppressed([*_plan_problems(plan, problems), *stated], (), NAMES)
    errors = [*problems, *(problem for problem in found if not problem.warning), *plan.job.unresolved]
    if errors:
        raise InvalidJobError(errors)
    return plan


@dataclass(frozen=True)
class Findings:
    """What the linter found.

    Attributes:
        problems: errors and warnings, also of files that the file names, without those that a comment ignores.
        not_here: what Azure ML can run or look up and this machine cannot: no fault of the file. All warnings.
    """

    problems: tuple[Problem, ...]
    not_here: tuple[Problem, ...] = ()


def lint_files(paths: Iterable[Path]) -> list[Problem]:
    """Check several files; what is wrong with a component is said once, however many jobs of them use it."""
    found: list[Problem] = []
    said: set[tuple[Place, str, bool]] = set()
    for path in paths:
        problems = lint_file(path).problems
        found += [one for one in problems if (one.place, one.rule, one.warning) not in said]
        said.update((one.place, one.rule, one.warning) for one in problems)
    return [one for one in found if not one.warning or (one.place, one.rule, False) not in said]


def lint_file(
    path: Path,
    overrides: Sequence[str] = (),
    kind: Kind | None = None,
    assets: Assets | None = None,
    mappings: Sequence[UriMapping] = (),
) -> Findings:
    """Check one file with every rule, and with azure-ai-ml.

    Args:
        path: the file.
        overrides: ``--set`` texts, for a job.
        kind: what it is; by default what it looks like.
        assets: what is registered on this machine; nothing by default.
        mappings: local paths that stand in for addresses.

    Raises:
        AmlocalError: for a ``--set`` or ``--map`` that cannot be applied.
    """
    path = path.resolve()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Findings((Problem(Place(path, 1), "missing-file", str(error.strerror).lower()),))
    kind = kind or kind_of(text)
    if kind is None:
        message = "not a kind of Azure ML file that is known; state its $schema"
        return Findings((Problem(Place(path, 1), "yaml", message),))
    try:
        root = load(path)
    except UnreadableError as error:
        return Findings(tuple(suppressed([error.problem], (path,), NAMES)))
    if kind is Kind.JOB:
        root = override(root, overrides)
    plan, problems = _read(path, kind, overrides, assets, mappings)
    if plan is not None:
        problems += _plan_problems(plan, problems)
    problems += _document_problems(kind, root)
    not_here = [problem for problem in problems if problem.rule in OF_THIS_MACHINE]
    problems = [problem for problem in problems if problem.rule not in OF_THIS_MACHINE]
    errors = {problem.place for problem in problems if not problem.warning}
    # After an error of a job, azure-ai-ml says the same thing elsewhere and in other words.
    if not errors or kind not in {Kind.JOB, Kind.COMPONENT}:
        from amlocal.lint.azure import refusals

        said = {*errors, root.place} if errors else errors
        problems += [refusal for refusal in refusals(kind, root, path, overrides) if refusal.place not in said]
    not_here += plan.job.unresolved if plan is not None else ()
    return Findings(
        tuple(suppressed(dict.fromkeys(problems), (path,), NAMES)),
        tuple(dict.fromkeys(replace(problem, warning=True) for problem in not_here)),
    )


def _is_component(path: Path) -> bool:
    return kind_of(path.read_text(encoding="utf-8")) is Kind.COMPONENT


def _document_problems(kind: Kind, root: Located) -> list[Problem]:
    checks = [rule.document for rule in RULES if rule.document is not None and kind in rule.kinds]
    return [problem for check in checks for problem in check(Document(kind, root))]


def _read(
    path: Path, kind: Kind, overrides: Sequence[str], assets: Assets | None, mappings: Sequence[UriMapping]
) -> tuple[Plan | None, list[Problem]]:
    if kind is Kind.JOB:
        return examine(path, overrides, assets, mappings)
    if kind is not Kind.COMPONENT:
        return None, []
    job, problems = examine_component(path)
    if job is None:
        return None, problems
    plan, found = plan_of(job)
    return plan, [*problems, *found]


def _plan_problems(plan: Plan, known: Iterable[Problem]) -> list[Problem]:
    """Run the rules that look at jobs, graphs, nodes and steps.

    Args:
        plan: what could be read.
        known: what reading it found; a rule's warning about the same line says nothing new.
    """
    found = list(dict.fromkeys(_checked(plan)))
    errors = {(problem.place, problem.rule) for problem in [*known, *found] if not problem.warning}
    return [problem for problem in found if not problem.warning or (problem.place, problem.rule) not in errors]


def _checked(plan: Plan) -> Iterator[Problem]:
    steps = tuple(scripted(plan.steps))
    graphs = list(_graphs(plan.job.graph)) if plan.job.kind == "pipeline" else []
    nodes = list(_commands(plan.job.graph))
    for rule in RULES:
        if rule.job is not None:
            yield from rule.job(plan)
        for graph in graphs if rule.graph is not None else ():
            yield from rule.graph(graph) if rule.graph is not None else ()
        for node in nodes if rule.command is not None else ():
            yield from rule.command(node) if rule.command is not None else ()
        for step in steps if rule.step is not None else ():
            yield from rule.step(step) if rule.step is not None else ()


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes.values():
        if isinstance(node, PipelineNode):
            yield from _graphs(node.component)


def _commands(graph: Graph) -> Iterator[CommandNode]:
    for node in graph.nodes.values():
        if isinstance(node, CommandNode):
            yield node
        elif isinstance(node, PipelineNode):
            yield from _commands(node.component)
