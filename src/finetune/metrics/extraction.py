"""Metrics of extractive question answering, as SQuAD's own script has them (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

EXTRACTION_METRICS = ("f1", "exact_match")
LOWER_IS_BETTER: tuple[str, ...] = ()
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)


def normalised(answer: str) -> str:
    """Return an answer in lower case, without punctuation, articles and superfluous spaces."""
    bare = "".join(mark for mark in answer.lower() if mark not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """Return 1 when the answer is one of the accepted ones, normalised; else 0."""
    return float(any(normalised(answer) == normalised(each) for each in accepted))


def word_f1(answer: str, accepted: Sequence[str]) -> float:
    """Return the F1 of the words that the answer shares with the accepted one that it is nearest to."""
    found = normalised(answer).split()

    def against(words: list[str]) -> float:
        shared = sum((Counter(found) & Counter(words)).values())
        return 2 * shared / (len(found) + len(words)) if shared else 0.0

    return max(against(normalised(each).split()) for each in accepted)


def extraction_scores(answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> np.ndarray:
    """Return each row's F1 and exact match, from 0 to 1, shape (n, 2): their means are the metrics.

    Args:
        answers: a text for each row.
        accepted: for each row the texts that are right, at least one.
    """
    rows = [(word_f1(*pair), exact_match(*pair)) for pair in zip(answers, accepted, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def extraction_metrics(scores: np.ndarray) -> dict[str, float]:
    """Return f1 and exact_match from `extraction_scores`."""
    return dict(zip(EXTRACTION_METRICS, map(float, scores.mean(axis=0)), strict=True))
