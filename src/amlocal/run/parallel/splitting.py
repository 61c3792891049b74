"""Splits an input into mini batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.folders import walk_folders
from amlocal.reader.mltable import Table, is_table, read_table
from amlocal.reader.parallel import MiniBatchSize

_DEFAULT_FILES = 1
_DEFAULT_BYTES = 1024**2


def split(path: Path, kind: str | None, size: MiniBatchSize | None) -> list[dict[str, Any]]:
    """Split an input into mini batches, as the driver takes them.

    Files come in the order of their paths. A table is split file by file, and a file above the size into parts of
    about that size.

    Args:
        path: the input.
        kind: its Azure ML type; None when only the input itself tells.
        size: what the node states.

    Raises:
        AmlocalError: when there is nothing to split, or an MLTable file asks for what is not done here.
    """
    table = read_table(path) if is_table(path, kind) else Table(tuple(_files(path)))
    if not table.files:
        raise AmlocalError(f"input_data {path} holds no files")
    if table.reader is None:
        return [{"files": [str(file) for file in files]} for files in _grouped(table.files, size)]
    limit = size.number if size else _DEFAULT_BYTES
    return [batch for file in table.files for batch in _parts(table, file, limit)]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [Path(folder, name) for folder, _, names in walk_folders(path) for name in names]
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def _grouped(files: Sequence[Path], size: MiniBatchSize | None) -> Iterator[list[Path]]:
    if size is None or not size.stated_in_bytes:
        count = size.number if size else _DEFAULT_FILES
        yield from ([*files[start : start + count]] for start in range(0, len(files), count))
        return
    group: list[Path] = []
    total = 0
    for file in files:
        length = file.stat().st_size
        if group and total + length > size.number:
            yield group
            group, total = [], 0
        group.append(file)
        total += length
    yield group


def _parts(table: Table, file: Path, limit: int) -> Iterator[dict[str, Any]]:
    count = max(1, -(-file.stat().st_size // limit))
    for part in range(count):
        yield {
            "files": [str(file)],
            "reader": table.reader,
            "options": dict(table.options or {}),
            "columns": table.columns,
            "dropped": table.dropped,
            "path_column": table.path_column,
            "part": part,
            "parts": count,
        }
