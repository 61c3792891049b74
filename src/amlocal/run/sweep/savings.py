"""What early termination saved: an estimate, said with what it rests on."""

from __future__ import annotations

from collections.abc import Collection
from statistics import median

from amlocal.run.records import COMPLETED, Savings, TrialRecord


def saved_by(trial: TrialRecord, trials: Collection[TrialRecord]) -> float | None:
    """Estimate the CPU-seconds that ending a trial early saved.

    It would have used as many as the median completed trial. That takes no account of its hyperparameters, and
    counts nothing for one that had used more than that already.

    Args:
        trial: the trial that was ended early.
        trials: all trials of the sweep.

    Returns:
        CPU-seconds; None when it was not ended early or no completed trial tells.
    """
    completed = _completed(trials)
    if not trial.ended_early or not completed:
        return None
    return max(0.0, median(completed) - (trial.cpu_seconds or 0.0))


def estimate(trials: Collection[TrialRecord]) -> Savings:
    """Sum up what early termination saved in a sweep."""
    ended = [trial for trial in trials if trial.ended_early]
    saved = [seconds for trial in ended if (seconds := saved_by(trial, trials)) is not None]
    return Savings(
        trials=len(ended),
        used=sum(trial.cpu_seconds or 0.0 for trial in trials if trial.reused_from is None),
        saved=sum(saved) if len(saved) == len(ended) else None,
        basis=len(_completed(trials)),
    )


def described(savings: Savings) -> str:
    """Say it in one line."""
    if savings.trials == 0:
        return "early termination ended no trial"
    what = f"early termination ended {_count(savings.trials, 'trial')}"
    if savings.saved is None:
        return f"{what}; what that saved cannot be estimated, as no trial completed"
    total = savings.used + savings.saved
    share = 100 * savings.saved / total if total else 0.0
    basis = _count(savings.basis, "completed trial")
    figures = f"about {_short(savings.saved)} of {_short(total)} CPU-seconds ({share:.0f} %)"
    return f"{what} and saved {figures}, estimated from {basis}"


def _completed(trials: Collection[TrialRecord]) -> list[float]:
    return [trial.cpu_seconds for trial in trials if trial.status == COMPLETED and trial.cpu_seconds is not None]


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
