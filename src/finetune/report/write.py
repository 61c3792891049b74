"""The report's files."""

from dataclasses import dataclass
from pathlib import Path

from finetune.files import write_text
from finetune.report import REPORT_BRIEF, REPORT_PAGE
from finetune.report.brief import render_brief
from finetune.report.facts import Facts
from finetune.report.page import render_report
from finetune.report.svg import alone

FIGURES = "figures"
"""Folder of the evaluation with each figure as a file of its own."""


@dataclass(frozen=True)
class Report:
    """Where a report's files are."""

    page: Path
    brief: Path
    figures: tuple[Path, ...]


def write_report(evaluation: Path, facts: Facts) -> Report:
    """Write report.html, report.md and the page's figures as figures/<name>.svg into the evaluation's folder."""
    html, drawings = render_report(facts)
    page, brief = evaluation / REPORT_PAGE, evaluation / REPORT_BRIEF
    write_text(page, html)
    write_text(brief, render_brief(facts))
    figures = {evaluation / FIGURES / f"{drawing.name}.svg": alone(drawing) for drawing in drawings}
    for path, svg in figures.items():
        write_text(path, svg)
    return Report(page, brief, tuple(figures))
