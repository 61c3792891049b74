"""Given splits are kept; missing ones are cut from train, stratified and seeded."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from sklearn.model_selection import train_test_split

from finetune.data.columns import Examples
from finetune.data.manifest import LABEL
from finetune.errors import InputError


def complete_splits(
    given: Mapping[str, Examples], validation_share: float, test_share: float, seed: int
) -> dict[str, Examples]:
    """Return train, validation and test; what is not given is cut from train.

    Shares are of the rows of train as it was given. The same rows, shares and seed give the same splits.

    Raises:
        InputError: a share is not between 0 and 1, or a label has too few rows to be in every split.
    """
    shares = {"test": test_share, "validation": validation_share}
    missing = {split: share for split, share in shares.items() if split not in given}
    for split, share in missing.items():
        if not 0 < share < 1:
            raise InputError(f"--{split}_share {share}: expected a share between 0 and 1")
    if sum(missing.values()) >= 1:
        raise InputError(f"the shares of {' and '.join(missing)} leave no row for train")
    train = given["train"]
    rest, splits = train.frame, dict(given)
    for split, share in missing.items():
        rest, cut = _cut(rest, round(share * len(train.frame)), train.origin, split, seed)
        splits[split] = Examples(cut, f"{train.origin}, cut with seed {seed}", {})
    splits["train"] = Examples(rest, train.origin, train.dropped)
    return {split: splits[split] for split in ("train", "validation", "test")}


def check_labels(splits: Mapping[str, Examples]) -> tuple[str, ...]:
    """Return train's labels, sorted; the other splits may use no other.

    Raises:
        InputError: train has fewer than two labels, or a split has a label that train lacks.
    """
    labels = tuple(sorted(splits["train"].frame[LABEL].unique()))
    if len(labels) < 2:
        raise InputError(f"{splits['train'].origin}: the only label is {labels[0]!r}; expected at least two")
    for split, examples in splits.items():
        unknown = examples.frame[~examples.frame[LABEL].isin(labels)]
        if not unknown.empty:
            raise InputError(
                f"{examples.origin}: label {unknown.iloc[0][LABEL]!r} ({len(unknown)} rows of the {split} split, "
                f"first: row {unknown.index[0] + 1}) does not occur in train; train has {', '.join(labels)}"
            )
    return labels


def mark_seen_in_train(splits: Mapping[str, Examples], text_columns: Sequence[str]) -> dict[str, pd.Series]:
    """Mark the rows of validation and test whose texts occur in train.

    Returns:
        A mark per row and split: "exact", "normalised" (the same but for case, punctuation and spaces) or "no".

    Raises:
        InputError: all of a split's rows occur in train: nothing would be measured but memory.
    """
    exact = set(_texts(splits["train"], text_columns))
    normalised = {tuple(map(normalise, texts)) for texts in exact}
    marks = {}
    for split in ("validation", "test"):
        examples = splits[split]
        found = [
            "exact" if texts in exact else "normalised" if tuple(map(normalise, texts)) in normalised else "no"
            for texts in _texts(examples, text_columns)
        ]
        if "no" not in found:
            raise InputError(f"{examples.origin}: all {len(found)} rows of the {split} split occur in train")
        marks[split] = pd.Series(found, index=examples.frame.index)
    return marks


def normalise(text: str) -> str:
    """Return a text without what copies of it differ in: case, punctuation, spaces and forms of one character.

    A text of punctuation alone stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split()) or text


def _texts(examples: Examples, text_columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from examples.frame[list(text_columns)].itertuples(index=False, name=None)


def _cut(frame: pd.DataFrame, rows: int, origin: str, split: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    counts = frame[LABEL].value_counts()
    if rows < len(counts) or counts.min() < 2 or len(frame) - rows < len(counts):
        raise InputError(
            f"{origin}: cannot cut a stratified {split} split of {rows} rows: {len(counts)} labels, the rarest "
            f"({counts.idxmin()!r}) with {counts.min()} rows; give a {split} split or more rows"
        )
    rest, cut = train_test_split(frame, test_size=rows, random_state=seed, stratify=frame[LABEL])
    return rest.sort_index().reset_index(drop=True), cut.sort_index().reset_index(drop=True)
