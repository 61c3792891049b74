"""Given splits are kept; missing ones are cut from train, seeded.

Stratified by label where a row has one of some names; at random otherwise.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from finetune.data.checks.copies import TextKeys, leaks
from finetune.data.examples import Examples
from finetune.data.manifest import LABEL
from finetune.data.problems import LABEL_KINDS, LabelKind
from finetune.errors import InputError


def complete_splits(
    given: Mapping[str, Examples],
    validation_share: float,
    test_share: float,
    seed: int,
    kind: LabelKind = LABEL_KINDS["single_label"],
) -> dict[str, Examples]:
    """Return train, validation and test; what is not given is cut from train.

    Shares are of the rows of train as it was given. The same rows, shares and seed give the same splits. A cut that is
    not stratified leaves train a row of every name that it has, and may be smaller than its share for that.

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
        rows = round(share * len(train.frame))
        if kind.stratified:
            rest, cut = _cut_stratified(rest, rows, train.origin, split, seed)
        else:
            rest, cut = _cut_at_random(rest, rows, train.origin, split, seed, kind)
        how = "" if kind.stratified else " at random" if kind.together is None else f" by {kind.together}"
        splits[split] = Examples(cut, f"{train.origin}, cut{how} with seed {seed}", {})
    splits["train"] = Examples(rest, train.origin, train.dropped)
    return {split: splits[split] for split in ("train", "validation", "test")}


def check_labels(splits: Mapping[str, Examples], kind: LabelKind = LABEL_KINDS["single_label"]) -> tuple[str, ...]:
    """Return the names of train's labels, sorted; the other splits may use no other.

    Raises:
        InputError: train has too few names to learn from, or a split has one that train lacks.
    """
    train = splits["train"]
    labels = tuple(sorted(count_names(train.frame[LABEL], kind)))
    if len(labels) < kind.fewest_names:
        found = f"the only label is {labels[0]!r}" if labels else "no row has a label"
        raise InputError(f"{train.origin}: {found}; expected at least {('one', 'two')[kind.fewest_names - 1]}")
    for split, examples in splits.items():
        mask = unknown_labels(examples.frame[LABEL], labels, kind)
        unknown = examples.frame[mask]
        if not unknown.empty:
            name = next(piece for piece in kind.pieces(unknown.iloc[0][LABEL]) if piece not in labels)
            raise InputError(
                f"{examples.origin}: label {name!r} ({len(unknown)} rows of the {split} split, "
                f"first: row {unknown.index[0] + 1}) does not occur in train; train has {', '.join(labels)}"
            )
    return labels


def count_names(labels: pd.Series, kind: LabelKind) -> Counter[str]:
    """Return how often each name occurs in some labels."""
    # Texts recur, and counting them first is one operation of pandas.
    counts: Counter[str] = Counter()
    for text, rows in labels.value_counts(sort=False).items():
        for piece in kind.pieces(str(text)):
            counts[piece] += int(rows)
    return counts


def unknown_labels(labels: pd.Series, known: Collection[str], kind: LabelKind) -> np.ndarray:
    """Return which labels hold a name that is not known, shape (n,)."""
    names = frozenset(known)
    unknown = {text for text in labels.unique() if not names.issuperset(kind.pieces(text))}
    return labels.isin(unknown).to_numpy(dtype=bool)


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


def _cut_stratified(
    frame: pd.DataFrame, rows: int, origin: str, split: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    counts = frame[LABEL].value_counts()
    if rows < len(counts) or counts.min() < 2 or len(frame) - rows < len(counts):
        raise InputError(
            f"{origin}: cannot cut a stratified {split} split of {rows} rows: {len(counts)} labels, the rarest "
            f"({counts.idxmin()!r}) with {counts.min()} rows; give a {split} split or more rows"
        )
    rest, cut = train_test_split(frame, test_size=rows, random_state=seed, stratify=frame[LABEL])
    return rest.sort_index(), cut.sort_index()


def _cut_at_random(
    frame: pd.DataFrame, rows: int, origin: str, split: str, seed: int, kind: LabelKind
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut rows, or all rows of some texts, until there are as many as asked for."""
    labels, left = frame[LABEL].to_numpy(), count_names(frame[LABEL], kind)
    if kind.together is None:
        groups = list(np.arange(len(frame)).reshape(-1, 1))
    else:
        codes = pd.factorize(frame[kind.together])[0]
        groups = np.split(np.argsort(codes, kind="stable"), np.bincount(codes).cumsum()[:-1])
    taken: list[int] = []
    for number in np.random.default_rng(seed).permutation(len(groups)):
        if len(taken) == rows:
            break
        group = groups[number]
        held = Counter(piece for row in group for piece in kind.pieces(labels[row]))
        if len(taken) + len(group) <= rows and all(left[name] > count for name, count in held.items()):
            left.subtract(held)
            taken.extend(group)
    if not taken or len(taken) == len(frame):
        raise InputError(
            f"{origin}: cannot cut a {split} split of {rows} rows from {len(frame)}; give a {split} split or more rows"
        )
    mask = np.zeros(len(frame), dtype=bool)
    mask[taken] = True
    return frame[~mask], frame[mask]
