"""The checks in the order in which prep runs them."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from finetune.data.checks.copies import (
    LEAKAGE,
    TextKeys,
    conflicts,
    duplicates,
    group_leak,
    leaking_train_rows,
    leaks,
    text_keys,
)
from finetune.data.checks.finding import Finding
from finetune.data.checks.findings import Problem, describe, dropping, judge, settle
from finetune.data.checks.policy import DataChecks
from finetune.data.checks.tags import tag_order
from finetune.data.checks.texts import text_problems
from finetune.data.examples import Examples
from finetune.data.manifest import LABEL
from finetune.data.problems import LABEL_KINDS, LabelKind
from finetune.data.splits import count_names, unknown_labels
from finetune.data.tokenise import TokenLengths
from finetune.errors import InputError

LOGGER = logging.getLogger(__name__)
_OTHERS = ("validation", "test")


def check_rows(
    split: str,
    examples: Examples,
    text_columns: Sequence[str],
    policy: DataChecks,
    kind: LabelKind = LABEL_KINDS["single_label"],
) -> tuple[Examples, list[Finding]]:
    """Check a split as the source gives it: marks in the texts, the order of tags, conflicting labels, duplicates.

    Raises:
        InputError: the policy says fail, or nothing would be left.
    """
    problems = list(text_problems(examples.frame, text_columns))
    if kind.tags:
        problems.append(tag_order(examples.frame[LABEL]))
    examples, findings = _settle_all(problems, split, examples, policy)
    keys = text_keys(examples.frame, text_columns)
    found = [conflicts(examples.frame, keys, split), duplicates(examples.frame, keys, split)]
    examples, more = _settle_all(found, split, examples, policy)
    return examples, findings + more


def _settle_all(
    problems: Iterable[Problem], split: str, examples: Examples, policy: DataChecks
) -> tuple[Examples, list[Finding]]:
    """Settle problems that were all found in the same rows, of which some may be dropped on the way."""
    kept = np.ones(len(examples.frame), dtype=bool)
    findings = []
    for problem in problems:
        positions = np.flatnonzero(kept)
        like = {int(np.searchsorted(positions, row)): other for row, other in problem.like.items() if kept[row]}
        mask = problem.mask[positions]
        examples, finding = settle(Problem(problem.check, mask, problem.detail, like), split, examples, policy)
        if finding is not None:
            findings.append(finding)
            if finding.action == "drop":
                kept[positions[mask]] = False
    return examples, findings


def check_splits(
    splits: Mapping[str, Examples],
    text_columns: Sequence[str],
    policy: DataChecks,
    group_column: str | None,
    kind: LabelKind = LABEL_KINDS["single_label"],
) -> tuple[dict[str, Examples], dict[str, TextKeys], list[Finding]]:
    """Check the splits beside each other: unknown labels, leakage into train, class balance.

    Returns:
        The splits that are left, the keys of their texts, and what was found.

    Raises:
        InputError: the policy says fail, or nothing would be left.
    """
    left, findings = dict(splits), list[Finding]()
    known = set(count_names(left["train"].frame[LABEL], kind))
    for split in _OTHERS:
        # Where the policy fails, what checks the labels says it better.
        if policy.unknown_label == "drop":
            mask = unknown_labels(left[split].frame[LABEL], known, kind)
            left[split], finding = settle(
                Problem("unknown_label", mask, "a label that train lacks"), split, left[split], policy
            )
            findings += [] if finding is None else [finding]
    keys = {split: text_keys(examples.frame, text_columns) for split, examples in left.items()}
    for split in _OTHERS:
        problems = list(leaks(keys[split], keys["train"]))
        if group_column is not None:
            problems.append(group_leak(left[split].frame, left["train"].frame, group_column))
        for problem in problems:
            # Dropped from train, below: the rows to measure on stay what they were.
            finding = judge(problem, split, left[split], policy)
            findings += [] if finding is None else [finding]
    left["train"], keys["train"] = _drop_leaking(left, keys, policy, text_columns)
    return left, keys, findings + _check_balance(left["train"], policy, kind)


def _drop_leaking(
    splits: Mapping[str, Examples], keys: Mapping[str, TextKeys], policy: DataChecks, text_columns: Sequence[str]
) -> tuple[Examples, TextKeys]:
    train, frames = splits["train"], {split: splits[split].frame for split in _OTHERS}
    dropped = [check for check in LEAKAGE if policy.action(check) == "drop"]
    if not dropped:
        return train, keys["train"]
    found = leaking_train_rows(keys["train"], {split: keys[split] for split in _OTHERS}, train.frame, frames)
    gone = np.zeros(len(train.frame), dtype=bool)
    left = train
    for check in dropped:
        mask = found[check] & ~gone
        if mask.any():
            left = dropping(left, mask[~gone], check)
            gone |= mask
    return left, text_keys(left.frame, text_columns)


def _check_balance(train: Examples, policy: DataChecks, kind: LabelKind) -> list[Finding]:
    counted = count_names(train.frame[LABEL], kind)
    if kind.background is not None:
        counted.pop(kind.background, None)
    if not counted:
        return []
    counts = counted.most_common()
    (frequent, most), (rare, fewest) = counts[0], counts[-1]
    if most <= policy.imbalance_limit * fewest:
        return []
    things = "rows" if kind.background is None else "words"
    detail = (
        f"{frequent} has {most:,} {things} and {rare} {fewest:,}, {most / fewest:.1f} to 1; "
        f"the limit is {policy.imbalance_limit:g}"
    )
    return [_said("imbalance", "train", train, detail, fewest, policy)]


def check_lengths(
    split: str, examples: Examples, lengths: TokenLengths, max_length: int, policy: DataChecks
) -> list[Finding]:
    """Check how many rows are longer than the model takes.

    Raises:
        InputError: the policy says fail.
    """
    if lengths.truncated_share <= policy.truncated_limit:
        return []
    rows = round(lengths.truncated_share * len(examples.frame))
    detail = (
        f"{lengths.truncated_share:.1%} are longer than {max_length} tokens, the longest {lengths.longest:,}; "
        f"the limit is {policy.truncated_limit:.1%}"
    )
    return [_said("truncated", split, examples, detail, rows, policy)]


def _said(check: str, split: str, examples: Examples, detail: str, rows: int, policy: DataChecks) -> Finding:
    finding = Finding(check, split, policy.action(check), rows, len(examples.frame), detail)
    if finding.action == "fail":
        raise InputError(f"{examples.origin}: {describe(finding)}; the data checks say fail")
    LOGGER.warning("%s: %s", split, describe(finding))
    return finding
