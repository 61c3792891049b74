"""Shows a job: live in a terminal, one line per change elsewhere, and a summary at the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from amlocal.reader.source import shown
from amlocal.run.journal import Listener
from amlocal.run.process import tail
from amlocal.run.records import (
    CANCELED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    RUNNING,
    JobRecord,
    StepRecord,
    TrialRecord,
    seconds,
)
from amlocal.run.sweep.savings import described

_MARKS = {
    NOT_STARTED: ("·", "dim"),
    RUNNING: ("▶", "cyan"),
    COMPLETED: ("✔", "green"),
    FAILED: ("✘", "red"),
    CANCELED: ("■", "yellow"),
}
_TRIALS_SHOWN = 12
_SUMMARY_LINES = 60
_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 16


class Shown(Protocol):
    """A job that is under way, here or in another process."""

    @property
    def record(self) -> JobRecord:
        """The job's record as it is now."""
        ...

    def listen(self, listener: Listener) -> None:
        """Have a function called after each change."""
        ...


@contextmanager
def live(job: Shown, console: Console) -> Iterator[None]:
    """Show a job while it runs: a tree in a terminal, else a line per change of status."""
    announce(job.record, console)
    if console.is_terminal and not os.environ.get("CI"):
        with Live(
            get_renderable=lambda: tree(job.record, time.time(), most=console.height - 1, clipped=True),
            console=console,
            refresh_per_second=4,
            transient=True,
        ):
            yield
    else:
        job.listen(_Lines(console))
        yield


def announce(record: JobRecord, console: Console) -> None:
    """Say which job this is, and once what of its file has no effect here."""
    console.print(f"job {record.name} ({record.kind}, {shown(Path(record.file))})", highlight=False, markup=False)
    if record.ignored:
        listed = ", ".join(f"{name} ({place})" for name, place in record.ignored.items())
        console.print(f"ignored on this machine: {listed}", highlight=False, markup=False, soft_wrap=True)
    for note, place in record.notes.items():
        console.print(f"{note} ({place})", highlight=False, markup=False, soft_wrap=True)


