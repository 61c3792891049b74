"""Tables of environments by name: the package's own, and one that users write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from amlocal.reader.conda import read_conda
from amlocal.reader.model import CondaFile
from amlocal.reader.section import Report, Section
from amlocal.reader.source import InvalidJobError, Located, UnreadableError, load, shown

FILE_NAME = "amlocal-environments.yml"
"""What users call theirs."""

_CURATED = Path(__file__).with_name("curated.yml")


@dataclass(frozen=True)
class Table:
    """Environments by name.

    Attributes:
        file: where it was read from.
        entries: what each lists, by a pattern of names; the first that matches counts.
    """

    file: Path
    entries: Mapping[str, CondaFile]

    def find(self, names: Sequence[str]) -> CondaFile | None:
        """Find the first entry whose pattern one of the names matches; upper and lower case are the same."""
        for pattern, entry in self.entries.items():
            if any(fnmatchcase(name.lower(), pattern.lower()) for name in names):
                return entry
        return None


def curated_table() -> Table:
    """Read the package's own table of Azure's curated environments."""
    return read_table(_CURATED)


def user_table(job_file: Path, home: Path) -> Table | None:
    """Read the user's table: the nearest in the job file's folder and those above it, else the home's.

    Raises:
        InvalidJobError: when it cannot be read, with file and line.
    """
    for folder in (*job_file.resolve().parents, home):
        path = folder / FILE_NAME
        if path.is_file():
            return read_table(path)
    return None


def read_table(path: Path) -> Table:
    """Read a table: under ``environments``, for each name, a conda file's content or ``conda_file: PATH``.

    Raises:
        InvalidJobError: with every problem found, each with file and line.
    """
    report = Report()
    try:
        section = Section(load(path), "table of environments", report)
        entries = {name: _entry(node, report) for name, node in section.entries("environments").items()}
        section.finish()
    except UnreadableError as error:
        raise InvalidJobError([*report.problems, error.problem]) from None
    if report.problems:
        raise InvalidJobError(report.problems)
    return Table(path, entries)


def _entry(node: Located, report: Report) -> CondaFile:
    if not isinstance(node.value, dict) or set(node.value) != {"conda_file"}:
        return read_conda(node, report)
    stated = node.value["conda_file"]
    if isinstance(stated.value, dict):
        return read_conda(stated, report)
    path = (stated.place.file.parent / str(stated.value)).resolve()
    if not path.is_file():
        raise UnreadableError(stated.place, "missing-file", f"conda file {shown(path)} does not exist")
    return read_conda(load(path), report)
