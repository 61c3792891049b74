"""The report's files."""

from pathlib import Path

from finetune.files import write_text
from finetune.report import REPORT_BRIEF, REPORT_PAGE
from finetune.report.brief import render_brief
from finetune.report.facts import Facts
from finetune.report.page import render_page


def write_report(evaluation: Path, facts: Facts) -> tuple[Path, Path]:
    """Write report.html and report.md into the evaluation's folder.

    Returns:
        Their paths.
    """
    page, brief = evaluation / REPORT_PAGE, evaluation / REPORT_BRIEF
    write_text(page, render_page(facts))
    write_text(brief, render_brief(facts))
    return page, brief
