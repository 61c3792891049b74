"""comparison.md: the table and the recommendation, for a job summary or a comment."""

import re
from collections.abc import Sequence

from finetune.report.texts import escaped
from finetune.skus import COMPARISON_PAGE
from finetune.skus.compared import Compared, Comparison
from finetune.skus.page import significant
from finetune.skus.recommendation import Recommendation


def render_brief(comparison: Comparison, answer: Recommendation) -> str:
    """Return comparison.md."""
    title = f"Recommended: {_text(answer.compute, 60)}" if answer.compute else "No compute within the limit"
    currency = None if comparison.prices is None or comparison.no_costs else escaped(comparison.prices.currency, 30)
    names = ["compute", "processes", "precision", "seconds a run", "start-up", "seconds an epoch", "rows a second"]
    names += ["efficiency", "cores in use"]
    names += [] if currency is None else [f"{currency} a run", f"{currency} a million rows"]
    rows = [_cells(row) for row in comparison.computes]
    table = [names, ["---", *("---:" for _ in names[1:])], *rows]
    why_no_costs = "; ".join(_text(reason, 200) for reason in comparison.no_costs)
    said = f"Prices of {comparison.prices.date}, as given." if currency and comparison.prices else ""
    lines = [
        f"## {title}",
        "",
        *(_text(reason, 600) for reason in answer.reasons),
        "",
        *(f"| {' | '.join(cells)} |" for cells in table),
        "",
        f"Medians of the repeats. {said or f'No cost column: {why_no_costs}.'}",
        "",
        *(f"- {_text(note, 400)}" for note in comparison.notes),
        "",
        f"Figures and all runs: {COMPARISON_PAGE}, beside comparison.json in the comparison output.",
        "",
    ]
    return "\n".join(lines)


def _text(text: str, most: int) -> str:
    """Return an escaped text in which marks that mean nothing where they stand are left, for who reads it as it is.

    GitHub's Markdown takes an underscore between letters for no emphasis (GFM 6.2), and a colon before a space for no
    address and no emoji.
    """
    within_words = re.sub(r"(?<=[A-Za-z0-9])&#95;(?=[A-Za-z0-9])", "_", escaped(text, most))
    return re.sub(r"&#(58|59);(?= )", lambda match: chr(int(match[1])), within_words)


def _cells(row: Compared) -> Sequence[str]:
    cells = [
        _text(row.name, 60),
        str(row.processes),
        row.precision,
        significant(row.seconds.median),
        f"{row.start_up_share.median:.0%}",
        significant(row.seconds_per_epoch.median),
        significant(row.rows_per_second.median),
        "–" if row.scaling is None else f"{row.scaling.efficiency:.0%}",
        "–" if row.hardware is None or row.hardware.processor is None else f"{row.hardware.processor:.0f} %",
    ]
    if row.cost is not None:
        cells += [significant(row.cost.run.median), significant(row.cost.million_rows.median)]
    return cells
