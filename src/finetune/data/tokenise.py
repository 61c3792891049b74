"""Tokenised splits as Arrow files: written once by prep, memory-mapped by every trial."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from finetune.errors import InputError

LENGTH = "length"
"""Column of each row's tokens."""
READ_BACK = frozenset({"example", "offset_start", "offset_end", "word_tags", "word_tokens"})
"""Columns that no model takes: what reads its answers back."""
IGNORED_LABEL = -100
"""What losses leave out: torch's `ignore_index`."""
WINDOW_OVERLAP = 128
"""Tokens that neighbouring windows share, unless told."""
_FEWEST_WINDOW_TOKENS = 32
_BATCH_ROWS = 1000
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xmod", "data2vec-text", "ibert", "mpnet"})
"""Model types whose positions are counted from behind the padding token's id, so that they have fewer."""


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


def check_offsets(tokenizer: Any, checkpoint: str) -> None:
    """Refuse a tokenizer that cannot say where in a text its tokens stand.

    Raises:
        InputError: it is not one of the `tokenizers` library.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"--checkpoint {checkpoint}: its tokenizer does not say where in a text a token stands, which this task "
            "needs; expected one with a tokenizer.json"
        )


def resolve_max_length(requested: int | None, tokenizer: Any, config: Any, most: int = 512) -> int:
    """Return the maximum length in tokens: as requested, else what the model's positions allow, at most `most`.

    Raises:
        InputError: more is requested than the model has positions.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in _OFFSET_POSITIONS:
        positions -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    limit = min(int(value) for value in (positions, tokenizer.model_max_length) if value)
    if requested is None:
        return min(limit, most)
    if positions and not 0 < requested <= positions:
        raise InputError(f"--max_length {requested}: the checkpoint takes 1 to {positions} tokens")
    return requested


def resolve_overlap(requested: int, max_length: int) -> int:
    """Return how many tokens neighbouring windows share: as requested, at most half of the maximum length.

    Raises:
        InputError: windows would not move on, or are too short for a question and a piece of its context.
    """
    if requested < 1:
        raise InputError(f"--doc_stride {requested}: expected a number of tokens of at least 1")
    if max_length < _FEWEST_WINDOW_TOKENS:
        raise InputError(
            f"--max_length {max_length}: expected at least {_FEWEST_WINDOW_TOKENS} tokens, for question and context"
        )
    return min(requested, max_length // 2)


def cut_question(question: str, tokenizer: Any, max_length: int) -> str:
    """Return as much of a question as fits a quarter of the maximum length, so that a context has room beside it."""
    encoded = tokenizer(
        question, add_special_tokens=False, truncation=True, max_length=max_length // 4, return_offsets_mapping=True
    )
    offsets = encoded["offset_mapping"]
    return question[: offsets[-1][1]] if offsets else question


@dataclass(frozen=True)
class TokenLengths:
    """How long a split's rows are, in tokens."""

    mean: float
    """After truncation; of windows, where there are any."""
    longest: int
    """Before truncation."""
    truncated_share: float
    histogram: Mapping[str, int]
    """Rows by length before truncation: the greatest length of a bin, a power of two → rows."""


class TokenCounter:
    """Tokenises rows batch by batch, and counts their lengths."""

    def __init__(self, tokenizer: Any, max_length: int, overlap: int | None = None) -> None:
        """Count with a tokenizer; `overlap` is of the windows that long contexts are read in, where they are."""
        self._tokenizer, self._max_length, self._overlap = tokenizer, max_length, overlap
        self._rows = self._encoded = self._tokens = self._cut = self._longest = 0
        self._bins: Counter[int] = Counter()

    @property
    def class_token(self) -> int | None:
        """Id of the token that stands for a whole text; None where there is no such token."""
        token: int | None = self._tokenizer.cls_token_id
        return token

    def encode(self, texts: Sequence[Sequence[str]], offsets: bool = False) -> dict[str, list[Any]]:
        """Tokenise a batch, one list per text column, and count it; longer rows are cut, the longest text first.

        Returns:
            The tokenizer's columns; with `offsets` also `offset_mapping`, each token's start and end in characters.
        """
        more = {"return_offsets_mapping": True} if offsets else {}
        encoded = dict(self._tokenizer(*texts, truncation=True, max_length=self._max_length, **more))
        lengths = [len(ids) for ids in encoded["input_ids"]]
        self._encoded, self._tokens = self._encoded + len(lengths), self._tokens + sum(lengths)
        full = [i for i, length in enumerate(lengths) if length == self._max_length]
        for i, length in self._whole(texts, full).items():
            lengths[i] = length
            self._cut += length > self._max_length
        self._count(lengths)
        return encoded

    def encode_windows(self, questions: Sequence[str], contexts: Sequence[str]) -> Any:
        """Tokenise a batch of questions, each with its context, long ones in several windows; count it.

        Returns:
            The tokenizer's `BatchEncoding` with a row for each window; `overflow_to_sample_mapping` is its question.
        """
        cut = [cut_question(question, self._tokenizer, self._max_length) for question in questions]
        encoded = self._tokenizer(
            cut,
            contexts,
            truncation="only_second",
            max_length=self._max_length,
            stride=self._overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        lengths = [0] * len(cut)
        for row, ids in zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], strict=True):
            lengths[row] += len(ids)
        self._encoded, self._tokens = self._encoded + len(encoded["input_ids"]), self._tokens + sum(lengths)
        windows = Counter(encoded["overflow_to_sample_mapping"])
        for row, length in self._whole([cut, contexts], [row for row, count in windows.items() if count > 1]).items():
            lengths[row] = length
        self._count(lengths)
        return encoded

    def _whole(self, texts: Sequence[Sequence[str]], rows: Sequence[int]) -> dict[int, int]:
        """Return the length of some rows before they are cut."""
        if not rows:
            return {}
        columns = [[column[row] for row in rows] for column in texts]
        encoded = self._tokenizer(*columns, truncation=False, verbose=False)["input_ids"]
        return {row: len(ids) for row, ids in zip(rows, encoded, strict=True)}

    def _count(self, lengths: Sequence[int]) -> None:
        self._rows += len(lengths)
        self._longest = max(self._longest, *lengths)
        self._bins.update(1 << (length - 1).bit_length() for length in lengths)

    def counted(self) -> TokenLengths:
        """Return what was counted so far, of at least one row."""
        histogram = {str(most): self._bins[most] for most in sorted(self._bins)}
        return TokenLengths(self._tokens / self._encoded, self._longest, self._cut / self._rows, histogram)


def tokenise(
    frame: pd.DataFrame, encode: Callable[[pd.DataFrame, int], dict[str, pa.Array]]
) -> Iterator[pa.RecordBatch]:
    """Tokenise a split, batch by batch, so that no more than one is in memory.

    Args:
        frame: the split's rows.
        encode: one of `finetune.data.encoders`, given all but a batch of rows and how many came before it.

    Yields:
        Batches of the encoder's columns, without padding.
    """
    for start in range(0, len(frame), _BATCH_ROWS):
        yield pa.RecordBatch.from_pydict(encode(frame.iloc[start : start + _BATCH_ROWS], start))


def without_read_back(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Leave out what only reads answers back, where nothing does."""
    for batch in batches:
        yield batch.drop_columns([name for name in batch.schema.names if name in READ_BACK])


def write_arrow(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    """Write an Arrow stream file, which `datasets.Dataset.from_file` memory-maps."""
    first = next(batches)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
