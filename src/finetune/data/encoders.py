"""From texts and labels to the columns that a model is trained on, by problem."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from finetune.data.label_texts import read_names, read_spans, read_tags
from finetune.data.manifest import LABEL
from finetune.data.tokenise import IGNORED_LABEL, TokenCounter

NO_PLACE = -1
"""The offset of tokens that are not of the context, and the token of words that have none."""


class Encoder(Protocol):
    """Makes columns of a batch of rows."""

    def __call__(
        self,
        rows: pd.DataFrame,
        start: int,
        text_columns: Sequence[str],
        labels: Sequence[str],
        counter: TokenCounter,
    ) -> dict[str, pa.Array]:
        """Encode a batch.

        Args:
            rows: the text columns and `label`.
            start: rows of the split before this batch.
            text_columns: one or two columns, in the tokenizer's order.
            labels: the label names; a label's id is its position.
            counter: tokenises, cuts and counts.

        Returns:
            The tokenizer's columns (input_ids, attention_mask, …; list of int32), `length` (int32, tokens), and the
            labels; then what only reads answers back (`finetune.data.tokenise.READ_BACK`).
        """


def encode_classes(
    rows: pd.DataFrame, start: int, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> dict[str, pa.Array]:
    """`labels`: int64."""
    ids = {label: i for i, label in enumerate(labels)}
    values = pa.array([ids[label] for label in rows[LABEL]], pa.int64())
    return {**_inputs(counter.encode(_texts(rows, text_columns))), "labels": values}


def encode_flags(
    rows: pd.DataFrame, start: int, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> dict[str, pa.Array]:
    """`labels`: as many float32 as there are names, 1 or 0."""
    ids = {label: i for i, label in enumerate(labels)}
    flags = np.zeros((len(rows), len(labels)), dtype=np.float32)
    for row, text in enumerate(rows[LABEL]):
        flags[row, [ids[name] for name in read_names(text)]] = 1
    values = pa.FixedSizeListArray.from_arrays(pa.array(flags.ravel()), len(labels))
    return {**_inputs(counter.encode(_texts(rows, text_columns))), "labels": values}


def encode_numbers(
    rows: pd.DataFrame, start: int, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> dict[str, pa.Array]:
    """`labels`: float32."""
    values = pa.array([float(text) for text in rows[LABEL]], pa.float32())
    return {**_inputs(counter.encode(_texts(rows, text_columns))), "labels": values}


def encode_tags(
    rows: pd.DataFrame, start: int, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> dict[str, pa.Array]:
    """`labels`: int32 a token, that of the word for its first token, -100 for all others.

    To read back: `word_tags`, the tag of each word, and `word_tokens`, its first token; -1 where it has none.
    """
    ids = {label: i for i, label in enumerate(labels)}
    encoded = counter.encode(_texts(rows, text_columns), offsets=True)
    offsets = encoded.pop("offset_mapping")
    (column,) = text_columns
    token_labels, word_tags, word_tokens = [], [], []
    for text, label, places in zip(rows[column], rows[LABEL], offsets, strict=True):
        tags = np.array([ids[tag] for tag in read_tags(label)])
        tokens = first_tokens(text.split(" "), places)
        values = np.full(len(places), IGNORED_LABEL)
        values[tokens[tokens >= 0]] = tags[tokens >= 0]
        token_labels.append(values)
        word_tags.append(tags)
        word_tokens.append(tokens)
    return {
        **_inputs(encoded),
        "labels": _lists(token_labels),
        "word_tags": _lists(word_tags),
        "word_tokens": _lists(word_tokens),
    }


def encode_spans(
    rows: pd.DataFrame, start: int, text_columns: Sequence[str], labels: Sequence[str], counter: TokenCounter
) -> dict[str, pa.Array]:
    """Encode a row for each window, with the tokens that begin and end the first accepted answer.

    `start_positions`, `end_positions`: int64; the first token's where the answer is not in the window (as in Devlin et
    al. 2019). To read back: `example`, the row of the split; `offset_start` and `offset_end`, each token's place in the
    context, in characters; -1 for tokens that are not of it.
    """
    questions, contexts = _texts(rows, text_columns)
    spans = [read_spans(label)[0] for label in rows[LABEL]]
    encoded = counter.encode_windows(questions, contexts)
    examples = encoded["overflow_to_sample_mapping"]
    places, positions = [], []
    for window, example in enumerate(examples):
        offsets = context_offsets(encoded["offset_mapping"][window], encoded.sequence_ids(window))
        places.append(offsets)
        nowhere = _class_token(encoded["input_ids"][window], counter.class_token)
        positions.append(_answer_tokens(offsets, spans[example].start, spans[example].end) or (nowhere, nowhere))
    inputs = {k: v for k, v in encoded.items() if k not in ("overflow_to_sample_mapping", "offset_mapping")}
    return {
        **_inputs(inputs),
        "start_positions": pa.array([first for first, _ in positions], pa.int64()),
        "end_positions": pa.array([last for _, last in positions], pa.int64()),
        "example": pa.array([start + example for example in examples], pa.int32()),
        "offset_start": _lists([offsets[:, 0] for offsets in places]),
        "offset_end": _lists([offsets[:, 1] for offsets in places]),
    }


def first_tokens(words: Sequence[str], offsets: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the position of each word's first token; -1 for a word that has none, as one beyond the maximum length.

    Args:
        words: they are separated by single spaces in the text that was tokenised.
        offsets: start and end of each token in that text, in characters; (0, 0) for tokens that stand for no text.
    """
    ends = np.cumsum([len(word) + 1 for word in words])
    found = np.full(len(words), NO_PLACE)
    for token, (start, end) in enumerate(offsets):
        if end == start:
            continue
        word = int(np.searchsorted(ends, start, side="right"))
        if word < len(words) and start == ends[word] - 1:
            # The space before a word, which some tokenizers take into the word's token, and some make one of its own.
            word += 1
            if end - start == 1:
                continue
        if word < len(words) and found[word] == NO_PLACE:
            found[word] = token
    return found


def context_offsets(offsets: Sequence[Sequence[int]], parts: Sequence[int | None]) -> np.ndarray:
    """Return each token's place in the context, shape (tokens, 2); -1 for tokens of the question and of no text."""
    places = np.array(offsets).reshape(-1, 2)
    inside = np.array([part == 1 for part in parts])
    places[~inside | (places[:, 0] == places[:, 1])] = NO_PLACE
    return places


def _answer_tokens(offsets: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """Return the tokens that hold an answer's first and last character; None when they are not both in the window."""
    inside = np.flatnonzero(offsets[:, 0] >= 0)
    if not len(inside) or offsets[inside[0], 0] > start or offsets[inside[-1], 1] < end:
        return None
    first = inside[offsets[inside, 1] > start][0]
    last = inside[offsets[inside, 0] < end][-1]
    return int(first), int(last)


def _class_token(ids: Sequence[int], class_token: int | None) -> int:
    return ids.index(class_token) if class_token in ids else 0


def _texts(rows: pd.DataFrame, text_columns: Sequence[str]) -> list[list[str]]:
    return [rows[column].tolist() for column in text_columns]


def _inputs(encoded: Mapping[str, Any]) -> dict[str, pa.Array]:
    columns = {name: pa.array(values, pa.list_(pa.int32())) for name, values in encoded.items()}
    return {**columns, "length": pa.array([len(ids) for ids in encoded["input_ids"]], pa.int32())}


def _lists(rows: Sequence[np.ndarray]) -> pa.Array:
    return pa.array([row.astype(np.int32) for row in rows], pa.list_(pa.int32()))
