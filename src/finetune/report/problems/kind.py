"""What the report needs of each problem."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.report.facts import Facts
from finetune.report.markdown import table
from finetune.report.texts import escaped

MOST_ERRORS, MOST_BRIEF_ERRORS = 15, 5
MOST_CONFUSIONS = 6
EVERYTHING_RIGHT, NOTHING_MEASURED = "every answer is right", "no row was measured"


@dataclass(frozen=True)
class ProblemReport:
    """One row of the table; beside it `<problem>.html` fills the page's blocks "results" and "errors"."""

    sections: Mapping[str, str]
    """The results' sections on the page: id → title in the contents."""
    page: Callable[[Facts], dict[str, Any]]
    """What `<problem>.html` shows."""
    results_brief: Callable[[Facts], dict[str, str]]
    """Sections of report.md between figures and slices, by name."""
    errors_brief: Callable[[Facts], str]
    """The section of report.md on the largest errors."""
    use: Callable[[Facts], str]
    """What the model does with a row, without a full stop."""
    limits: Callable[[Facts], list[str]]
    """Where not to trust it, as far as that is peculiar to the problem."""
    baseline: str
    """What the baseline does, after its name: "always answers …"."""


def rows_of(facts: Facts) -> str:
    """Return what a model is given, for `ProblemReport.use`."""
    return f"each row ({' and '.join(facts.manifest.text_columns)})"


def none_because(facts: Facts, right: str = EVERYTHING_RIGHT) -> str:
    """Say why no error is shown."""
    return right if facts.metrics["rows"] else NOTHING_MEASURED


def errors_section(facts: Facts, title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a section of report.md with a table of errors, for `ProblemReport.errors_brief`.

    Args:
        facts: Of the report.
        title: Of the section.
        names: Of the columns.
        rows: Cells, escaped.
    """
    said = table(names, rows) if rows else f"None: {none_because(facts)}."
    return f"\n### {title}\n\n{said}\n"


def texts_cell(texts: Mapping[str, str]) -> str:
    """Return a row's texts, by column, as one cell of report.md."""
    return " / ".join(f"<code>{escaped(text, 120)}</code>" for text in texts.values())
