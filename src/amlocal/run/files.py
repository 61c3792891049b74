"""Where things lie under amlocal's home, and writing there without half-written files."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkFolder:
    """The folder of one run of a command: a step, or a trial of a sweep."""

    root: Path

    @property
    def snapshot(self) -> Path:
        """The command's working directory: a copy of its code."""
        return self.root / "snapshot"

    @property
    def outputs(self) -> Path:
        """Holds one entry per declared output."""
        return self.root / "outputs"

    @property
    def artifacts(self) -> Path:
        """The default output: a folder that holds what the command wrote to ``./outputs``, as ``outputs``."""
        return self.root / "artifacts"

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self.root / "logs" / "std_log.txt"

    @property
    def overlay(self) -> Path:
        """What the command installs, while it runs."""
        return self.root / "environment"

    @property
    def warm(self) -> Path:
        """Of the process that does the imports of a sweep's trials, while it runs."""
        return self.root / "warm"

    def trial(self, number: int) -> WorkFolder:
        """The folder of one trial, when this is a sweep's."""
        return WorkFolder(self.root / "trials" / str(number))


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job."""

    home: Path
    name: str

    @property
    def root(self) -> Path:
        """Everything about the job."""
        return self.home / "jobs" / self.name

    @property
    def record(self) -> Path:
        """The job's record."""
        return self.root / "job.json"

    @property
    def outputs(self) -> Path:
        """Holds a link per pipeline output."""
        return self.root / "outputs"

    def step(self, name: str) -> WorkFolder:
        """The folder of one step."""
        return WorkFolder(self.root / "steps" / name)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def link(path: Path, target: Path) -> None:
    """Make a relative link, replacing one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent.resolve()))
