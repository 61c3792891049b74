"""From the environments that a job names to what has to be installed for them."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amlocal.reader.model import CommandComponent, CondaFile, Environment
from amlocal.reader.plan import Plan
from amlocal.reader.source import InvalidJobError, Place, Problem
from amlocal.run.environments.conda import Requirement, Translation, translate
from amlocal.run.environments.pythons import Python, find_python, minor_versions
from amlocal.run.environments.table import FILE_NAME, Table, curated_table, user_table

_CURATED_IMAGE = re.compile(r"mcr\.microsoft\.com/azureml/curated/(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?.*")
INSTALLERS = ("pip", "setuptools", "wheel")
"""Packages that install others: they come first, as with conda, and no script imports them."""

_NOT_HERE = "not-on-this-machine"
_VERSION = 1
"""Raised when environments are built differently from what they were."""


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Attributes:
        label: how messages name the environment.
        place: where it was asked for.
    """

    label: str
    place: Place
    python: Python
    requirements: tuple[Requirement, ...]

    @property
    def digest(self) -> str:
        """The same for all environments that come to the same packages on the same platform."""
        lines = sorted(requirement.line for requirement in self.requirements)
        python = [str(self.python.executable), self.python.full]
        content = [_VERSION, python, platform.system(), platform.machine(), lines]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Recipes:
    """The recipes of a job.

    Attributes:
        steps: by the step's name.
        passed_over: what they leave out, with its place.
    """

    steps: Mapping[str, Recipe]
    passed_over: Mapping[str, Place]


class Tables:
    """Looks environments up: in the user's table first, then as they define themselves, then in the package's.

    Args:
        job_file: beside which, and above, the user's table is looked for.
        home: where it is looked for last.
    """

    def __init__(self, job_file: Path, home: Path) -> None:
        self._user = user_table(job_file, home)
        self._curated: Table | None = None

    def conda_of(self, environment: Environment) -> CondaFile | None:
        """Give what an environment lists; None where nothing says it."""
        if self._user is not None:
            entry = self._user.find([*_names(environment), *filter(None, [environment.name])])
            if entry is not None:
                return entry
        if environment.conda is not None or environment.build is not None:
            return environment.conda
        if self._curated is None:
            self._curated = curated_table()
        return self._curated.find(_names(environment))


def _names(environment: Environment) -> list[str]:
    """Give the names by which a registry or workspace knows an environment, and its image."""
    reference = environment.reference
    if reference is not None:
        version = reference.version or reference.label
        return [reference.name] if version is None else [reference.name, f"{reference.name}:{version}"]
    if environment.image is None:
        return []
    match = _CURATED_IMAGE.fullmatch(environment.image)
    named = [] if match is None else [match["name"], f"{match['name']}:{match['tag']}"]
    return [environment.image, *named]


def make_recipes(plan: Plan, home: Path) -> Recipes:
    """Work out what to build for each step of a job.

    Raises:
        InvalidJobError: with everything that cannot be built on this machine, each with file and line.
    """
    tables = Tables(plan.job.file, home)
    steps: dict[str, Recipe] = {}
    passed_over: dict[str, Place] = {}
    problems: list[Problem] = []
    known: dict[str, Recipe | None] = {}
    for step in plan.steps:
        environment = step.node.component.environment
        key = "" if environment is None else f"{environment.definition} {environment.place}"
        if environment is None:
            problems.append(_without(step.node.component))
            continue
        if key not in known:
            translation = _translated(environment, tables)
            problems.extend(translation.problems)
            for what, place in translation.passed_over.items():
                passed_over.setdefault(what, place)
            known[key] = _recipe(environment, translation, problems)
        recipe = known[key]
        if recipe is not None:
            steps[step.name] = recipe
    if problems:
        raise InvalidJobError(problems)
    return Recipes(steps, passed_over)


def make_recipe(environment: Environment, tables: Tables) -> Recipe:
    """Work out what to build for one environment.

    Raises:
        InvalidJobError: with everything that cannot be built on this machine, each with file and line.
    """
    translation = _translated(environment, tables)
    problems = list(translation.problems)
    recipe = _recipe(environment, translation, problems)
    if recipe is None or problems:
        raise InvalidJobError(problems)
    return recipe


def _recipe(environment: Environment, translation: Translation, problems: list[Problem]) -> Recipe | None:
    python = find_python(translation.python)
    if python is None:
        place = translation.python_place or environment.place
        message = f"python {translation.python} is not on this machine; it has {', '.join(minor_versions())}"
        problems.append(Problem(place, _NOT_HERE, message))
        return None
    return Recipe(environment.label, environment.place, python, tuple(translation.requirements))


def _without(component: CommandComponent) -> Problem:
    message = "states no environment, and --environment isolated runs every command in its own"
    return Problem(component.place, _NOT_HERE, f"command {component.name} {message}")


def _translated(environment: Environment, tables: Tables) -> Translation:
    conda = tables.conda_of(environment)
    if conda is not None:
        return translate(conda)
    return Translation(problems=[Problem(environment.place, _NOT_HERE, _way_out(environment))])


def _way_out(environment: Environment) -> str:
    if environment.build is not None:
        what = f"environment {environment.label} is built from a Dockerfile"
        name = environment.name
    elif environment.image is not None:
        what = f"environment {environment.label} is the image {environment.image} without a conda_file"
        name = environment.name or environment.image
    else:
        what = f"environment {environment.label} is neither registered here nor in the table of curated ones"
        name = environment.reference.name if environment.reference is not None else environment.label
    if name is None:
        return f"{what}, which cannot be built on this machine; give it a name and list its packages in {FILE_NAME}"
    entry = f'environments: {{"{name}": {{dependencies: [python=3.11, pip: [scikit-learn==1.5.2]]}}}}'
    return f"{what}, which cannot be built on this machine; say what it holds in {FILE_NAME}, as in {entry}"
