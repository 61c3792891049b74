"""candidates.md: two candidates side by side, and which one goes on."""

from collections.abc import Mapping
from typing import Any

from finetune.answers import KINDS
from finetune.report.texts import escaped
from finetune.selection import Candidate
from finetune.tasks import task_named
from finetune.verdict import BASELINE, CHALLENGER, CHAMPION


def render_candidates(described: Mapping[str, Any], first: Candidate, second: Candidate) -> str:
    """Return candidates.md.

    Args:
        described: the contents of selection.json.
        first: the candidate in place.
        second: the one that has to beat it.
    """
    champion = described["champion"]
    served = first.metrics["metrics"].get(CHAMPION, {})
    columns = {candidate.name: candidate.metrics["metrics"][CHALLENGER] for candidate in (first, second)}
    if served:
        columns[f"serves now: {champion['name']}:{champion['version']}"] = served
    columns[KINDS[task_named(first.metrics["task"]).problem].baseline_name] = first.metrics["metrics"][BASELINE]
    primary = first.verdict["policy"]["primary_metric"]
    names = sorted(columns[first.name], key=lambda name: name != primary)
    head = [f"| metric | {' | '.join(escaped(name, 60) for name in columns)} |", f"|---|{'---:|' * len(columns)}"]
    rows = [_row(name, name == primary, columns) for name in names]
    comparison = described["comparison"]
    difference = comparison.get("difference")
    quoted = (
        f"{difference['metric']} {difference['value']:+.4f}, {difference['confidence'] * 100:g} % interval "
        f"{difference['low']:+.4f} to {difference['high']:+.4f}; {comparison['test']}, p = {comparison['p_value']:.2g}."
        if difference
        else "not measured."
    )
    verdicts = [
        f"- **{escaped(name, 60)}**: {'promoted' if found['promoted'] else 'not promoted'}. "
        f"{escaped('; '.join(found['reasons']), 1_000)}"
        for name, found in described["candidates"].items()
    ]
    return "\n".join(
        [
            f"## {escaped(described['chosen'], 60)} goes on",
            "",
            f"{escaped(described['reason'], 2_000)}",
            "",
            f"{first.metrics['rows']:,} test rows, the same for both; the order was fixed beforehand.",
            "",
            *head,
            *rows,
            "",
            f"{escaped(comparison['of'], 130)}: {quoted}",
            "",
            *verdicts,
            "",
        ]
    )


def _row(name: str, primary: bool, columns: Mapping[str, Mapping[str, float]]) -> str:
    cells = [f"{values[name]:.4f}" if name in values else "–" for values in columns.values()]
    return f"| {f'**{name}**' if primary else name} | {' | '.join(cells)} |"