class _Lines:
    """Prints a line when a step's or trial's status changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[tuple[str, int | None], str] = {}
        self._message: str | None = None
        self._starts: dict[str, str] = {}

    def __call__(self, record: JobRecord, step: str | None, trial: int | None) -> None:
        if step is None:
            if record.message not in {None, self._message}:
                self._message = record.message
                self._console.print(record.message, highlight=False, markup=False, soft_wrap=True)
            return
        start = record.steps[step].start
        if start is not None and self._starts.get(step) != start:
            self._starts[step] = start
            self._console.print(f"{step}: trials start {start}", highlight=False, markup=False, soft_wrap=True)
        item = record.steps[step] if trial is None else record.steps[step].trials[trial]
        if self._seen.get((step, trial), NOT_STARTED) == item.status:
            return
        self._seen[step, trial] = item.status
        now = time.time()
        if isinstance(item, StepRecord):
            text = f"{step}: {item.status}{_took(item.started, item.ended, now, item.status)}{_why(item)}"
        else:
            text = f"{step}: {trial_line(item, now)}"
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def tree(record: JobRecord, now: float, most: int | None = None, clipped: bool = False) -> Tree:
    """Draw a job with its steps and trials.

    Args:
        record: the job.
        now: the time to count running ones up to, in seconds since 1970.
        most: lines that there is room for: completed steps and those that wait are folded first.
        clipped: cut long lines instead of wrapping them.
    """

    def label(status: str, text: str) -> Text:
        styled = Text.from_markup(_styled(status, text))
        if clipped:
            styled.no_wrap, styled.overflow = True, "ellipsis"
        return styled

    root = Tree(label(record.status, f"{record.name} {_took(record.started, record.ended, now, '')}"))
    if record.message is not None and all(step.status == NOT_STARTED for step in record.steps.values()):
        root.add(escape(record.message))
    drawn = record.steps.values() if most is None else _fitting(record, most - 1)
    for step in drawn:
        text = f"{step.name}{_took(step.started, step.ended, now, step.status)}{_why(step)}"
        branch = root.add(label(step.status, text))
        trials = sorted(step.trials.values(), key=lambda trial: trial.number)
        hidden = max(0, len(trials) - _TRIALS_SHOWN)
        # The running ones are the newest: what scrolls away is what was decided long ago.
        if hidden:
            branch.add(f"[dim]… {hidden} earlier trials[/dim]")
        for trial in trials[hidden:]:
            best = " ★ best" if trial.number == step.best_trial else ""
            branch.add(label(trial.status, trial_line(trial, now) + sparkline(trial.curve) + best))
        if step.early_termination is not None:
            branch.add(label(step.status, described(step.early_termination)))
        if step.start is not None:
            branch.add(label(step.status, f"trials start {step.start}"))
    shown_names = {step.name for step in drawn}
    for line in _folded([step for step in record.steps.values() if step.name not in shown_names]):
        root.add(f"[dim]{line}[/dim]")
    return root


def _fitting(record: JobRecord, most: int) -> list[StepRecord]:
    """Choose the steps that there is room for: what runs or went wrong, what completed last, what comes next."""
    steps = list(record.steps.values())
    if sum(map(_lines, steps)) <= most:
        return steps
    urgency = {RUNNING: 0, FAILED: 0, CANCELED: 1, COMPLETED: 2}
    # Equal times keep the order of the file; what is newest comes first.
    ranked = sorted(
        steps, key=lambda step: (urgency.get(step.status, 3), step.reused_from is not None, -(step.ended or 0))
    )
    room = most - len(urgency)  # a line for each kind of what is folded
    chosen = set()
    for step in ranked:
        room -= _lines(step)
        if room < 0:
            break
        chosen.add(step.name)
    return [step for step in steps if step.name in chosen]


def _lines(step: StepRecord) -> int:
    trials = len(step.trials)
    notes = (step.early_termination is not None) + (step.start is not None)
    return 1 + min(trials, _TRIALS_SHOWN) + (trials > _TRIALS_SHOWN) + notes


def _folded(steps: Sequence[StepRecord]) -> Iterator[str]:
    for status, (mark, _) in _MARKS.items():
        count = sum(step.status == status for step in steps)
        if count:
            reused = sum(step.status == status and step.reused_from is not None for step in steps)
            what = "not started" if status == NOT_STARTED else status.lower()
            yield f"{mark} {count} more {what}" + (f", {reused} of them reused" if reused else "")


def sparkline(curve: Sequence[float]) -> str:
    """Draw a metric's course with a space before it: its last values between their least and greatest.

    Empty for fewer than three finite values, which show nothing that the numbers do not.
    """
    values = [value for value in curve if math.isfinite(value)][-_SPARKS:]
    if len(values) < 3:
        return ""
    low, span = min(values), max(values) - min(values)
    steps = [round((value - low) / span * (len(_BARS) - 1)) if span else 0 for value in values]
    return " " + "".join(_BARS[step] for step in steps)


def trial_line(trial: TrialRecord, now: float) -> str:
    """Describe a trial in one line."""
    parameters = " ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
    score = ""
    if trial.curve:
        score = f" {_short(trial.curve[-1])}"
        if trial.best is not None and trial.best != trial.curve[-1]:
            score += f" (best {_short(trial.best)})"
    reason = f": {trial.reason}" if trial.reason else ""
    if trial.reused_from is not None:
        return f"trial {trial.number} [{parameters}] {trial.status}{score} (reuses job {trial.reused_from})"
    took = _took(trial.started, trial.ended, now, trial.status)
    return f"trial {trial.number} [{parameters}] {trial.status}{score}{took}{reason}"


def summary(record: JobRecord, console: Console) -> None:
    """Print how a job ended: its tree, what failed and why, and where its outputs are."""
    console.print(tree(record, time.time(), most=_SUMMARY_LINES), soft_wrap=not console.is_terminal)
    for step in record.steps.values():
        if step.status == FAILED:
            _explain_failure(step, console)
    for step in record.steps.values():
        for warning in step.warnings:
            console.print(f"warning: {step.name}: {warning}", highlight=False, markup=False, soft_wrap=True)
    for step in record.steps.values():
        if step.trial_table is not None:
            console.print(f"trials of {step.name}: {shown(Path(step.trial_table))}", highlight=False, markup=False)
    for step in record.steps.values():
        for name, asset in step.registered.items():
            console.print(f"output {name} registered: {asset}", highlight=False, markup=False)
    for name, path in record.outputs.items():
        console.print(f"output {name}: {shown(Path(path))}", highlight=False, markup=False, soft_wrap=True)
    error = f": {record.error}" if record.error else ""
    console.print(f"job {record.name}: {record.status}{error}", highlight=False, markup=False, soft_wrap=True)


def _explain_failure(step: StepRecord, console: Console) -> None:
    lines = [f"{step.name} failed: {step.error}"]
    if step.log is not None:
        log = Path(step.log)
        lines += [f"  | {line}" for line in tail(log)]
        lines.append(f"  log: {shown(log)}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _styled(status: str, text: str) -> str:
    mark, style = _MARKS.get(status, ("·", "dim"))
    return f"[{style}]{mark}[/{style}] {escape(text)}"


def _why(step: StepRecord) -> str:
    text = step.error if step.status not in {RUNNING, COMPLETED} else step.reason
    return f" ({text})" if text else ""


def _took(started: float | None, ended: float | None, now: float, status: str) -> str:
    taken = seconds(started, ended, now)
    if taken is None or (status == RUNNING and taken < 0.05):
        return ""
    return f" {int(taken // 60)}m{taken % 60:02.0f}s" if taken >= 60 else f" {taken:.1f}s"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
