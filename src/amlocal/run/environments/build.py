"""Builds isolated environments: each once for all jobs of a home, under a lock, and never seen half-built."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from amlocal.errors import AmlocalError
from amlocal.reader.source import Place, Problem, shown
from amlocal.run.environments.interpreter import Interpreter, caller_variables, installed_packages
from amlocal.run.environments.recipe import INSTALLERS, Recipe
from amlocal.run.environments.stand_ins import make_stand_ins
from amlocal.run.files import write_atomically
from amlocal.run.process import run_process, tail

_LOCK_SECONDS = 0.2
_LAST_LINES = 12
_BLAMED = re.compile(r"(?:No matching distribution found for|Failed building wheel for|for) ([A-Za-z0-9._-]+)")

Progress = Callable[[str], None]
"""Told what is being built, in a line each."""


class BuildError(AmlocalError):
    """An environment could not be built; the message names file, line and what pip said last."""


@dataclass(frozen=True)
class Built:
    """What is written into an environment when it is complete.

    Attributes:
        label: the first environment that it was built for.
        packages: the interpreter and what is installed, as reuse compares it.
        seconds: how long it took.
    """

    label: str
    python: str
    requirements: tuple[str, ...]
    packages: str
    seconds: float


@dataclass(frozen=True)
class Store:
    """Where environments are kept.

    Attributes:
        home: amlocal's home.
        mark: environment variables of the builds.
    """

    home: Path
    mark: Mapping[str, str] = field(default_factory=dict)

    def folder(self, recipe: Recipe) -> Path:
        """The virtual environment, at the place where it is built: it cannot be moved."""
        return self.home / "environments" / recipe.digest

    def log(self, recipe: Recipe) -> Path:
        """What venv and pip printed, also of a build that failed."""
        return self.folder(recipe).with_suffix(".log")

    def lock(self, recipe: Recipe) -> Path:
        """Held while it is built."""
        return self.folder(recipe).with_suffix(".lock")

    def built(self, recipe: Recipe) -> Built | None:
        """Read what is there; None for an environment that was never finished."""
        try:
            return Built(**json.loads((self.folder(recipe) / "environment.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def interpreter(self, recipe: Recipe, built: Built) -> Interpreter:
        """Describe the Python of a finished environment."""
        folder = self.folder(recipe)
        return Interpreter(
            base=recipe.python.executable,
            version=recipe.python.minor,
            commands=folder / "bin",
            stand_ins=make_stand_ins(folder / "bin", self.home / "cache" / "commands"),
            site_packages=(_site_packages(folder, recipe),),
            packages=f"isolated {recipe.digest}, {built.packages}",
            isolated=True,
        )


def _site_packages(folder: Path, recipe: Recipe) -> Path:
    return folder / "lib" / f"python{recipe.python.minor}" / "site-packages"


async def build_all(
    recipes: Mapping[str, Recipe], home: Path, progress: Progress, concurrent: int, mark: Mapping[str, str]
) -> dict[str, Interpreter]:
    """Build what is not there yet.

    Args:
        recipes: by the step's name.
        home: amlocal's home.
        progress: told what happens.
        concurrent: how many may be built at a time.
        mark: environment variables of the builds, by which they are found should amlocal die.

    Returns:
        The Python of each step.

    Raises:
        BuildError: for the first that cannot be built; the others are given up.
        OSError: when nothing can be written.
        asyncio.CancelledError: when canceled, after all builds have been ended.
    """
    store = Store(home, mark)
    distinct: dict[str, Recipe] = {}
    for recipe in recipes.values():
        distinct.setdefault(recipe.digest, recipe)
    limit = asyncio.Semaphore(concurrent)
    tasks = [asyncio.create_task(_ready(recipe, store, progress, limit)) for recipe in distinct.values()]
    try:
        built = dict(zip(distinct, await asyncio.gather(*tasks), strict=True))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {name: built[recipe.digest] for name, recipe in recipes.items()}


async def _ready(recipe: Recipe, store: Store, progress: Progress, limit: asyncio.Semaphore) -> Interpreter:
    built = store.built(recipe)
    if built is None:
        async with limit, _locked(store.lock(recipe), lambda: progress(f"{recipe.label}: another job builds it")):
            built = store.built(recipe)
            if built is None:
                built = await _build(recipe, store, progress)
    return store.interpreter(recipe, built)


@contextlib.asynccontextmanager
async def _locked(path: Path, waits: Callable[[], None]) -> AsyncIterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    told = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if not told:
                waits()
                told = True
            await asyncio.sleep(_LOCK_SECONDS)
    try:
        yield
    finally:
        lock.release()


async def _build(recipe: Recipe, store: Store, progress: Progress) -> Built:
    folder, log = store.folder(recipe), store.log(recipe)
    started = time.monotonic()
    lines = tuple(requirement.line for requirement in recipe.requirements)
    count = f"{len(lines)} package{'s' if len(lines) != 1 else ''}"
    progress(f"{recipe.label}: building it (python {recipe.python.full}, {count}; log: {shown(log)})")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    if folder.exists():
        await asyncio.to_thread(shutil.rmtree, folder)
    try:
        await _command([str(recipe.python.executable), "-m", "venv", str(folder)], recipe, store, "venv")
        await _install(recipe, store)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    packages = installed_packages(recipe.python.full, [_site_packages(folder, recipe)])
    built = Built(recipe.label, recipe.python.full, lines, packages, round(time.monotonic() - started, 1))
    write_atomically(folder / "environment.json", json.dumps(asdict(built), indent=2) + "\n")
    progress(f"{recipe.label}: built in {built.seconds:.0f} s")
    return built


async def _install(recipe: Recipe, store: Store) -> None:
    """Install the installers that are asked for before what they install, as conda does."""
    first = [requirement.line for requirement in recipe.requirements if requirement.name in INSTALLERS]
    options = [requirement.line for requirement in recipe.requirements if requirement.line.startswith("-")]
    every = [requirement.line for requirement in recipe.requirements]
    for name, lines in (("installers", [*options, *first] if first else []), ("requirements", every)):
        if lines:
            path = store.folder(recipe) / f"{name}.txt"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            python = store.folder(recipe) / "bin" / "python"
            command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            await _command([*command, "--requirement", str(path)], recipe, store, "pip")


async def _command(command: Sequence[str], recipe: Recipe, store: Store, tool: str) -> None:
    variables = {**caller_variables(os.environ, isolated=True), **store.mark}
    variables.pop("VIRTUAL_ENV", None)
    log = store.log(recipe)
    result = await run_process(command, store.home, variables, log)
    if result.exit_code == 0:
        return
    lines = tail(log, _LAST_LINES)
    said = "".join(f"\n  | {line}" for line in lines)
    message = (
        f"{recipe.label} cannot be built: {tool} ended with exit code {result.exit_code}{said}\n  log: {shown(log)}"
    )
    raise BuildError(str(Problem(_blamed(recipe, lines), "environment", message)))


def _blamed(recipe: Recipe, lines: Iterable[str]) -> Place:
    """Find the line of the requirement that the installer names, else that of the environment."""
    places = {requirement.name: requirement.place for requirement in recipe.requirements if requirement.name}
    for line in lines:
        if "ERROR" in line:
            for name in _BLAMED.findall(line):
                if name.lower().replace("_", "-") in places:
                    return places[name.lower().replace("_", "-")]
    return recipe.place
