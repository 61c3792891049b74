"""What the text of a label says, by problem: written by prep into test.parquet, read by whoever needs the label itself.

| problem | text |
|---|---|
| single_label | the name |
| multi_label | JSON list of the row's names, sorted; `[]` for none |
| regression | the number as Python writes it |
| token_labels | the tags, separated by single spaces; as many as the text has words |
| answer_spans | JSON list of {"text", "start"}, at least one; start counts characters of `context` from 0 |
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """An accepted answer: a piece of the context."""

    text: str
    start: int
    """Characters before it."""

    @property
    def end(self) -> int:
        """Characters up to its end."""
        return self.start + len(self.text)


def names_text(names: Sequence[str]) -> str:
    """Write the names of a multi-label row."""
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def read_names(text: str) -> list[str]:
    """Read the names of a multi-label row."""
    return list(json.loads(text))


def read_tags(text: str) -> list[str]:
    """Read a row's tags."""
    return text.split(" ")


def spans_text(spans: Sequence[Span]) -> str:
    """Write a question's accepted answers, each once."""
    return json.dumps([{"text": span.text, "start": span.start} for span in dict.fromkeys(spans)], ensure_ascii=False)


def read_spans(text: str) -> list[Span]:
    """Read a question's accepted answers."""
    return [Span(span["text"], span["start"]) for span in json.loads(text)]
