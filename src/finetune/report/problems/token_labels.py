"""A tag a word: entities by type, confusion of words, sentences with entities that were missed or invented."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.answers.token_labels import tags_of
from finetune.data.manifest import LABEL
from finetune.metrics.entities import OUTSIDE, entities_of, entity_types
from finetune.report import figures
from finetune.report.facts import Facts
from finetune.report.labels import confusion, frequent_confusions, label_rows, labels_brief, weakest
from finetune.report.problems.kind import (
    MOST_BRIEF_ERRORS,
    MOST_CONFUSIONS,
    MOST_ERRORS,
    ProblemReport,
    errors_section,
    rows_of,
)
from finetune.report.texts import escaped
from finetune.verdict import CHALLENGER, CHAMPION

_NO_ENTITY = "no entity"
_MOST_WORDS, _WORDS_BEFORE = 60, 15
"""Of a sentence that are shown, and of these before the first mistake."""


@dataclass(frozen=True)
class Piece:
    """Words of a sentence that are one entity, or that lie between entities."""

    text: str
    kind: str | None
    """The entity's type; None between entities."""
    wrong: bool = False
    """The other tagging does not have this entity."""


@dataclass(frozen=True)
class WrongSentence:
    """A row with entities that were missed or invented."""

    row: int
    """Of predictions.parquet, counted from 0."""
    true: tuple[Piece, ...]
    answer: tuple[Piece, ...]
    missed: int
    invented: int
    champion: int | None
    """How many the champion missed or invented."""


def wrong_sentences(facts: Facts, most: int) -> list[WrongSentence]:
    """Return the rows in which the challenger missed and invented the most entities."""
    true, given = (_entities(facts, column) for column in (LABEL, CHALLENGER))
    champion = _entities(facts, CHAMPION) if CHAMPION in facts.predictions else None
    counts = np.array([len(left ^ right) for left, right in zip(true, given, strict=True)], dtype=int)
    order = [row for row in np.argsort(-counts, kind="stable")[:most].tolist() if counts[row]]
    found = []
    for row in order:
        (text,) = facts.texts_of(row).values()
        words, missed, invented = text.split(), true[row] - given[row], given[row] - true[row]
        first = max(min(start for _, start, _ in missed | invented) - _WORDS_BEFORE, 0)
        found.append(
            WrongSentence(
                row,
                pieces(words, true[row], missed, first),
                pieces(words, given[row], invented, first),
                len(missed),
                len(invented),
                None if champion is None else len(champion[row] ^ true[row]),
            )
        )
    return found


def _entities(facts: Facts, column: str) -> list[set[tuple[str, int, int]]]:
    return [entities_of(tags) for tags in tags_of(facts.predictions[column])]


def pieces(
    words: list[str], entities: set[tuple[str, int, int]], wrong: set[tuple[str, int, int]], first: int
) -> tuple[Piece, ...]:
    """Cut a sentence into its entities and what is between them.

    Args:
        words: of the sentence.
        entities: type, first and last word of each; they do not overlap.
        wrong: those to mark.
        first: the word to begin with; the sentence is cut after `_MOST_WORDS` more.
    """
    end = min(first + _MOST_WORDS, len(words))
    found, place = ([Piece("…", None)] if first else []), first
    for entity in sorted(entities, key=lambda entity: entity[1]):
        kind, start, last = entity
        if last < first or start >= end:
            continue
        if start > place:
            found.append(Piece(" ".join(words[place:start]), None))
        found.append(Piece(" ".join(words[max(start, first) : last + 1]), kind, entity in wrong))
        place = last + 1
    if place < end:
        found.append(Piece(" ".join(words[place:end]), None))
    return tuple(found + ([Piece("…", None)] if end < len(words) else []))


def word_confusion(facts: Facts, model: str) -> np.ndarray:
    """Return counts of words by the type of their true tag and of the answer's, those outside entities last."""
    places = {name: place for place, name in enumerate((*entity_types(facts.labels), ""))}
    true, given = (
        np.array([places[tag.partition("-")[2]] for tags in tags_of(facts.predictions[column]) for tag in tags])
        for column in (LABEL, model)
    )
    return confusion(true, given, len(places))


def _page(facts: Facts) -> dict[str, Any]:
    names = (*entity_types(facts.labels), _NO_ENTITY)
    models = [name for name, scored in facts.scored.items() if len(scored)]
    matrices = {name: word_confusion(facts, name) for name in models}
    counts = facts.scored[CHALLENGER].arrays[0].sum(axis=0)
    right, answered, there = counts[:-2].reshape(-1, 3).sum(axis=0).tolist()
    return {
        "label_rows": label_rows(facts),
        "confusions": [
            (
                name,
                figures.confusion_matrix(name, names, found),
                frequent_confusions(found, names, MOST_CONFUSIONS),
                found.tolist(),
            )
            for name, found in matrices.items()
        ],
        "matrix_names": names,
        "errors": wrong_sentences(facts, MOST_ERRORS),
        "missed": there - right,
        "invented": answered - right,
        "entities": there,
    }


def _results_brief(facts: Facts) -> dict[str, str]:
    return {"types": labels_brief(label_rows(facts), "Types", "entities")}


def _errors_brief(facts: Facts) -> str:
    rows = [
        [
            f"<code>{escaped(_plain(error.true), 160)}</code>",
            _listed(error.true),
            _listed(error.answer),
        ]
        for error in wrong_sentences(facts, MOST_BRIEF_ERRORS)
    ]
    return errors_section(facts, "Entities missed or invented", ["sentence", "missed", "invented"], rows)


def _plain(sentence: tuple[Piece, ...]) -> str:
    return " ".join(piece.text for piece in sentence)


def _listed(sentence: tuple[Piece, ...]) -> str:
    wrong = [f"{escaped(piece.text, 60)} ({escaped(str(piece.kind), 20)})" for piece in sentence if piece.wrong]
    return ", ".join(wrong[:6]) or "–"


def _use(facts: Facts) -> str:
    types = ", ".join(entity_types(facts.labels))
    return f"Finds entities in {rows_of(facts)}, whose words are separated by spaces, of the types {types}"


def _limits(facts: Facts) -> list[str]:
    return [
        f"An entity counts as right when all of its words and its type are. Words beyond {facts.manifest.max_length:,} "
        f"tokens are tagged {OUTSIDE}.",
        "It was measured on texts whose words were separated already; how it does with others depends on who separates "
        "them.",
        *weakest(facts, "type", "entities"),
    ]


TOKEN_LABELS = ProblemReport(
    sections={"labels": "Types"},
    page=_page,
    results_brief=_results_brief,
    errors_brief=_errors_brief,
    use=_use,
    limits=_limits,
    baseline="tags every word O",
)
