"""Reading and writing the small files that pass between stages, never half-written."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the whole new one.

    The replacement is a rename within one folder, which POSIX makes atomic.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON cannot say. A number that is not there must be absent or
            null on purpose, never smuggled through.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        expected: what the file is, for the message, such as "the manifest that prep writes".

    Raises:
        InputError: the file is missing, or does not hold a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {expected}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error}); expected {expected}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}; expected a JSON object, {expected}")
    return value


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_sha256(folder: Path, without: str | None = None) -> str:
    """Return a SHA-256 over the relative paths and contents of all files below a folder.

    Names and digests are joined in sorted order, so that neither modification times nor the order in which a file
    system lists its entries matter.

    Args:
        folder: the folder.
        without: a folder directly in it whose files do not count.

    Raises:
        InputError: there is no such folder, or it holds no file.
    """
    digest = hashlib.sha256()
    files = sorted(_files(folder, without))
    if not files:
        raise InputError(f"{folder}: expected a folder with files in it")
    for relative in files:
        digest.update(f"{relative}\0{file_sha256(folder / relative)}\n".encode())
    return digest.hexdigest()


def folder_megabytes(folder: Path, without: str | None = None) -> float:
    """Return the size of all files below a folder, in millions of bytes; likewise."""
    return sum((folder / relative).stat().st_size for relative in _files(folder, without)) / 1e6


def _files(folder: Path, without: str | None) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and (len(relative.parts) == 1 or relative.parts[0] != without):
            yield relative.as_posix()
