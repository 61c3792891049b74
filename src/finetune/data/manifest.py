"""`dataset.json`: what prep hands on, and its reader for the stages after it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from finetune.data.checks.finding import Finding
from finetune.errors import InputError
from finetune.files import read_json, write_json

MANIFEST = "dataset.json"
TEST_FILE = "test.parquet"
VALIDATION_FILE = "validation.parquet"
"""Texts and labels of validation, where answers are pieces of the text."""
LABEL = "label"
"""Column of the labels as text, beside the task's text columns: see `finetune.data.label_texts`."""
SEEN_IN_TRAIN = "seen_in_train"
"""Column of the test rows: "no", "exact" when the same texts occur in train, "normalised" when they do but for case,
punctuation and spaces."""
SLICE_PREFIX = "slice:"
"""Columns of the test rows that hold values of the source's columns, to slice by."""
FORMAT = 5


@dataclass(frozen=True)
class SplitSummary:
    """What is known of one split."""

    origin: str
    rows: int
    labels: Mapping[str, int]
    """Rows of each label, in label order; words of each tag, where words are labelled; empty where labels have no
    names."""
    dropped: Mapping[str, int]
    """Rows left out, by reason."""
    sha256: str
    """Digest of texts and labels, row by row: see `examples_sha256`."""
    seen_in_train: int = 0
    """Rows whose texts occur in train too, to the letter; 0 for train itself."""
    nearly_seen_in_train: int = 0
    """Further rows whose texts do but for case, punctuation and spaces."""
    tokens_mean: float | None = None
    """Mean length in tokens after truncation."""
    truncated_share: float | None = None
    """Share of rows that were cut to `max_length`; the test split's are cut when a model is asked."""
    token_lengths: Mapping[str, int] = field(default_factory=dict)
    """Rows by length in tokens before truncation: the greatest length of a bin, a power of two → rows."""
    tokens_longest: int | None = None
    label_mean: float | None = None
    """Mean of the labels, where they are numbers."""


@dataclass(frozen=True)
class DatasetManifest:
    """The contents of `dataset.json`."""

    task: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    """Label names; a label's id is its position. Empty where labels have no names."""
    splits: Mapping[str, SplitSummary]
    checkpoint: str
    """The checkpoint whose tokenizer was used."""
    tokenizer_sha256: str
    max_length: int
    """Tokens."""
    source: str
    label_mapping: str
    seed: int
    findings: tuple[Finding, ...] = ()
    """What the data checks found, in the order in which they looked."""
    repairs: tuple[str, ...] = ()
    """What was undone in the texts."""
    slice_columns: tuple[str, ...] = ()
    """Columns of the source whose values the test rows keep."""
    annotations_sha256: str = ""
    """Digest of what prep adds to the test rows, row by row: these values, and which rows occur in train."""
    window_overlap: int | None = None
    """Tokens that neighbouring windows of a long text share; None where texts are cut instead."""
    format: int = FORMAT


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Write `dataset.json` into the data set's folder."""
    write_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path) -> DatasetManifest:
    """Read `dataset.json`.

    Raises:
        InputError: the file is missing, broken, or of another format.
    """
    path = folder / MANIFEST
    value = read_json(path, "the manifest that prep writes")
    if value.get("format") != FORMAT:
        raise InputError(f"{path}: format {value.get('format')!r}; expected {FORMAT}: run prep again")
    try:
        splits = {name: SplitSummary(**summary) for name, summary in value.pop("splits").items()}
        for name in ("text_columns", "labels", "repairs", "slice_columns"):
            value[name] = tuple(value[name])
        value["findings"] = tuple(
            Finding(**{**finding, "examples": tuple(finding["examples"])}) for finding in value["findings"]
        )
        return DatasetManifest(splits=splits, **value)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}; expected the manifest that prep writes") from None


def slice_column(source: str) -> str:
    """Return the name under which test rows keep a column of the source."""
    return f"{SLICE_PREFIX}{source}"


def examples_sha256(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a split's rows: each row's values as a JSON list on a line, in order.

    It depends on texts and labels alone, not on a file format, a tokenizer or other splits, so equal rows have equal
    digests anywhere.
    """
    return _sha256(frame[[*frame.columns[: frame.columns.get_loc(LABEL)], LABEL]])


def annotations_sha256(frame: pd.DataFrame) -> str:
    """Return a digest of the columns to slice by and of the marks of rows that occur in train, likewise."""
    return _sha256(frame[[column for column in frame.columns if column.startswith((SLICE_PREFIX, SEEN_IN_TRAIN))]])


def _sha256(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in frame.itertuples(index=False, name=None):
        digest.update(json.dumps(list(row), ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
