"""Given splits are kept; missing ones are cut from train, stratified and seeded."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from finetune.data.checks.copies import TextKeys, leaks
from finetune.data.examples import Examples
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


def mark_seen_in_train(split: TextKeys, train: TextKeys, examples: Examples, name: str) -> pd.Series:
    """Mark the rows of validation or test whose texts occur in train.

    Returns:
        A mark per row: "exact", "normalised" (the same but for case, punctuation and spaces) or "no".

    Raises:
        InputError: all of the split's rows occur in train: nothing would be measured but memory.
    """
    exact, normalised = (problem.mask for problem in leaks(split, train))
    if (exact | normalised).all():
        raise InputError(f"{examples.origin}: all {len(exact)} rows of the {name} split occur in train")
    return pd.Series(np.select([exact, normalised], ["exact", "normalised"], "no"), index=examples.frame.index)


def _cut(frame: pd.DataFrame, rows: int, origin: str, split: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    counts = frame[LABEL].value_counts()
    if rows < len(counts) or counts.min() < 2 or len(frame) - rows < len(counts):
        raise InputError(
            f"{origin}: cannot cut a stratified {split} split of {rows} rows: {len(counts)} labels, the rarest "
            f"({counts.idxmin()!r}) with {counts.min()} rows; give a {split} split or more rows"
        )
    rest, cut = train_test_split(frame, test_size=rows, random_state=seed, stratify=frame[LABEL])
    return rest.sort_index(), cut.sort_index()
