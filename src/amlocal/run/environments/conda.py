"""From what a conda file lists to what pip installs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as PipRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from amlocal.reader.model import CondaFile, Package
from amlocal.reader.source import Place, Problem
from amlocal.run.environments.conda_names import IN_WHEELS, NOT_PYTHON, PROGRAMS, PYPI_NAMES

_SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<version>.*)")
_PART = re.compile(r"(?P<operator>===?|>=|<=|!=|~=|>|<|=)?\s*(?P<version>[A-Za-z0-9_.+!*-]+)")
_BUILD = re.compile(r"(={0,2}[^=<>!~,\s]+)(?:=|\s+)[^=<>!~,|\s]+")
_OPTIONS = (
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host"),
    *("--pre", "--prefer-binary", "--no-binary", "--only-binary"),
)
_CHANNELS = "conda channels: packages come from pip's index"


@dataclass(frozen=True)
class Requirement:
    """One line for pip.

    Attributes:
        name: the package's normalised name; None for an option, and for an address without a name.
    """

    line: str
    place: Place
    name: str | None = None


@dataclass
class Translation:
    """What a conda file comes to.

    Attributes:
        python: the versions of Python it asks for; None for any.
        python_place: where it does.
        requirements: for pip, in the order of the file.
        passed_over: what is not installed, why, and where it was asked for.
        problems: what cannot be built here.
    """

    requirements: list[Requirement] = field(default_factory=list)
    python: SpecifierSet | None = None
    python_place: Place | None = None
    passed_over: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _UntranslatableError(ValueError):
    """A version that pip has no words for."""


def translate(conda: CondaFile) -> Translation:
    """Translate a conda file; what cannot be translated is among the problems."""
    result = translate_packages(conda.packages)
    if conda.channels is not None:
        result.passed_over[_CHANNELS] = conda.channels
    if conda.variables is not None:
        result.passed_over["conda variables"] = conda.variables
    return result


def translate_packages(packages: Sequence[Package]) -> Translation:
    """Translate single entries."""
    result = Translation()
    for package in packages:
        if package.by_pip:
            _pip(package, result)
        else:
            _conda(package, result)
    return result


def _pip(package: Package, result: Translation) -> None:
    text = package.text
    if text.startswith("-"):
        if re.split(r"[=\s]", text, maxsplit=1)[0] in _OPTIONS:
            result.requirements.append(Requirement(text, package.place))
        else:
            _refuse(
                package, result, f"pip's option in {text!r} is not supported here; supported: {', '.join(_OPTIONS)}"
            )
    elif text.startswith((".", "/", "file:")):
        _refuse(package, result, f"{text} is a path; an environment has what an index or an address gives")
    elif text.startswith(("git+", "http://", "https://")):
        result.requirements.append(Requirement(text, package.place))
    else:
        try:
            name = PipRequirement(re.split(r"\s--", text, maxsplit=1)[0]).name
        except InvalidRequirement as error:
            _refuse(package, result, f"{text!r} is no requirement of pip's: {str(error).splitlines()[0]}")
        else:
            result.requirements.append(Requirement(text, package.place, canonicalize_name(name)))


def _conda(package: Package, result: Translation) -> None:
    match = _SPEC.fullmatch(package.text)
    if match is None:
        return _refuse(package, result, f"{package.text!r} is no package of conda's; expected as in numpy=1.26")
    name = match["name"].lower()
    try:
        specifiers = specifiers_of(match["version"])
    except _UntranslatableError as error:
        return _refuse(package, result, f"{package.text}: {error}")
    if name == "python":
        result.python, result.python_place = specifiers, package.place
    elif _matches(name, IN_WHEELS):
        result.passed_over[f"conda package {name}: wheels bring what they need of it"] = package.place
    elif name in PROGRAMS and shutil.which(PROGRAMS[name]) is not None:
        result.passed_over[f"conda package {name}: this machine's own {PROGRAMS[name]} is used"] = package.place
    elif name in PROGRAMS:
        message = f"conda package {name} has no wheel, and {PROGRAMS[name]} is not on this machine"
        _refuse(package, result, f"{message}; install it, or take the package out")
    elif _matches(name, NOT_PYTHON):
        _refuse(package, result, f"conda package {name} has no wheel, so it cannot be installed here")
    else:
        pypi = PYPI_NAMES.get(name, name)
        result.requirements.append(Requirement(f"{pypi}{specifiers or ''}", package.place, canonicalize_name(pypi)))
    return None


def _refuse(package: Package, result: Translation, message: str) -> None:
    result.problems.append(Problem(package.place, "environment", message))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def specifiers_of(version: str) -> SpecifierSet | None:
    """Translate conda's version to pip's: ``=1.2`` is any 1.2.x, ``==1.2`` exactly that; builds are left out.

    Args:
        version: what follows a package's name; may be empty.

    Returns:
        None for any version.

    Raises:
        ValueError: when pip has no words for it.
    """
    stated = version.strip()
    if stated.startswith("["):
        raise _UntranslatableError("expected a version as in name>=1.2,<2, found brackets")
    build = _BUILD.fullmatch(stated)
    if build is not None:
        stated = build[1]
    if "|" in stated:
        raise _UntranslatableError("pip knows no alternatives (|); state one range")
    parts = [_specifier(part.strip()) for part in stated.split(",") if part.strip()]
    kept = [part for part in parts if part is not None]
    if not kept:
        return None
    try:
        return SpecifierSet(",".join(kept))
    except InvalidSpecifier:
        raise _UntranslatableError(f"{version.strip()!r} is no version that pip knows") from None


def _specifier(part: str) -> str | None:
    match = _PART.fullmatch(part)
    if match is None:
        raise _UntranslatableError(f"{part!r} is no version that pip knows")
    operator, version = match["operator"] or "", match["version"]
    prefix = version.rstrip("*").rstrip(".")
    if not prefix:
        return None
    if operator in {"", "=", "==", "!="}:
        fuzzy = operator == "=" or version.endswith("*")
        # Only releases have a prefix; 2.0rc1 stands for itself.
        suffix = ".*" if fuzzy and re.fullmatch(r"[0-9.]+", prefix) else ""
        return f"{'!=' if operator == '!=' else '=='}{prefix}{suffix}"
    return f"{operator}{prefix}"
