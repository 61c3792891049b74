"""Tokenised splits as Arrow files: written once by prep, memory-mapped by every trial."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from finetune.data.manifest import LABEL
from finetune.errors import InputError

_BATCH_ROWS = 1000


def load_tokenizer(folder: Path) -> Any:
    """Load a checkpoint's tokenizer.

    Raises:
        InputError: the folder has no tokenizer that `transformers` can load.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no tokenizer can be loaded: {error}") from None


def tokenizer_sha256(tokenizer: Any) -> str:
    """Return a digest of what decides a text's token ids: class, vocabulary and special tokens."""
    digest = hashlib.sha256()
    for token, token_id in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{token}\0{token_id}\n".encode())
    digest.update(repr(sorted((k, str(v)) for k, v in tokenizer.special_tokens_map.items())).encode())
    return digest.hexdigest()


def resolve_max_length(requested: int | None, tokenizer: Any, config: Any) -> int:
    """Return the maximum length in tokens: as requested, else what the model's positions allow, at most 512.

    Raises:
        InputError: more is requested than the model has positions.
    """
    positions = getattr(config, "max_position_embeddings", None)
    limit = min(int(value) for value in (positions, tokenizer.model_max_length) if value)
    if requested is None:
        return min(limit, 512)
    if positions and not 0 < requested <= positions:
        raise InputError(f"--max_length {requested}: the checkpoint takes 1 to {positions} tokens")
    return requested


@dataclass(frozen=True)
class TokenLengths:
    """How long a split's rows are, in tokens."""

    mean: float
    """After truncation."""
    longest: int
    """Before truncation."""
    truncated_share: float
    histogram: Mapping[str, int]
    """Rows by length before truncation: the greatest length of a bin, a power of two → rows."""


class TokenCounter:
    """Counts the lengths of rows, batch by batch."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length
        self._rows = self._tokens = self._cut = self._longest = 0
        self._bins: Counter[int] = Counter()

    def encode(self, texts: Sequence[Sequence[str]]) -> dict[str, list[list[int]]]:
        """Tokenise a batch, one list per text column, and count it."""
        encoded = dict(self._tokenizer(*texts, truncation=True, max_length=self._max_length))
        lengths = [len(ids) for ids in encoded["input_ids"]]
        self._rows, self._tokens = self._rows + len(lengths), self._tokens + sum(lengths)
        full = [i for i, length in enumerate(lengths) if length == self._max_length]
        if full:
            rows = [[column[i] for i in full] for column in texts]
            whole = self._tokenizer(*rows, truncation=False, verbose=False)["input_ids"]
            for i, ids in zip(full, whole, strict=True):
                lengths[i] = len(ids)
                self._cut += len(ids) > self._max_length
        self._longest = max(self._longest, *lengths)
        self._bins.update(1 << (length - 1).bit_length() for length in lengths)
        return encoded

    def counted(self) -> TokenLengths:
        """Return what was counted so far, of at least one row."""
        histogram = {str(most): self._bins[most] for most in sorted(self._bins)}
        return TokenLengths(self._tokens / self._rows, self._longest, self._cut / self._rows, histogram)


def tokenise(
    frame: pd.DataFrame, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> Iterator[pa.RecordBatch]:
    """Tokenise a split, batch by batch, so that no more than one is in memory.

    Args:
        frame: the text columns and `label`.
        text_columns: one or two columns, in the tokenizer's order.
        labels: the label names; a label's id is its position.
        counter: tokenises and counts; longer inputs are cut, the longest text of a pair first.

    Yields:
        Batches with the tokenizer's columns (input_ids, attention_mask, …), `labels` (int64) and `length` (int32,
        tokens), without padding.
    """
    label_ids = {label: i for i, label in enumerate(labels)}
    for rows, texts in _batches(frame, text_columns):
        encoded = counter.encode(texts)
        columns = {name: pa.array(values, pa.list_(pa.int32())) for name, values in encoded.items()}
        columns["labels"] = pa.array([label_ids[label] for label in rows[LABEL]], pa.int64())
        columns["length"] = pa.array([len(ids) for ids in encoded["input_ids"]], pa.int32())
        yield pa.RecordBatch.from_pydict(columns)


def count_tokens(frame: pd.DataFrame, text_columns: Sequence[str], counter: TokenCounter) -> None:
    """Count a split that is handed on as text."""
    for _, texts in _batches(frame, text_columns):
        counter.encode(texts)


def _batches(frame: pd.DataFrame, text_columns: Sequence[str]) -> Iterator[tuple[pd.DataFrame, list[list[str]]]]:
    for start in range(0, len(frame), _BATCH_ROWS):
        rows = frame.iloc[start : start + _BATCH_ROWS]
        yield rows, [rows[column].tolist() for column in text_columns]


def write_arrow(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    """Write an Arrow stream file, which `datasets.Dataset.from_file` memory-maps."""
    first = next(batches)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
