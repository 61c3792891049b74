"""comparison.html: one file, no script, no request to anywhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from finetune.report.texts import visible
from finetune.skus.compared import Comparison
from finetune.skus.figures import page_style, pareto, phases, scaling
from finetune.skus.recommendation import Recommendation


def render_page(comparison: Comparison, answer: Recommendation) -> str:
    """Return comparison.html."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {
        "figures": significant,
        "percent": lambda value: f"{value:.0%}",
        "one": lambda value: "–" if value is None else f"{value:.1f}",
    }
    return environment.get_template("page.html").render(_context(comparison, answer), style=page_style())


def significant(value: float, digits: int = 4) -> str:
    """Return a figure with so many significant digits, never in powers of ten."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - _exponent(rounded))}f}" if rounded else "0"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _context(comparison: Comparison, answer: Recommendation) -> dict[str, Any]:
    rows, prices = comparison.computes, comparison.prices
    costs = prices is not None and not comparison.no_costs
    work = comparison.runs[0].work
    return {
        "answer": answer,
        "rows": [{**vars(row), "hardware": None if row.hardware is None else asdict(row.hardware)} for row in rows],
        "costs": costs,
        "no_costs": comparison.no_costs,
        "prices": prices,
        "pareto": None if prices is None else pareto(rows, prices.currency, answer.compute),
        "phases": phases(rows),
        "scaled": [row for row in rows if row.scaling is not None],
        "scaling": scaling(rows),
        "gpus": any(row.hardware is not None and row.hardware.gpu_memory_gib is not None for row in rows),
        "task": work["task"],
        "checkpoint": work["checkpoint"],
        "work": work,
        "notes": comparison.notes,
        "runs": comparison.runs,
    }
