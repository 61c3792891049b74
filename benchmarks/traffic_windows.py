"""Which model may have answered when: from what rollouts wrote down, and what a client was answered; pure."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DEVIATIONS = 5.0
"""Standard deviations that a share may be off; by chance, once in two million."""


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


def find_wrong_shares(answers: Sequence[Answer], splits: Sequence[Split]) -> list[str]:
    """Find splits that the answers do not bear out."""
    found = []
    for split, following in itertools.pairwise(splits):
        inside = [each for each in answers if split.latest <= each.began and each.ended <= following.earliest]
        counts = Counter(answer.model for answer in inside if answer.model is not None)
        for model, percent in split.shares.items():
            share = percent / 100
            expected = len(inside) * share
            if abs(counts[model] - expected) > DEVIATIONS * math.sqrt(len(inside) * share * (1 - share)):
                found.append(f"{model} had {percent} % of {len(inside)} requests and answered {counts[model]}")
    return found
