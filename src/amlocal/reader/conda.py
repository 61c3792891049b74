"""Conda files: what an environment lists, each entry with its place."""

from __future__ import annotations

import re
from pathlib import Path

from amlocal.reader.model import CondaFile, Package
from amlocal.reader.section import Report, Section
from amlocal.reader.source import Located, Place, UnreadableError, plain, shown

_NOT_A_NAME = re.compile(r"^-|[/\\@${}]|\.(whl|zip|tar\.\w+|tgz)$")
_CLAUSE = r"(===|==|~=|!=|<=|>=|<|>)\s*[^\s,;=<>!~()]+"
# More than the standard allows: pip reads versions such as >=1.* that it has left behind.
_REQUIREMENT = re.compile(
    rf"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*\(?\s*({_CLAUSE}(\s*,\s*{_CLAUSE})*\s*,?)?\s*\)?\s*(;.*|\s--.*)?"
)
_REQUIREMENT_FILE = ("-r ", "--requirement ", "--requirement=", "-r")


def read_conda(node: Located, report: Report) -> CondaFile:
    """Read a conda file's content.

    Args:
        node: the root of the file, or the mapping written in place.
        report: where unknown keys are noted.

    Raises:
        UnreadableError: when it has not the form of a conda file, or names a requirements file that is missing.
    """
    section = Section(node, "conda file", report)
    section.skip("name", "prefix")
    channels, variables = section.take("channels"), section.take("variables")
    packages: list[Package] = []
    for item in section.items("dependencies"):
        if isinstance(item.value, str):
            packages.append(Package(item.value.strip(), item.place, by_pip=False))
        elif isinstance(item.value, dict) and set(item.value) == {"pip"}:
            packages.extend(_pip_packages(item.value["pip"]))
        else:
            message = f"a dependency must be a package, as numpy=1.26, or a list of pip's, found {plain(item)!r}"
            raise UnreadableError(item.place, "conda-file", message)
    section.finish()
    for package in packages:
        if package.by_pip and not _is_requirement(package.text):
            message = f"{package.text!r} is no requirement of pip's; expected as in numpy==1.26 or numpy>=1.26,<2"
            report.problem(package.place, "conda-file", message)
    return CondaFile(
        place=node.place,
        packages=tuple(packages),
        channels=None if channels is None else channels.place,
        variables=None if variables is None else variables.place,
    )


def _is_requirement(text: str) -> bool:
    """Tell what pip may read from what it cannot; options, addresses, paths and placeholders are pip's to judge."""
    return bool(_NOT_A_NAME.search(text) or _REQUIREMENT.fullmatch(text))


def _pip_packages(node: Located) -> list[Package]:
    if node.value is None:
        return []
    if not isinstance(node.value, list):
        raise UnreadableError(node.place, "conda-file", f"pip must be a list of packages, found {plain(node)!r}")
    packages: list[Package] = []
    for item in node.value:
        if not isinstance(item.value, str):
            raise UnreadableError(item.place, "conda-file", f"a package of pip's must be text, found {plain(item)!r}")
        packages.extend(_pip_line(item.value, item.place, ()))
    return packages


def _pip_line(text: str, place: Place, open_files: tuple[Path, ...]) -> list[Package]:
    line = text.split(" #")[0].strip()
    if not line or line.startswith("#"):
        return []
    for prefix in _REQUIREMENT_FILE:
        if line.startswith(prefix) and not line.startswith("--require-"):
            path = (place.file.parent / line.removeprefix(prefix).strip()).resolve()
            return _requirement_file(path, place, open_files)
    return [Package(line, place, by_pip=True)]


def _requirement_file(path: Path, place: Place, open_files: tuple[Path, ...]) -> list[Package]:
    if path in open_files:
        raise UnreadableError(place, "conda-file", f"requirements file {shown(path)} includes itself")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UnreadableError(place, "missing-file", f"requirements file {shown(path)} cannot be read") from None
    packages: list[Package] = []
    begun, first = "", 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        first = first if begun else number
        begun += line.removesuffix("\\")
        if not line.endswith("\\"):
            packages.extend(_pip_line(begun, Place(path, first), (*open_files, path)))
            begun = ""
    return packages
