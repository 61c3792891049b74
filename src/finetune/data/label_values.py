"""From a value of the source's label column to the label's text, by problem: see `finetune.data.label_texts`.

Values come as the readers of tables give them: text from csv, lists and mappings from jsonl, arrays from parquet and
`datasets`. What cannot be a label raises an `InputError` that says what was found; its caller knows the row.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from finetune.data.label_texts import Span, names_text, read_spans, read_tags, spans_text
from finetune.data.labels import LabelMapping
from finetune.errors import InputError

NAME_SEPARATOR = "|"
"""Between the names of a multi-label row that is given as text; alone it stands for no name."""
OUTSIDE = "O"
"""The tag of words in no entity."""
_TAG = re.compile(r"O|[BIES]-\S+")
_SET, _NOT_SET = ("1", "1.0", "true"), ("0", "0.0", "false")


def is_missing(value: Any) -> bool:
    """Tell whether a cell says nothing."""
    absent = value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value))
    return absent or (isinstance(value, str) and not value.strip())


def has_no_flags(value: Any) -> bool:
    """Tell whether a multi-label row says nothing, in any of its columns if they are several."""
    return all(map(is_missing, value.values())) if isinstance(value, Mapping) else is_missing(value)


def has_no_answer(value: Any) -> bool:
    """Tell whether a question has no answer, as SQuAD 2's unanswerable ones."""
    if is_missing(value):
        return True
    try:
        return not _answers(value)
    except InputError:
        return False


def strings_in(value: Any) -> Iterator[str]:
    """Yield the texts that a value is made of."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from strings_in(part)


def one_name(value: Any, mapping: LabelMapping) -> str | None:
    """Name a row's only label; None when it is a rating that no threshold covers."""
    if not _is_plain(value):
        raise InputError(f"the label is {value!r}; expected a name or a number")
    name = mapping.name_of(value)
    return name if name is not None or mapping.drops_unmatched else _unmapped(value)


def any_names(value: Any, mapping: LabelMapping) -> str:
    """Name any number of labels: a list, names separated by "|", or column → 0 or 1."""
    if isinstance(value, Mapping):
        parts: list[Any] = [column for column, flag in value.items() if _is_set(column, flag)]
    elif isinstance(value, str):
        parts = [part.strip() for part in value.split(NAME_SEPARATOR) if part.strip()]
    else:
        parts = _listed(value, f"a list of names, or text with {NAME_SEPARATOR!r} between them")
    return names_text([_name(part, mapping) for part in parts])


def number(value: Any, mapping: LabelMapping) -> str:
    """Read a number."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"the label is {value!r}; expected a finite number")
    return repr(found)


def tags(value: Any, mapping: LabelMapping) -> str:
    """Name the tags of a row's words: a list, or text with spaces between them."""
    parts = value.split() if isinstance(value, str) else _listed(value, "a list of tags, or text with spaces between")
    named = [_name(part, mapping) for part in parts]
    for tag in named:
        if not _TAG.fullmatch(tag):
            raise InputError(
                f"the tag {tag!r}; expected {OUTSIDE}, or B- or I- with a type, as B-PER; --label_mapping names others "
                "('0:O,1:B-PER')"
            )
    return " ".join(named)


def answers(value: Any, mapping: LabelMapping) -> str:
    """Read accepted answers as SQuAD has them: {"text": […], "answer_start": […]}, or a list of such with one each."""
    return spans_text(_answers(value))


def plain_text(value: Any) -> str:
    """Return a text as it is."""
    if not isinstance(value, str):
        raise InputError(f"{value!r} ({type(value).__name__}); expected text")
    return value


def words_text(value: Any) -> str:
    """Return words, given as a list or as text, separated by single spaces."""
    if isinstance(value, str):
        return " ".join(value.split())
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError(f"{value!r} ({type(value).__name__}); expected a list of words, or text")
    for word in value:
        if not isinstance(word, str) or word.split() != [word]:
            raise InputError(f"{word!r} among the words; expected words without white space in them")
    return " ".join(value)


def check_tags(texts: Mapping[str, str], label: str) -> None:
    """Refuse a row that has not a tag for each word."""
    words = len(texts["text"].split(" "))
    if (found := len(read_tags(label))) != words:
        raise InputError(f"{words} words and {found} tags; expected a tag for each word")


def check_answers(texts: Mapping[str, str], label: str) -> None:
    """Refuse an answer that does not stand where it says."""
    context = texts["context"]
    for span in read_spans(label):
        if (found := context[span.start : span.end]) != span.text:
            raise InputError(f"the answer {span.text!r} is not at character {span.start} of the context: {found!r} is")


def check_nothing(texts: Mapping[str, str], label: str) -> None:
    """Any label goes with any text."""


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | np.generic)


def _name(value: Any, mapping: LabelMapping) -> str:
    if not _is_plain(value) or is_missing(value):
        raise InputError(f"the label holds {value!r}; expected names or numbers")
    name = mapping.name_of(value)
    return _unmapped(value) if name is None else name


def _unmapped(value: Any) -> str:
    raise InputError(f"label {value!r} is not in --label_mapping; name every value there")


def _listed(value: Any, expected: str) -> list[Any]:
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError(f"the label is {value!r}; expected {expected}")
    return list(value)


def _is_set(column: str, flag: Any) -> bool:
    text = str(flag).strip().lower()
    if text not in (*_SET, *_NOT_SET):
        raise InputError(f"column {column!r} holds {flag!r}; expected 0 or 1")
    return text in _SET


def _answers(value: Any) -> list[Span]:
    expected = 'expected {"text": […], "answer_start": […]}'
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError(f"the answers are not JSON: {error.msg} at column {error.colno}; {expected}") from None
    if isinstance(value, list | tuple | np.ndarray):
        return [span for part in value for span in _answers(part)]
    if not isinstance(value, Mapping) or not {"text", "answer_start"} <= value.keys():
        raise InputError(f"the answers are {value!r}; {expected}")
    texts, starts = value["text"], value["answer_start"]
    if isinstance(texts, str):
        texts, starts = [texts], [starts]
    texts, starts = (_listed(part, "a list of texts and one of places") for part in (texts, starts))
    if len(texts) != len(starts):
        raise InputError(f"{len(texts)} answers and {len(starts)} places; expected a place for each answer")
    return [_span(text, start) for text, start in zip(texts, starts, strict=True)]


def _span(text: Any, start: Any) -> Span:
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"an answer is {text!r}; expected text")
    if isinstance(start, bool) or not isinstance(start, int | np.integer) or start < 0:
        raise InputError(f"the answer {text!r} is at {start!r}; expected the characters before it, 0 or more")
    return Span(text.strip(), int(start) + len(text) - len(text.lstrip()))
