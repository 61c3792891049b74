"""Which model may have answered when: from what rollouts wrote down, and what a client was answered; pure."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scipy.stats import binomtest

CHANCE = 6e-7
"""Shares that are less likely than this are no chance: that of five standard deviations of a normal distribution."""


@dataclass(frozen=True)
class Answer:
    """An answer, as the client saw it.

    Attributes:
        began: When it was asked for, in seconds since 1970.
        ended: When it was there.
        model: Who answered; ``None`` when the request failed.
        error: Why it failed.
    """

    began: float
    ended: float
    model: str | None
    error: str | None = None


@dataclass(frozen=True)
class Split:
    """A split of the traffic, and when it came into force.

    Attributes:
        earliest: The last moment at which it surely did not hold yet, in seconds since 1970.
        latest: The first moment from which it surely held.
        shares: Percent by model; none of them 0.
    """

    earliest: float
    latest: float
    shares: Mapping[str, int]


@dataclass(frozen=True)
class Pool:
    """The answers of one split, or of several equal ones.

    Attributes:
        name: Says which.
        percents: Shares of the models; who served first comes first.
        splits: How many splits they are.
        requests: Requests whose question and answer lie inside.
        counts: How many of them each model answered.
    """

    name: str
    percents: tuple[int, ...]
    splits: int
    requests: int
    counts: tuple[int, ...]

    @property
    def fault(self) -> str | None:
        """Say what is wrong with it, if anything."""
        for percent, count in zip(self.percents, self.counts, strict=True):
            likelihood = binomtest(count, self.requests, percent / 100).pvalue if self.requests else 1.0
            if likelihood < CHANCE:
                return f"{self.name}: {count} of {self.requests} requests were answered by the model with {percent} %"
        return None

    @property
    def shortage(self) -> str | None:
        """Say whether its requests are too few to notice a model that answers none."""
        least = min(self.percents) / 100
        if least < 1 and (1 - least) ** self.requests >= CHANCE:
            return f"{self.name}: {self.requests} requests are too few to judge a share of {least:.0%}"
        return None


def splits_of(started: float, steps: Iterable[Mapping[str, Any]], models: Mapping[str, str]) -> Iterator[Split]:
    """Read the splits off a rollout's journal.

    Args:
        started: When the rollout was started.
        steps: Its steps: each says ``at`` and the ``traffic`` that holds after it.
        models: The model of each deployment.
    """
    before, last = started, None
    for step in steps:
        at = datetime.fromisoformat(step["at"]).timestamp()
        shares = {models[name]: share for name, share in step["traffic"].items() if share}
        if shares != last:
            yield Split(before, at, shares)
        before, last = at, shares


def join(splits: Iterable[Split]) -> list[Split]:
    """Join the splits of rollouts one after another; a rollout begins with the split that the one before left."""
    joined: list[Split] = []
    for split in splits:
        if not joined or joined[-1].shares != split.shares:
            joined.append(split)
    return joined


def find_wrong_answers(answers: Sequence[Answer], splits: Sequence[Split]) -> list[str]:
    """Find answers of models that had no traffic at any moment between question and answer."""
    ends = [*(split.latest for split in splits[1:]), math.inf]
    allowed: dict[str, list[tuple[float, float]]] = {}
    for split, end in zip(splits, ends, strict=True):
        for model in split.shares:
            allowed.setdefault(model, []).append((split.earliest, end))
    return [
        f"{answer.model} answered at {answer.ended:.3f}, and had no traffic"
        for answer in answers
        if answer.model is not None
        and not any(answer.ended >= begin and answer.began <= end for begin, end in allowed.get(answer.model, ()))
    ]


def count(answers: Sequence[Answer], splits: Sequence[Split]) -> list[Pool]:
    """Count the answers of each split by itself.

    Args:
        answers: All answers.
        splits: All splits, in order; the last one holds until the end.
    """
    models = dict.fromkeys(model for split in splits for model in split.shares)
    order = {model: place for place, model in enumerate(models)}
    ends = [*(split.earliest for split in splits[1:]), math.inf]
    counted = []
    for split, end in zip(splits, ends, strict=True):
        inside = [each.model for each in answers if split.latest <= each.began and each.ended <= end]
        of = Counter(model for model in inside if model is not None)
        sharing = sorted(split.shares, key=order.__getitem__)
        if sharing:
            percents = tuple(split.shares[model] for model in sharing)
            name = ", ".join(f"{model} {split.shares[model]} %" for model in sharing)
            counted.append(Pool(name, percents, 1, len(inside), tuple(of[model] for model in sharing)))
    return counted


def pool(counted: Sequence[Pool]) -> list[Pool]:
    """Put equal splits together, as all of 90 to 10."""
    kinds: dict[tuple[int, ...], list[Pool]] = {}
    for each in counted:
        kinds.setdefault(each.percents, []).append(each)
    return [
        Pool(
            f"all splits of {' to '.join(map(str, percents))}",
            percents,
            len(members),
            sum(member.requests for member in members),
            tuple(map(sum, zip(*(member.counts for member in members), strict=True))),
        )
        for percents, members in kinds.items()
    ]


def find_wrong_shares(answers: Sequence[Answer], splits: Sequence[Split]) -> list[str]:
    """Find splits that the answers do not bear out: each by itself, and equal ones together.

    A short canary by itself proves little; all of its kind together must have enough requests to prove their share.
    """
    counted = count(answers, splits)
    pooled = pool(counted)
    faults = [each.fault for each in [*counted, *pooled]] + [each.shortage for each in pooled]
    return [fault for fault in faults if fault is not None]
