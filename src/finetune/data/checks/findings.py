"""What a check found, and what was done about it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from finetune.data.checks.finding import Finding
from finetune.data.checks.policy import DataChecks
from finetune.data.examples import Examples
from finetune.errors import InputError

LOGGER = logging.getLogger(__name__)
MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Problem:
    """What a check found, before anything is done about it."""

    check: str
    mask: np.ndarray
    """The rows it is about, shape (n,)."""
    detail: str
    like: Mapping[int, str] = field(default_factory=dict)
    """Position of a row → a row like it."""


def judge(problem: Problem, split: str, examples: Examples, policy: DataChecks) -> Finding | None:
    """Say what was found, in the log too; None when there is no row to it.

    Raises:
        InputError: the policy says fail.
    """
    rows = np.flatnonzero(problem.mask)
    if not len(rows):
        return None
    sources = examples.frame.index
    like = {row: f" = {problem.like[row]}" if row in problem.like else "" for row in map(int, rows[:MOST_EXAMPLES])}
    shown = tuple(f"{sources[row] + 1}{other}" for row, other in like.items())
    action = policy.action(problem.check)
    finding = Finding(problem.check, split, action, len(rows), len(problem.mask), problem.detail, shown)
    if action == "fail":
        raise InputError(f"{examples.origin}: {describe(finding)}; the data checks say fail")
    LOGGER.log(logging.WARNING if action == "warn" else logging.INFO, "%s: %s", split, describe(finding))
    return finding


def settle(problem: Problem, split: str, examples: Examples, policy: DataChecks) -> tuple[Examples, Finding | None]:
    """Do what the policy says about a problem.

    Returns:
        The rows that stay, and the finding; None when there is no row to it.

    Raises:
        InputError: the policy says fail.
    """
    finding = judge(problem, split, examples, policy)
    if finding is not None and finding.action == "drop":
        examples = dropping(examples, problem.mask, problem.check)
    return examples, finding


def dropping(examples: Examples, mask: np.ndarray, check: str) -> Examples:
    """Return a split without some rows, which are counted under the check's name.

    Raises:
        InputError: no row is left.
    """
    reason, rows = check.replace("_", " "), int(mask.sum())
    if rows == len(mask):
        raise InputError(f"{examples.origin}: all {rows} rows would be dropped: {reason}")
    counted = {**examples.dropped, reason: examples.dropped.get(reason, 0) + rows}
    return replace(examples, frame=examples.frame[~mask], dropped=counted)


def describe(finding: Finding) -> str:
    """Return a finding in one line."""
    rows = "row" if finding.rows == 1 else "rows"
    share = f"{finding.rows:,} {rows} of {finding.of:,}"
    return f"{finding.check}: {finding.detail}: {share}" + (
        f", first: row {', '.join(finding.examples)}" if finding.examples else ""
    )
