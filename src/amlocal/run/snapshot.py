"""The files a command sees: its code folder and includes, without what is ignored."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pathspec

from amlocal.errors import AmlocalError
from amlocal.folders import walk_folders
from amlocal.reader.model import CodeSpec
from amlocal.run.digest import DigestCache, combined

_ALWAYS = ("__pycache__/", ".git/", ".ipynb_checkpoints/", ".amlocal/", "*.pyc")
_IGNORE_FILES = (".amlignore", ".gitignore")


@dataclass(frozen=True)
class Snapshot:
    """Code as it was when the job was created.

    Attributes:
        files: digest of each file by its path in the working directory.
        folder: a copy of them all, shared between jobs and never written to.
    """

    files: Mapping[str, str]
    folder: Path


def snapshot_files(code: CodeSpec) -> dict[str, Path]:
    """List what a command's working directory holds.

    Args:
        code: the code folder (its content goes to the top) and the includes (each by its base name).

    Returns:
        The source of each file by its relative path.

    Raises:
        AmlocalError: when an include would overwrite something of the code folder.
    """
    files: dict[str, Path] = {}
    if code.root is not None:
        files.update(_listed(code.root, code.root.name if code.root.is_file() else ""))
    for include in code.includes:
        top = {name.split("/")[0] for name in files}
        if include.name in top:
            raise AmlocalError(f"{code.place}: additional_includes: {include.name} is in the code folder already")
        files.update(_listed(include, include.name))
    return files


def _listed(root: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    if root.is_file():
        yield prefix, root
        return
    ignore = _ignore(root)
    for folder, subfolders, names in walk_folders(root):
        relative = Path(folder).relative_to(root)
        subfolders[:] = [name for name in subfolders if not ignore.match_file((relative / name).as_posix() + "/")]
        for name in names:
            inside = (relative / name).as_posix()
            if not ignore.match_file(inside):
                yield f"{prefix}/{inside}" if prefix else inside, Path(folder, name)


def _ignore(root: Path) -> pathspec.GitIgnoreSpec:
    # As azure-ai-ml does: the first of the two files, in the code folder itself.
    for name in _IGNORE_FILES:
        path = root / name
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            return pathspec.GitIgnoreSpec.from_lines([*_ALWAYS, *lines])
    return pathspec.GitIgnoreSpec.from_lines(_ALWAYS)


def take(code: CodeSpec, digests: DigestCache, store: Path) -> Snapshot:
    """Copy code to the store, once per content.

    Args:
        code: what to copy.
        digests: the digest cache.
        store: the folder that holds all snapshots.

    Returns:
        The snapshot; later changes of the sources do not reach it.

    Raises:
        AmlocalError: when a file cannot be read.
        StoppedError: when the job is canceled.
    """
    try:
        sources = snapshot_files(code)
        files = {name: digests.file(path) for name, path in sources.items()}
        folder = store / combined(files)
        if folder.is_dir():
            return Snapshot(files, folder)
        store.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=store, prefix=".staging-"))
        try:
            for name, path in sources.items():
                digests.go_on()
                target = staging / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            # A file may have changed since it was digested: what counts is what was copied.
            files = {name: digests.file(staging / name) for name in sources}
            folder = store / combined(files)
            with contextlib.suppress(OSError):  # another run stored the same content first
                staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise AmlocalError(f"{code.place}: the code cannot be copied: {error}") from None
    return Snapshot(files, folder)
