"""The environments of a job: what is known of them before it starts, and the Python of each step."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amlocal.reader.plan import Plan
from amlocal.reader.source import Place
from amlocal.run.environments.build import Progress, build_all
from amlocal.run.environments.conda import translate
from amlocal.run.environments.interpreter import Interpreter, calling_interpreter
from amlocal.run.environments.recipe import INSTALLERS, Recipe, Tables, make_recipes

_NAMED = 8


@dataclass(frozen=True)
class Environments:
    """How the steps of a job get their Python.

    Attributes:
        home: amlocal's home.
        steps: the steps' names.
        recipes: what is to be built for each step; None when all run in the calling interpreter.
        passed_over: what the environments list that is not installed, with its place.
        notes: what to know before the job runs, with its place.
    """

    home: Path
    steps: tuple[str, ...]
    recipes: Mapping[str, Recipe] | None = None
    passed_over: Mapping[str, Place] = field(default_factory=dict)
    notes: Mapping[str, Place] = field(default_factory=dict)

    async def ready(self, progress: Progress, concurrent: int, mark: Mapping[str, str]) -> dict[str, Interpreter]:
        """Give each step's Python, built where it has to be.

        Args:
            progress: told what is built.
            concurrent: how many environments may be built at a time.
            mark: environment variables of the builds, by which they are found should amlocal die.

        Raises:
            BuildError: when one cannot be built.
            OSError: when nothing can be written.
            asyncio.CancelledError: when canceled, after all builds have been ended.
        """
        if self.recipes is not None:
            return await build_all(self.recipes, self.home, progress, concurrent, mark)
        return dict.fromkeys(self.steps, calling_interpreter(self.home / "cache" / "commands"))


def plan_environments(plan: Plan, home: Path, *, isolated: bool) -> Environments:
    """Look at the environments that a job names, before anything of it runs.

    Args:
        plan: the job.
        home: amlocal's home.
        isolated: each step is to run in an environment of its own.

    Raises:
        InvalidJobError: when isolated, with everything that cannot be built on this machine.
    """
    steps = tuple(step.name for step in plan.steps)
    if not isolated:
        return Environments(home, steps, notes=_missing(plan, home))
    recipes = make_recipes(plan, home)
    return Environments(home, steps, recipes.steps, recipes.passed_over)


def _missing(plan: Plan, home: Path) -> dict[str, Place]:
    """Say which packages the environments list that the calling interpreter does not have.

    This decides whether a step works at all. What an environment holds is not always known; no version is compared.
    """
    tables = Tables(plan.job.file, home)
    found: dict[str, Place] = {}
    for environment in dict.fromkeys(step.node.component.environment for step in plan.steps):
        conda = None if environment is None else tables.conda_of(environment)
        if environment is not None and conda is not None:
            for requirement in translate(conda).requirements:
                if requirement.name is not None and not _installed(requirement.name):
                    own = conda is environment.conda
                    found.setdefault(requirement.name, requirement.place if own else environment.place)
    if not found:
        return {}
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    listed = ", ".join(list(found)[:_NAMED]) + more
    note = f"not installed here, though environments list them: {listed}; --environment isolated builds environments"
    return {note: next(iter(found.values()))}


def _installed(name: str) -> bool:
    if name in INSTALLERS:
        return True
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
