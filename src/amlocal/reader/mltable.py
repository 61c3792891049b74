"""MLTable files: which files a table is made of, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amlocal.reader.section import Report, Section
from amlocal.reader.source import InvalidJobError, Located, UnreadableError, load, plain

NAME = "MLTable"
_HEADERS = {"all_files_same_headers": 0, "all_files_different_headers": 0, "no_header": None}
_ENCODINGS = {"utf8": "utf-8", "utf8bom": "utf-8-sig", "iso88591": "iso-8859-1", "latin1": "iso-8859-1"}
_READERS = ("read_delimited", "read_json_lines", "read_parquet")


@dataclass(frozen=True)
class Table:
    """What an MLTable file says.

    Attributes:
        files: in order.
        reader: the name of pandas' function that reads one of them; None when they are handed on as files.
        options: that function's keyword arguments.
        columns: the columns to keep; None for all.
        dropped: columns to leave out.
        path_column: add the file's path as column ``Path``.
    """

    files: tuple[Path, ...]
    reader: str | None = None
    options: Mapping[str, Any] | None = None
    columns: tuple[str, ...] | None = None
    dropped: tuple[str, ...] = ()
    path_column: bool = False


def read_table(folder: Path) -> Table:
    """Read the MLTable file of a folder.

    Raises:
        InvalidJobError: with file and line, for a file that is missing, wrong, or asks for what is not done here.
    """
    report = Report()
    try:
        section = Section(load(folder / NAME), NAME, report)
        section.skip("$schema", "type", "metadata", "traits")
        files = [path for item in section.items("paths") for path in _files(item, folder, report)]
        table = Table(tuple(dict.fromkeys(files)))
        for item in section.items("transformations"):
            table = _transformed(table, item, report)
        section.finish()
    except UnreadableError as error:
        raise InvalidJobError([*report.problems, error.problem]) from None
    if report.problems:
        raise InvalidJobError(report.problems)
    return table


def is_table(path: Path, kind: str | None) -> bool:
    """Tell whether an input is a table.

    Args:
        path: where it is.
        kind: its Azure ML type; None when only the input itself tells.
    """
    return kind == "mltable" or (kind is None and (path / NAME).is_file())


def look_at_table(path: Path, kind: str | None) -> None:
    """Read the MLTable file of an input that is a table, to find early what is wrong with it.

    Raises:
        InvalidJobError: see ``read_table``.
    """
    if is_table(path, kind):
        read_table(path)


def _files(item: Located, folder: Path, report: Report) -> list[Path]:
    section = Section(item, "path", report)
    found: list[Path] = []
    for kind in ("file", "folder", "pattern"):
        node = section.take(kind)
        if node is None:
            continue
        text = str(plain(node)).removeprefix("file://")
        if "://" in text or text.startswith("azureml:"):
            raise UnreadableError(node.place, "not-on-this-machine", f"{text}: only local paths are read")
        pattern = {"file": text, "folder": f"{text.rstrip('/')}/**/*", "pattern": text}[kind].removeprefix("./")
        root, pattern = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (folder, pattern)
        matches = sorted(path for path in root.glob(pattern) if path.is_file() and path != folder / NAME)
        if not matches:
            raise UnreadableError(node.place, "missing-data", f"{kind} {text} matches no file")
        found += matches
    section.finish()
    return found


def _transformed(table: Table, item: Located, report: Report) -> Table:
    if isinstance(item.value, str):
        item = Located({item.value: Located(None, item.place)}, item.place)
    if not isinstance(item.value, dict) or len(item.value) != 1:
        raise UnreadableError(item.place, "type", f"a transformation is one key, found {plain(item)!r}")
    [(name, node)] = item.value.items()
    changes: dict[str, Any] = {}
    if name in _READERS:
        options = Section(node, name, report)
        path_column = options.boolean("include_path_column")
        changes = {"reader": name, "options": _options(name, options), "path_column": path_column}
        options.finish()
    elif name in {"keep_columns", "drop_columns"}:
        listed = plain(node)
        columns = tuple(map(str, listed)) if isinstance(listed, list) else (str(listed),)
        changes = {"columns": columns} if name == "keep_columns" else {"dropped": (*table.dropped, *columns)}
    else:
        known = ", ".join((*_READERS, "keep_columns", "drop_columns"))
        message = f"transformation {name!r} is not done on this machine; done here: {known}"
        raise UnreadableError(item.place, "not-on-this-machine", message)
    return Table(**{**vars(table), **changes})


def _options(name: str, section: Section) -> dict[str, Any]:
    if name == "read_parquet":
        return {}
    encoding = section.text("encoding") or "utf8"
    if name == "read_json_lines":
        section.skip("invalid_lines")
        return {"lines": True, "encoding": _ENCODINGS.get(encoding, encoding)}
    header = section.take("header")
    kind = "all_files_same_headers" if header is None else str(plain(header))
    if kind not in _HEADERS:
        place = section.place if header is None else header.place
        message = f"header {kind!r} is not done on this machine; done here: {', '.join(_HEADERS)}"
        raise UnreadableError(place, "not-on-this-machine", message)
    empty_as_text = section.boolean("empty_as_string")
    inferred = section.take("infer_column_types")
    section.skip("support_multi_line")
    return {
        **({"dtype": "str"} if inferred is not None and inferred.value is False else {}),
        "sep": section.text("delimiter") or ",",
        "encoding": _ENCODINGS.get(encoding, encoding),
        "header": _HEADERS[kind],
        "keep_default_na": not empty_as_text,
    }
