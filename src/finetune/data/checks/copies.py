"""What can be seen of rows beside others: copies, conflicts, leakage."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finetune.data.checks.findings import Problem
from finetune.data.manifest import LABEL

SEEN_CHECKS = ("leakage", "normalised_leakage")
"""Find the rows that test.parquet marks as seen in train."""
LEAKAGE = (*SEEN_CHECKS, "group_leakage")
GROUP = "group"
"""Column of the values of --group_column, beside the texts."""


@dataclass(frozen=True)
class TextKeys:
    """What tells a split's texts apart, 16 bytes a row however long they are."""

    exact: pd.Index
    normalised: pd.Index
    rows: pd.Index
    """Of the source, counted from 0."""


def text_keys(frame: pd.DataFrame, text_columns: Sequence[str]) -> TextKeys:
    """Return the keys of a split's rows."""
    exact, normalised = (_keys(frame, text_columns, form) for form in (str, normalise))
    return TextKeys(exact, normalised, frame.index)


def normalise(text: str) -> str:
    """Return a text without what copies of it differ in: case, punctuation, spaces and forms of one character.

    A text of punctuation alone stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split()) or text


def _keys(frame: pd.DataFrame, text_columns: Sequence[str], form: Callable[[str], str]) -> pd.Index:
    rows = zip(*(frame[column] for column in text_columns), strict=True)
    # Two of a million texts share a key of 16 bytes with a probability of 1e-27.
    return pd.Index(
        [hashlib.blake2b("\0".join(map(form, texts)).encode(), digest_size=16).digest() for texts in rows], dtype=object
    )


def conflicts(frame: pd.DataFrame, keys: TextKeys, split: str) -> Problem:
    """Find rows whose texts carry another label elsewhere in the split."""
    labels = pd.Series(frame[LABEL].to_numpy(), index=keys.exact)
    several = labels.groupby(level=0).nunique()
    mask = np.asarray(keys.exact.isin(several.index[several > 1]))
    texts = int((several > 1).sum())
    return Problem("conflicting_labels", mask, f"{texts:,} texts with more than one label", _first(keys, mask, split))


def duplicates(frame: pd.DataFrame, keys: TextKeys, split: str) -> Problem:
    """Find rows with the texts and the label of an earlier one."""
    mask = pd.DataFrame({"texts": keys.exact, LABEL: frame[LABEL].to_numpy()}).duplicated().to_numpy()
    return Problem("duplicates", mask, "the texts and label of an earlier row", _first(keys, mask, split))


def _first(keys: TextKeys, mask: np.ndarray, split: str) -> dict[int, str]:
    """Return the first row of the same texts, for the first few rows that have one."""
    found = {}
    for row in np.flatnonzero(mask)[:20]:
        first = int(np.flatnonzero(keys.exact == keys.exact[row])[0])
        if first != row:
            found[int(row)] = f"{split} {keys.rows[first] + 1}"
    return found


def leaks(split: TextKeys, train: TextKeys) -> tuple[Problem, Problem]:
    """Find rows of validation or test whose texts occur in train: to the letter, and further ones normalised."""
    exact = np.asarray(split.exact.isin(train.exact))
    normalised = np.asarray(split.normalised.isin(train.normalised)) & ~exact
    said = "the texts of a row of train"
    return (
        _leak("leakage", said, split.exact, exact, train.exact, train),
        _leak(
            "normalised_leakage",
            f"{said} but for case, punctuation and spaces",
            split.normalised,
            normalised,
            train.normalised,
            train,
        ),
    )


def _leak(check: str, said: str, keys: pd.Index, mask: np.ndarray, among: pd.Index, train: TextKeys) -> Problem:
    detail = f"{said} ({len(keys[mask].unique()):,} different)"
    return Problem(check, mask, detail, _in_train(keys, mask, among, train))


def _in_train(keys: pd.Index, mask: np.ndarray, among: pd.Index, train: TextKeys) -> dict[int, str]:
    rows = np.flatnonzero(mask)[:20]
    return {int(row): f"train {train.rows[int(np.flatnonzero(among == keys[row])[0])] + 1}" for row in rows}


def group_leak(frame: pd.DataFrame, train: pd.DataFrame, column: str) -> Problem:
    """Find rows of validation or test whose group has rows in train."""
    return Problem("group_leakage", frame[GROUP].isin(train[GROUP]).to_numpy(), f"a {column} that has rows in train")


def leaking_train_rows(
    train: TextKeys, others: Mapping[str, TextKeys], train_frame: pd.DataFrame, frames: Mapping[str, pd.DataFrame]
) -> dict[str, np.ndarray]:
    """Return, by check, the rows of train that occur in validation or test."""
    found = {name: np.zeros(len(train.exact), dtype=bool) for name in LEAKAGE}
    for split, keys in others.items():
        exact = np.asarray(train.exact.isin(keys.exact))
        found["leakage"] |= exact
        found["normalised_leakage"] |= np.asarray(train.normalised.isin(keys.normalised)) & ~exact
        if GROUP in train_frame:
            found["group_leakage"] |= train_frame[GROUP].isin(frames[split][GROUP]).to_numpy()
    return found
