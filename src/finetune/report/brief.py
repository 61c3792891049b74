"""report.md: the report in brief, for a job summary or a comment on a pull request."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from finetune.metrics.known import slice_metric
from finetune.report import REPORT_PAGE
from finetune.report.analysis import primary_with_interval, slice_rows
from finetune.report.facts import Facts
from finetune.report.limits import intended_use, limits
from finetune.report.markdown import figure, interval_text, signed_figure, table
from finetune.report.page import champion_name, metric_rows, no_champion
from finetune.report.problems import report_of
from finetune.report.texts import escaped

MOST_CHARACTERS = 60_000
"""GitHub takes 65,536 in a comment; whoever posts it may want to add a line."""
_MOST_CHECKS, _MOST_SLICES, _MOST_FINDINGS = 20, 8, 20
_MOST_VERDICT_CHARACTERS = 30_000
"""Of the checks: half of the page, so that figures have room."""


def render_brief(facts: Facts) -> str:
    """Return report.md, shorter than `MOST_CHARACTERS`.

    The verdict is always there; other sections that do not fit are left out, which is said.
    """
    said = f"\nFor want of space left out here, and in {REPORT_PAGE}: "
    sections = {"verdict": _verdict(facts), **_sections(facts)}
    room, left_out = MOST_CHARACTERS - len(said) - len(", ".join(sections)) - 2, []
    text = ""
    for name, section in sections.items():
        if len(text) + len(section) < room:
            text += section
        else:
            left_out.append(name)
    return text + (f"{said}{', '.join(left_out)}.\n" if left_out else "")


def _sections(facts: Facts) -> dict[str, str]:
    report = report_of(facts)
    return {
        "figures": _figures(facts),
        **report.results_brief(facts),
        "slices": _slices(facts),
        "errors": report.errors_brief(facts),
        "data checks": _data(facts),
        "use, limits and lineage": _rest(facts),
    }


def _verdict(facts: Facts) -> str:
    verdict, champion = facts.verdict, champion_name(facts)
    word = "✅ Promoted" if verdict["promoted"] else "❌ Not promoted"
    against = f"Against the champion {escaped(champion, 200)}." if champion else escaped(no_champion(facts), 200)
    checks = sorted(verdict["checks"], key=lambda check: check["passed"])
    lines = list(_fitting((_check(check) for check in checks[:_MOST_CHECKS]), _MOST_VERDICT_CHARACTERS))
    if len(checks) > len(lines):
        failed = sum(not check["passed"] for check in checks[len(lines) :])
        lines.append(f"- and {len(checks) - len(lines)} checks more, {failed} of them failed")
    about = f"{escaped(facts.manifest.source, 100)}, {facts.metrics['rows']:,} test rows. {against}"
    until = f"Decided {verdict['decided_at']}, valid until {verdict['valid_until']}."
    return "\n".join([f"## {word}", "", f"{about} {until}", "", *lines, ""])


def _fitting(lines: Iterable[str], most: int) -> Iterator[str]:
    """Yield lines as long as they are no longer than so many characters together: escaped ones may be long."""
    for line in lines:
        most -= len(line) + 1
        if most < 0:
            return
        yield line


def _check(check: Mapping[str, Any]) -> str:
    word = "passed" if check["passed"] else "failed"
    return f"- **{word}** {escaped(check['name'], 80)}: {escaped(check['reason'], 400)}"


def _figures(facts: Facts) -> str:
    rows = [
        [
            f"**{row.name}**" if first else row.name,
            figure(row.challenger),
            figure(row.champion),
            signed_figure(row.difference),
            f"{signed_figure(row.interval[0])} to {signed_figure(row.interval[1])}" if row.interval else "–",
            figure(row.baseline),
        ]
        for first, row in ((place == 0, row) for place, row in enumerate(metric_rows(facts)))
    ]
    names = ["metric", "challenger", "champion", "difference", "interval", facts.kind.baseline_name]
    comparison = facts.metrics["comparison"]
    quoted = f"\n{said}\n" if (said := primary_with_interval(facts)) else ""
    if comparison is not None:
        interval = f"{comparison['difference']['confidence'] * 100:g} % interval of the paired bootstrap"
        quoted = f"\n{interval}; {comparison['test']}, p = {comparison['p_value']:.2g}.\n"
    return "\n".join(["", "### Figures", "", table(names, rows), quoted])


def _slices(facts: Facts) -> str:
    compared = facts.metrics["comparison"] is not None
    fewest, metric = facts.verdict["policy"]["slice_minimum_rows"], slice_metric(facts.task)
    found = [part for part in slice_rows(facts) if part.rows >= fewest]
    names = ["slice", "rows", f"challenger's {metric}", f"champion's {metric}", "difference", "interval"]
    rows = [
        [
            escaped(part.name, 60),
            f"{part.rows:,}",
            figure(part.challenger),
            figure(part.champion),
            signed_figure(part.value) if compared else "–",
            interval_text(part.low, part.high, signed_figure if compared else figure),
        ]
        for part in found[:_MOST_SLICES]
    ]
    said = (
        f"The lowest {len(rows)} of {len(found)} slices with at least {fewest} rows."
        if rows
        else "None has enough rows."
    )
    return "\n".join(["", "### Slices", "", said, "", table(names, rows) if rows else "", ""])


def _data(facts: Facts) -> str:
    findings = facts.manifest.findings
    rows = [
        [found.check, found.split, escaped(found.detail, 120), f"{found.rows:,}", facts.became_of(found)]
        for found in findings[:_MOST_FINDINGS]
    ]
    said = table(["check", "split", "found", "rows", "then"], rows) if rows else "Nothing odd was found."
    more = f"\nand {len(findings) - _MOST_FINDINGS} findings more\n" if len(findings) > _MOST_FINDINGS else ""
    return "\n".join(["", "### Data checks", "", said, more])


def _rest(facts: Facts) -> str:
    report = report_of(facts)
    noted = limits(facts, report.limits(facts), slice_rows(facts))
    lineage = [f"- {escaped(name, 60)}: {escaped(value, 200)}" for name, value in facts.lineage.items()]
    digests = [f"- {name}: `{facts.verdict[name]}`" for name in ("model_sha256", "test_sha256", "policy_sha256")]
    return "\n".join(
        [
            *("", "### Use and limits", "", escaped(intended_use(facts, report.use(facts)), 1_000), ""),
            *(f"- {escaped(limit, 400)}" for limit in noted),
            *("", "### Lineage", "", *lineage, *digests, ""),
            f"Figures, sweep and more: {REPORT_PAGE}, beside verdict.json and metrics.json in the evaluation output.",
            "",
        ]
    )
