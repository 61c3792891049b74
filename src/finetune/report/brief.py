"""report.md: the report in brief, for a job summary or a comment on a pull request."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finetune.report import REPORT_PAGE
from finetune.report.analysis import confident_errors, label_rows, reliability, slice_rows
from finetune.report.facts import Facts
from finetune.report.limits import intended_use, limits
from finetune.report.page import champion_name, metric_rows, no_champion
from finetune.report.texts import escaped
from finetune.verdict import CHALLENGER

MOST_CHARACTERS = 60_000
"""GitHub takes 65,536 in a comment; whoever posts it may want to add a line."""
_MOST_CHECKS, _MOST_LABELS, _MOST_SLICES, _MOST_ERRORS, _MOST_FINDINGS = 20, 40, 8, 5, 20


def render_brief(facts: Facts) -> str:
    """Return report.md, shorter than `MOST_CHARACTERS`: sections that do not fit are left out, which is said."""
    left_out = f"\nLeft out for want of space: see {REPORT_PAGE}.\n"
    text = ""
    for section in _sections(facts):
        if len(text) + len(section) + len(left_out) >= MOST_CHARACTERS:
            return text + left_out
        text += section
    return text


def _sections(facts: Facts) -> Iterator[str]:
    yield from (_verdict(facts), _figures(facts), _labels(facts), _slices(facts), _errors(facts))
    yield from (_data(facts), _rest(facts))


def _verdict(facts: Facts) -> str:
    verdict, champion = facts.verdict, champion_name(facts)
    word = "✅ Promoted" if verdict["promoted"] else "❌ Not promoted"
    against = f"Against the champion {escaped(champion, 200)}." if champion else escaped(no_champion(facts), 200)
    checks = sorted(verdict["checks"], key=lambda check: check["passed"])
    lines = [_check(check) for check in checks[:_MOST_CHECKS]]
    if len(checks) > _MOST_CHECKS:
        lines.append(f"- and {len(checks) - _MOST_CHECKS} checks more")
    about = f"{escaped(facts.manifest.source, 100)}, {facts.metrics['rows']:,} test rows. {against}"
    until = f"Decided {verdict['decided_at']}, valid until {verdict['valid_until']}."
    return "\n".join([f"## {word}", "", f"{about} {until}", "", *lines, ""])


def _check(check: Mapping[str, Any]) -> str:
    word = "passed" if check["passed"] else "failed"
    return f"- **{word}** {escaped(check['name'], 80)}: {escaped(check['reason'], 400)}"


def _figures(facts: Facts) -> str:
    rows = [
        [
            f"**{row.name}**" if first else row.name,
            _figure(row.challenger),
            _figure(row.champion),
            _signed(row.difference),
            f"{_signed(row.interval[0])} to {_signed(row.interval[1])}" if row.interval else "–",
            _figure(row.majority_class),
        ]
        for first, row in ((place == 0, row) for place, row in enumerate(metric_rows(facts)))
    ]
    names = ["metric", "challenger", "champion", "difference", "interval", "most frequent label"]
    comparison = facts.metrics["comparison"]
    quoted = ""
    if comparison is not None:
        interval = f"{comparison['difference']['confidence'] * 100:g} % interval of the paired bootstrap"
        quoted = f"\n{interval}; {comparison['test']}, p = {comparison['p_value']:.2g}.\n"
    return "\n".join(["", "### Figures", "", _table(names, rows), quoted])


def _labels(facts: Facts) -> str:
    found = sorted(label_rows(facts), key=lambda row: -1.0 if row.challenger["f1"] is None else row.challenger["f1"])
    rows = [
        [
            escaped(row.label, 60),
            f"{row.rows:,}",
            *(_figure(row.challenger[name]) for name in ("precision", "recall", "f1")),
            _figure(row.champion["f1"] if row.champion is not None else None),
        ]
        for row in found[:_MOST_LABELS]
    ]
    more = f"\nand {len(found) - _MOST_LABELS} labels more\n" if len(found) > _MOST_LABELS else ""
    names = ["label", "test rows", "precision", "recall", "F1", "champion's F1"]
    summary = f"<details><summary>{len(found)} labels, lowest F1 first</summary>"
    return "\n".join(["", "### Labels", "", summary, "", _table(names, rows), more, "</details>", ""])


def _slices(facts: Facts) -> str:
    compared = facts.metrics["comparison"] is not None
    fewest = facts.verdict["policy"]["slice_minimum_rows"]
    found = [part for part in slice_rows(facts) if part.rows >= fewest]
    names = ["slice", "rows", "challenger's accuracy", "champion's accuracy", "difference", "interval"]
    rows = [
        [
            escaped(part.name, 60),
            f"{part.rows:,}",
            _figure(part.challenger),
            _figure(part.champion),
            _signed(part.value) if compared else "–",
            f"{_signed(part.low)} to {_signed(part.high)}" if compared else f"{part.low:.4f} to {part.high:.4f}",
        ]
        for part in found[:_MOST_SLICES]
    ]
    said = (
        f"The lowest {len(rows)} of {len(found)} slices with at least {fewest} rows."
        if rows
        else "None has enough rows."
    )
    return "\n".join(["", "### Slices", "", said, "", _table(names, rows) if rows else "", ""])


def _errors(facts: Facts) -> str:
    rows = [
        [
            " / ".join(f"<code>{escaped(text, 120)}</code>" for text in error.texts.values()),
            escaped(error.true, 60),
            escaped(error.predicted, 60),
            _figure(error.probability),
        ]
        for error in confident_errors(facts, _MOST_ERRORS)
    ]
    if not rows:
        return "\n### Most confident errors\n\nNone: every answer is right.\n"
    return "\n".join(
        ["", "### Most confident errors", "", _table(["text", "true label", "answer", "probability"], rows), ""]
    )


def _data(facts: Facts) -> str:
    findings = facts.manifest.findings
    rows = [
        [found.check, found.split, escaped(found.detail, 120), f"{found.rows:,}", found.action]
        for found in findings[:_MOST_FINDINGS]
    ]
    said = _table(["check", "split", "found", "rows", "then"], rows) if rows else "Nothing odd was found."
    more = f"\nand {len(findings) - _MOST_FINDINGS} findings more\n" if len(findings) > _MOST_FINDINGS else ""
    return "\n".join(["", "### Data checks", "", said, more])


def _rest(facts: Facts) -> str:
    challenger = facts.answered(CHALLENGER)
    assert challenger is not None  # noqa: S101 - evaluate always measures it
    noted = limits(facts, reliability(facts, challenger), slice_rows(facts))
    lineage = [f"- {escaped(name, 60)}: {escaped(value, 200)}" for name, value in facts.lineage.items()]
    digests = [f"- {name}: `{facts.verdict[name]}`" for name in ("model_sha256", "test_sha256", "policy_sha256")]
    return "\n".join(
        [
            *("", "### Use and limits", "", escaped(intended_use(facts), 1_000), ""),
            *(f"- {escaped(limit, 400)}" for limit in noted),
            *("", "### Lineage", "", *lineage, *digests, ""),
            f"Curves, confusion, calibration, sweep and more: {REPORT_PAGE}, beside verdict.json and metrics.json in "
            "the evaluation output.",
            "",
        ]
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---", *("---:" for _ in names[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"
