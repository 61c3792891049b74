"""Folders that users give: links are followed, and may lead round in a circle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

Identity = tuple[int, int]


def walk_folders(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder as ``os.walk`` does, links followed, and enter none that leads back to a folder it lies in.

    Args:
        root: the folder.

    Yields:
        Each folder, its subfolders (those taken out of the list are not entered) and its files.
    """
    above: dict[str, frozenset[Identity]] = {str(root): frozenset()}
    for folder, subfolders, names in os.walk(root, followlinks=True):
        lineage = above.pop(folder) | {_identity(Path(folder))}
        subfolders[:] = [name for name in subfolders if not _leads_back(Path(folder, name), lineage)]
        yield folder, subfolders, names
        above.update((os.path.join(folder, name), lineage) for name in subfolders)  # noqa: PTH118 - as os.walk


def _leads_back(path: Path, lineage: frozenset[Identity]) -> bool:
    return path.is_symlink() and _identity(path) in lineage


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino
