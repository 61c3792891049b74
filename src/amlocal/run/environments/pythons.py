"""The Python versions of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

_NAME = re.compile(r"python3\.(\d+)")
_PROBE = """\
import os, sys
print(*sys.version_info[:3])
print(getattr(sys, "_base_executable", "") or os.path.realpath(sys.executable))
"""
_PROBE_SECONDS = 20
_MOST_PATCHES = 100
_INSTALLERS = ("PYENV_ROOT", "~/.pyenv"), ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python")


@dataclass(frozen=True)
class Python:
    """A Python that environments can be made from.

    Attributes:
        executable: outside of any virtual environment.
        version: major, minor and patch.
    """

    executable: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """As in ``3.11``."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def full(self) -> str:
        """As in ``3.11.7``."""
        return ".".join(map(str, self.version))


def running_python() -> Python:
    """Give the Python that amlocal runs in."""
    major, minor, patch = sys.version_info[:3]
    return Python(Path(getattr(sys, "_base_executable", sys.executable)), (major, minor, patch))


def find_python(wanted: SpecifierSet | None) -> Python | None:
    """Find a Python of the versions asked for: the running one where it will do, else the newest that will.

    The patch version never matters: environments pin it, and machines have whichever came last.

    Args:
        wanted: the versions asked for; None for any.
    """
    if _fits(wanted, running_python().minor):
        return running_python()
    for minor, paths in sorted(_candidates().items(), key=lambda item: _number(item[0]), reverse=True):
        if _fits(wanted, minor):
            for path in paths:
                python = _probed(path)
                if python is not None and python.minor == minor:
                    return python
    return None


def minor_versions() -> list[str]:
    """List the Python versions of this machine, as in ``3.11``."""
    return sorted({running_python().minor, *_candidates()}, key=_number)


def _fits(wanted: SpecifierSet | None, minor: str) -> bool:
    return wanted is None or any(wanted.contains(f"{minor}.{patch}") for patch in range(_MOST_PATCHES))


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])


def _candidates() -> dict[str, list[Path]]:
    """Find what looks like a Python, by minor version: on PATH, then among those of pyenv and of uv."""
    folders = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    for variable, default in _INSTALLERS:
        root = Path(os.environ.get(variable) or default).expanduser()
        folders += sorted((*root.glob("versions/*/bin"), *root.glob("*/bin")), reverse=True)
    found: dict[str, list[Path]] = {}
    for folder in folders:
        # A version manager's shims name versions that they then refuse to run.
        if folder.name != "shims" and folder.is_dir():
            for path in folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match is not None:
                    found.setdefault(f"3.{match[1]}", []).append(path)
    return found


def _probed(path: Path) -> Python | None:
    """Ask a Python for its version; None for what only looks like one."""
    try:
        done = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != 2:
        return None
    major, minor, patch = map(int, lines[0].split())
    return Python(Path(lines[1]), (major, minor, patch))
