"""Notices a step that writes into its inputs, which are not copied for it. Azure ML mounts them read-only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from amlocal.reader.bind import Source
from amlocal.reader.model import LiteralBinding
from amlocal.run.digest import walk
from amlocal.run.services import Given

State = Mapping[str, tuple[int, int, int]]
"""Size, time of change in nanoseconds and inode of each file."""


def input_states(
    inputs: Mapping[str, Source], given: Mapping[str, Given], home: Path, go_on: Callable[[], None]
) -> dict[str, State]:
    """Take down what tells whether a step's input files and folders are changed; no content is read.

    Args:
        inputs: where the step's inputs come from.
        given: the paths they stand for.
        home: amlocal's home; an input that holds it changes all the time and is left out.
        go_on: called for each file; may raise to give up.

    Raises:
        OSError: when a folder cannot be read.
    """
    paths = {name: Path(given[name].text) for name, source in inputs.items() if not isinstance(source, LiteralBinding)}
    return {
        name: {file: _state(place) for file, place in _files(path, go_on)}
        for name, path in paths.items()
        if not home.resolve().is_relative_to(path.resolve())
    }


def changes(before: Mapping[str, State], after: Mapping[str, State]) -> Iterator[str]:
    """Say which inputs are not what they were, a line for each."""
    for name, files in before.items():
        now = after.get(name, {})
        changed = sorted(file for file in files.keys() | now.keys() if files.get(file) != now.get(file))
        if changed:
            listed = ", ".join(os.fsencode(file).decode(errors="backslashreplace") for file in changed[:3])
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            yield f"input {name} changed while it ran ({listed}{more}); Azure ML mounts inputs read-only"


def _files(path: Path, go_on: Callable[[], None]) -> Iterator[tuple[str, Path]]:
    for name, file in [(path.name, path)] if path.is_file() else walk(path):
        go_on()
        yield name, file


def _state(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:  # a dangling link, or removed this moment
        return (-1, -1, -1)
    return status.st_size, status.st_mtime_ns, status.st_ino
