"""Tokenised splits as Arrow files: written once by prep, memory-mapped by every trial."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
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


def tokenise(
    frame: pd.DataFrame, text_columns: Sequence[str], labels: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[pa.Table, float]:
    """Tokenise a split.

    Args:
        frame: the text columns and `label`.
        text_columns: one or two columns, in the tokenizer's order.
        labels: the label names; a label's id is its position.
        tokenizer: a `transformers` tokenizer.
        max_length: tokens; longer inputs are cut, the longest text of a pair first.

    Returns:
        A table with the tokenizer's columns (input_ids, attention_mask, …), `labels` (int64) and `length` (int32,
        tokens), without padding; and the share of rows that were cut.
    """
    batches, cut_rows = [], 0
    label_ids = {label: i for i, label in enumerate(labels)}
    for start in range(0, len(frame), _BATCH_ROWS):
        rows = frame.iloc[start : start + _BATCH_ROWS]
        texts = [rows[column].tolist() for column in text_columns]
        encoded = dict(tokenizer(*texts, truncation=True, max_length=max_length))
        lengths = [len(ids) for ids in encoded["input_ids"]]
        full = [i for i, length in enumerate(lengths) if length == max_length]
        if full:
            whole = tokenizer(*[[column[i] for i in full] for column in texts], truncation=False, verbose=False)
            cut_rows += sum(len(ids) > max_length for ids in whole["input_ids"])
        columns = {name: pa.array(values, pa.list_(pa.int32())) for name, values in encoded.items()}
        columns["labels"] = pa.array([label_ids[label] for label in rows[LABEL]], pa.int64())
        columns["length"] = pa.array(lengths, pa.int32())
        batches.append(pa.table(columns))
    return pa.concat_tables(batches), cut_rows / len(frame)


def write_arrow(table: pa.Table, path: Path) -> None:
    """Write an Arrow stream file, which `datasets.Dataset.from_file` memory-maps."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def mean_length(table: pa.Table) -> float:
    """Return the mean length of a tokenised split, in tokens."""
    return float(np.mean(table.column("length").to_numpy()))
