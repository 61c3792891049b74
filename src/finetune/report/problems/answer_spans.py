"""A piece of the context a row: how F1 is spread, by question word and by the context's length, the largest errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.answers.answer_spans import CONTEXT, QUESTION, SCORE, accepted_answers
from finetune.report.facts import Facts
from finetune.report.markdown import figure, table
from finetune.report.problems import answer_figures
from finetune.report.problems.kind import (
    MOST_BRIEF_ERRORS,
    MOST_ERRORS,
    ProblemReport,
    errors_section,
)
from finetune.report.texts import escaped
from finetune.verdict import CHALLENGER, CHAMPION

_QUESTION_WORDS = ("what", "who", "when", "where", "which", "why", "how")
_OTHER = "other"
_LENGTH_PARTS = 5


@dataclass(frozen=True)
class PartRow:
    """F1 and exact match where questions or contexts have something in common."""

    name: str
    rows: int
    f1: float
    exact_match: float
    champion_f1: float | None


@dataclass(frozen=True)
class WrongAnswer:
    """An answer that shares little with those accepted."""

    row: int
    """Of predictions.parquet, counted from 0."""
    question: str
    context: str
    accepted: tuple[str, ...]
    """Each once."""
    answer: str
    f1: float
    score: float
    champion: str | None


def wrong_answers(facts: Facts, most: int) -> list[WrongAnswer]:
    """Return the answers with the lowest F1, those first that the challenger was surest of."""
    f1, frame = facts.scored[CHALLENGER].arrays[0][:, 0], facts.predictions
    scores, accepted = frame[f"{CHALLENGER}{SCORE}"].to_numpy(), accepted_answers(frame)
    order = [row for row in np.lexsort((-scores, f1))[:most].tolist() if f1[row] < 1]
    return [
        WrongAnswer(
            row,
            facts.texts_of(row)[QUESTION],
            facts.texts_of(row)[CONTEXT],
            tuple(dict.fromkeys(accepted[row])),
            str(frame[CHALLENGER].iloc[row]),
            float(f1[row]),
            float(scores[row]),
            str(frame[CHAMPION].iloc[row]) if CHAMPION in frame else None,
        )
        for row in order
    ]


def question_word(question: str) -> str:
    """Return the first of the question words in a question; "other" when it has none."""
    words = [word.strip("?,.:;\"'()").casefold() for word in question.split()]
    return next((word for word in words if word in _QUESTION_WORDS), _OTHER)


def question_masks(facts: Facts) -> dict[str, np.ndarray]:
    """Return which rows ask with which word, shape (n,) each, in a fixed order."""
    words = facts.predictions[QUESTION].map(question_word).to_numpy()
    masks = {name: words == name for name in (*_QUESTION_WORDS, _OTHER)}
    return {name: mask for name, mask in masks.items() if mask.any()}


def length_masks(facts: Facts) -> dict[str, np.ndarray]:
    """Return up to five parts of the rows by their contexts' words, with about as many rows each."""
    lengths = facts.predictions[CONTEXT].str.split().str.len().to_numpy(dtype=int)
    if not len(lengths):
        return {}
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _LENGTH_PARTS + 1)[1:], method="inverted_cdf"))
    parts = np.searchsorted(edges, lengths)
    masks = [parts == place for place in range(len(edges))]
    return {f"{lengths[mask].min():,}–{lengths[mask].max():,}": mask for mask in masks}


def part_rows(facts: Facts, masks: Mapping[str, np.ndarray]) -> list[PartRow]:
    """Return a row for each of some parts of the test rows."""
    new, old = facts.scored[CHALLENGER].arrays[0], facts.scored.get(CHAMPION)
    return [
        PartRow(
            name,
            int(mask.sum()),
            float(new[mask, 0].mean()),
            float(new[mask, 1].mean()),
            None if old is None else float(old.arrays[0][mask, 0].mean()),
        )
        for name, mask in masks.items()
    ]


def _page(facts: Facts) -> dict[str, Any]:
    scores = {name: scored.arrays[0] for name, scored in facts.scored.items() if len(scored)}
    questions, lengths = (part_rows(facts, masks) for masks in (question_masks(facts), length_masks(facts)))
    drawn = []
    if scores:
        drawn = [
            answer_figures.distribution({name: found[:, 0] for name, found in scores.items()}),
            answer_figures.by_part("question-words", "F1 by question word", "", questions),
            answer_figures.by_part("context-lengths", "F1 by the context's length", "words of the context", lengths),
        ]
    challenger = facts.scored[CHALLENGER].arrays[0]
    return {
        "answer_figures": drawn,
        "parts": {"question word": questions, "words of the context": lengths} if scores else {},
        "errors": wrong_answers(facts, MOST_ERRORS),
        "wrong": int((challenger[:, 1] < 1).sum()),
        "strangers": int((challenger[:, 0] == 0).sum()),
    }


def _results_brief(facts: Facts) -> dict[str, str]:
    rows = [
        [escaped(part.name, 20), f"{part.rows:,}", figure(part.f1), figure(part.exact_match), figure(part.champion_f1)]
        for part in part_rows(facts, question_masks(facts))
    ]
    names = ["question word", "test rows", "F1", "exact match", "champion's F1"]
    said = table(names, rows) if rows else "No row was measured."
    return {"question words": "\n".join(["", "### Question words", "", said, ""])}


def _errors_brief(facts: Facts) -> str:
    rows = [
        [
            f"<code>{escaped(error.question, 160)}</code>",
            escaped(" / ".join(error.accepted), 120),
            escaped(error.answer, 120) or "–",
            figure(error.f1),
            figure(error.score),
        ]
        for error in wrong_answers(facts, MOST_BRIEF_ERRORS)
    ]
    return errors_section(facts, "Largest errors", ["question", "accepted", "answer", "F1", "score"], rows)


def _use(facts: Facts) -> str:
    return "Answers a question with a piece of the text that is given beside it (question, context)"


def _limits(facts: Facts) -> list[str]:
    return [
        "It always answers with a piece of the context, also where that does not hold the answer; how it answers such "
        "questions was not measured.",
        "An answer is compared with those accepted by its words, without case, punctuation and articles: another "
        "wording of the same counts as wrong.",
    ]


ANSWER_SPANS = ProblemReport(
    sections={"answers": "Answers"},
    page=_page,
    results_brief=_results_brief,
    errors_brief=_errors_brief,
    use=_use,
    limits=_limits,
    baseline="always answers nothing",
)
