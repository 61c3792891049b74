"""Reading tables: csv, tsv, jsonl, parquet, a folder of split files, a `datasets` folder, or a hub data set.

Every reader returns plain pandas frames with the source's own columns; a broken row is reported with its file and line.
"""

import csv
import gzip
import json
import logging
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from finetune.errors import InputError

LOGGER = logging.getLogger(__name__)
_ALIASES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation"}
_ALIASES |= {"val": "validation", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class SourceTable:
    """One table as it was read."""

    origin: str
    """Where it came from, for messages: a file's path, or hub id and split."""
    frame: pd.DataFrame
    first_line: int | None
    """Line of row 0 in the file, where a row is a line; None for formats without lines."""
    all_columns: tuple[str, ...] | None = None
    """The source's columns, when not all of them were read."""

    @property
    def names(self) -> tuple[str, ...]:
        """The source's columns."""
        return tuple(map(str, self.frame.columns)) if self.all_columns is None else self.all_columns

    def place(self, row: int) -> str:
        """Return "file:line" or "file: row n" (counted from 1) for a row's index."""
        if self.first_line is None:
            return f"{self.origin}: row {row + 1}"
        return f"{self.origin}:{row + self.first_line}"


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hugging Face hub."""

    name: str
    config: str | None = None
    revision: str | None = None


Reader = Callable[[Path, Collection[str] | None], SourceTable]


def read_path(
    path: Path, wanted: Collection[str] | None = None, test_splits: Sequence[str] = ()
) -> dict[str, SourceTable]:
    """Read a file, a folder of split files, or a folder written by `datasets`' `save_to_disk`.

    Args:
        path: a file becomes the split "train"; a folder is searched for <split>.<format>, where split is train,
            validation (valid, val, dev) or test.
        wanted: the columns to keep in memory, of those that are there; all when None.
        test_splits: the source's own names of the splits that are the test; by default that is "test".

    Returns:
        The tables by split name; "train" is always there. Those of `test_splits` have the source's names, in that
        order, and with any of them there is no other test.

    Raises:
        InputError: nothing readable there, a split is missing, two files for one split, or a broken file (with its
            line).
    """
    if path.is_file():
        if test_splits:
            raise InputError(f"--test_splits {', '.join(test_splits)}: {path} is a single file, without splits")
        return {"train": _read_file(path, wanted)}
    if not path.is_dir():
        raise InputError(f"--data {path}: no such file or folder")
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _read_datasets_folder(path, wanted, test_splits)
    files = sorted(entry for entry in path.iterdir() if entry.is_file() and _reader_of(entry) is not None)
    tables: dict[str, SourceTable] = {}
    unnamed: list[str] = []
    for file in files:
        split = _split_of(file.name.split(".")[0], test_splits)
        if split is None:
            unnamed.append(file.name)
            continue
        if split in tables:
            raise InputError(f"{file}: a second file for the split {split!r}; the first is {tables[split].origin}")
        tables[split] = _read_file(file, wanted)
    if not tables and len(files) == 1:
        return {"train": _read_file(files[0], wanted)}
    if "train" not in tables:
        found = ", ".join(file.name for file in files) or "no data file"
        raise InputError(
            f"--data {path}: found {found}; expected train with one of the endings {_suffix_list()}, or a single file"
        )
    if unnamed:
        LOGGER.warning("%s: left out, as their names are no split's: %s", path, ", ".join(unnamed))
    return _in_order(tables, test_splits, str(path), [file.name.split(".")[0] for file in files])


def read_hub(
    hub: HubDataset, wanted: Collection[str] | None = None, test_splits: Sequence[str] = ()
) -> dict[str, SourceTable]:
    """Read a data set from the hub with `datasets.load_dataset`, which runs no code of the data set's.

    Args:
        hub: the data set.
        wanted: see `read_path`.
        test_splits: likewise.

    Raises:
        InputError: the hub cannot be reached, or has no such data set, or the data set no such split.
    """
    import datasets
    import httpx2  # what the hub is asked with; a proxy's refusal comes through as its exception

    try:
        loaded = datasets.load_dataset(hub.name, hub.config, revision=hub.revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, httpx2.TransportError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"--hub_dataset {hub.name}: cannot be loaded: {first_line}") from None
    return _from_dataset_dict(loaded, hub.name, wanted, test_splits)


def _split_of(name: str, test_splits: Sequence[str]) -> str | None:
    """Return what a split of the source is here; None when it is not used."""
    if name in test_splits:
        return name
    split = _ALIASES.get(name.lower())
    return None if test_splits and split == "test" else split


def _in_order(
    tables: dict[str, SourceTable], test_splits: Sequence[str], origin: str, names: Sequence[str]
) -> dict[str, SourceTable]:
    missing = [name for name in test_splits if name not in tables]
    if missing:
        raise InputError(f"--test_splits {', '.join(missing)}: not in {origin}; found {', '.join(names)}")
    return {**{k: v for k, v in tables.items() if k not in test_splits}, **{k: tables[k] for k in test_splits}}


def _read_datasets_folder(
    path: Path, wanted: Collection[str] | None, test_splits: Sequence[str]
) -> dict[str, SourceTable]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"--data {path}: not readable as a `datasets` folder: {error}") from None
    if isinstance(loaded, datasets.Dataset):
        loaded = datasets.DatasetDict({"train": loaded})
    return _from_dataset_dict(loaded, str(path), wanted, test_splits)


def _from_dataset_dict(
    loaded: Any, origin: str, wanted: Collection[str] | None, test_splits: Sequence[str]
) -> dict[str, SourceTable]:
    tables = {}
    for name, split in loaded.items():
        if (known := _split_of(name, test_splits)) is None:
            continue
        names = list(split.column_names)
        frame = split.select_columns(_kept(names, wanted)).to_pandas()
        for column, feature in split.features.items():
            if column in frame and type(feature).__name__ == "ClassLabel":
                frame[column] = [_class_name(feature, value) for value in frame[column]]
            elif column in frame and type(getattr(feature, "feature", None)).__name__ == "ClassLabel":
                frame[column] = _class_names(feature.feature, frame[column])
        tables[known] = SourceTable(f"{origin}[{name}]", frame, None, tuple(names))
    if "train" not in tables:
        raise InputError(f"{origin}: found the splits {', '.join(loaded)}; expected train")
    return _in_order(tables, test_splits, origin, list(loaded))


def _class_name(feature: Any, value: Any) -> str | None:
    # An unlabelled row of a hub data set carries -1, or nothing.
    return feature.int2str(int(value)) if not pd.isna(value) and value >= 0 else None


def _class_names(feature: Any, rows: pd.Series) -> list[list[str | None] | None]:
    return [None if row is None else [_class_name(feature, value) for value in row] for row in rows]


def _kept(names: Sequence[str], wanted: Collection[str] | None) -> list[str]:
    return [name for name in names if wanted is None or name in wanted]


def _read_file(path: Path, wanted: Collection[str] | None) -> SourceTable:
    reader = _reader_of(path)
    if reader is None:
        raise InputError(f"{path}: unknown format; expected {_suffix_list()}")
    try:
        return reader(path, wanted)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken gzip file: {error}") from None


def _read_jsonl(path: Path, wanted: Collection[str] | None) -> SourceTable:
    columns: dict[str, list[Any]] = {}
    names: dict[str, None] = {}
    empty_line, rows = None, 0
    with _open(path) as stream:
        for line_number, raw in enumerate(stream, start=1):
            if empty_line is not None:
                raise InputError(f"{path}:{empty_line}: empty line; expected a JSON object")
            if not raw.strip():
                # One at the end of a file is a habit of editors, one between rows is a row that got lost.
                empty_line = line_number
                continue
            try:
                row = json.loads(raw)
            except json.JSONDecodeError as error:
                if _is_undecoded(raw):
                    raise InputError(f"{path}:{line_number}: not UTF-8") from None
                raise InputError(f"{path}:{line_number}: not JSON: {error.msg} at column {error.colno}") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}:{line_number}: found a {type(row).__name__}; expected a JSON object")
            names |= dict.fromkeys(row)
            for name in _kept(list(row), wanted):
                column = columns.setdefault(name, [])
                column.extend([None] * (rows - len(column)))
                column.append(row[name])
            rows += 1
    for column in columns.values():
        column.extend([None] * (rows - len(column)))
    return SourceTable(str(path), pd.DataFrame(columns, index=range(rows)), 1, tuple(names))


def _read_csv(path: Path, wanted: Collection[str] | None) -> SourceTable:
    return _read_delimited(path, wanted, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _read_tsv(path: Path, wanted: Collection[str] | None) -> SourceTable:
    # GLUE's tab-separated files hold bare quotation marks: a quote there is a character of the text.
    return _read_delimited(path, wanted, delimiter="\t", quoting=csv.QUOTE_NONE)


def _read_delimited(path: Path, wanted: Collection[str] | None, delimiter: str, quoting: Literal[0, 3]) -> SourceTable:
    empty_line, rows = None, 0
    with _open(path, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise InputError(f"{path}: empty file; expected a header line")
            if len(set(header)) != len(header):
                raise InputError(f"{path}:1: a column is named twice: {', '.join(header)}")
            if _is_undecoded("".join(header)):
                raise InputError(f"{path}:1: not UTF-8")
            columns: dict[str, list[str]] = {name: [] for name in _kept(header, wanted)}
            places = [(columns[name], header.index(name)) for name in columns]
            for row in reader:
                if empty_line is not None:
                    raise InputError(f"{path}:{empty_line}: empty line; expected {len(header)} fields")
                if not row:
                    empty_line = reader.line_num
                    continue
                if len(row) != len(header):
                    raise InputError(
                        f"{path}:{reader.line_num}: found {len(row)} fields; expected {len(header)}, as in the header"
                    )
                for column, place in places:
                    column.append(row[place])
                rows += 1
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: {error}") from None
    has_line_breaks = reader.line_num - (empty_line is not None) != rows + 1
    frame = pd.DataFrame(columns, index=range(rows), dtype=object)
    return SourceTable(str(path), frame, None if has_line_breaks else 2, tuple(header))


def _read_parquet(path: Path, wanted: Collection[str] | None) -> SourceTable:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        return SourceTable(str(path), pd.read_parquet(path, columns=_kept(names, wanted)), None, tuple(names))
    except (pyarrow.lib.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not readable as parquet: {error}") from None


def _readers() -> dict[str, Reader]:
    return {
        ".csv": _read_csv,
        ".tsv": _read_tsv,
        ".jsonl": _read_jsonl,
        ".csv.gz": _read_csv,
        ".tsv.gz": _read_tsv,
        ".jsonl.gz": _read_jsonl,
        ".parquet": _read_parquet,
    }


def _reader_of(path: Path) -> Reader | None:
    return next((reader for suffix, reader in _readers().items() if path.name.lower().endswith(suffix)), None)


def _suffix_list() -> str:
    return "|".join(_readers())


def _open(path: Path, newline: str | None = None) -> Any:
    """Open a text; bytes that are no UTF-8 become half characters, so that a check can name their rows."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _is_undecoded(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)
