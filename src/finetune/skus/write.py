"""The comparison's files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.files import write_json, write_text
from finetune.skus import COMPARISON_BRIEF, COMPARISON_JSON, COMPARISON_PAGE, PARETO_FIGURE
from finetune.skus.brief import render_brief
from finetune.skus.compared import Comparison
from finetune.skus.figures import pareto, standalone
from finetune.skus.measured import Run
from finetune.skus.page import render_page
from finetune.skus.recommendation import Recommendation


def comparison_json(comparison: Comparison, answer: Recommendation) -> dict[str, Any]:
    """Return the contents of comparison.json; seconds, rows a second, GiB, percent and watts as their names say."""
    prices = comparison.prices
    return {
        "recommendation": asdict(answer),
        "computes": [asdict(row) for row in comparison.computes],
        "prices": None if prices is None else {"date": prices.date, "currency": prices.currency},
        "no_costs": list(comparison.no_costs),
        "notes": list(comparison.notes),
        "work": dict(comparison.runs[0].work),
        "runs": [_run(run) for run in comparison.runs],
    }


def write_comparison(folder: Path, comparison: Comparison, answer: Recommendation) -> tuple[Path, ...]:
    """Write all files, comparison.json last: a folder that holds it is whole.

    Returns:
        Their paths.
    """
    files = {
        COMPARISON_PAGE: render_page(comparison, answer),
        COMPARISON_BRIEF: render_brief(comparison, answer),
    }
    if comparison.prices is not None:
        drawing = pareto(comparison.computes, comparison.prices.currency, answer.compute)
        files |= {} if drawing is None else {PARETO_FIGURE: standalone(drawing)}
    for name, text in files.items():
        write_text(folder / name, text)
    write_json(folder / COMPARISON_JSON, comparison_json(comparison, answer))
    return tuple(folder / name for name in (*files, COMPARISON_JSON))


def _run(run: Run) -> dict[str, Any]:
    return {
        "node": run.listed.node,
        "compute": run.listed.compute.name,
        "seed": run.listed.seed,
        "machine": run.machine,
        "seconds": run.seconds,
        "phases": dict(run.phases),
        "step_seconds": run.step_seconds,
        "rows_per_second": run.rows_per_second,
        "seconds_per_epoch": run.seconds_per_epoch,
        "start_up_share": run.start_up_share,
        "mlflow_run": run.mlflow_run,
    }
