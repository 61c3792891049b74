"""Which form of a model is handed on: the fastest that keeps its score; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PLAIN = "plain"
LEAST_GAIN = 1.1
"""How many times faster than the plain model a form has to be: below that its trouble is not worth it."""


@dataclass(frozen=True)
class Form:
    """One form of the model as it was measured, or why there is none."""

    name: str
    score: float | None = None
    """On validation; more is better."""
    milliseconds: float | None = None
    """For one row, the median over rows of all lengths, one thread."""
    megabytes: float | None = None
    problem: str | None = None
    """Why it could not be made or measured."""


@dataclass(frozen=True)
class Judged:
    """A form, and what is said of it."""

    form: Form
    chosen: bool
    reason: str


def relative_loss(plain: float, score: float) -> float:
    """Return which share of the plain model's score is lost; below 0 for a gain.

    With a plain score of 0 any loss is infinite.
    """
    lost = plain - score
    if plain == 0:
        return 0.0 if lost == 0 else math.copysign(math.inf, lost)
    return lost / abs(plain)


def choose(plain: Form, forms: Sequence[Form], maximum_loss: float) -> tuple[Judged, ...]:
    """Choose a form.

    Args:
        plain: the model as it was trained; its score and time are there.
        forms: the others.
        maximum_loss: the share of the plain model's score that may be lost, such as 0.01.

    Returns:
        The plain model first, then the others; one is chosen.
    """
    assert plain.score is not None and plain.milliseconds is not None  # noqa: S101, PT018 - it is always measured
    refused = {form.name: _refused(plain.score, plain.milliseconds, form, maximum_loss) for form in forms}
    usable = [form for form in forms if refused[form.name] is None]
    best = min(usable, key=lambda form: form.milliseconds or math.inf, default=plain)
    judged = [Judged(plain, best is plain, "no other form is usable" if best is plain else "the trained model itself")]
    for form in forms:
        reason = refused[form.name]
        if reason is None:
            gain = plain.milliseconds / (form.milliseconds or math.inf)
            lost = relative_loss(plain.score, form.score or 0.0)
            reason = f"{gain:.1f} times faster, score {form.score:.4f} ({-lost:+.2%})"
            reason += "" if form is best else "; another form is faster"
        judged.append(Judged(form, form is best, reason))
    return tuple(judged)


def _refused(score: float, milliseconds: float, form: Form, maximum_loss: float) -> str | None:
    if form.problem is not None:
        return form.problem
    if form.score is None or not math.isfinite(form.score) or form.milliseconds is None or form.milliseconds <= 0:
        return f"measured score {form.score} and {form.milliseconds} ms; expected finite numbers"
    lost = relative_loss(score, form.score)
    # Rounded to what scores can carry, so that 0.8 to 0.76 is a loss of 0.05.
    if not round(lost, 9) <= maximum_loss:
        return f"score {form.score:.4f} against {score:.4f}: loses {lost:.2%}, more than the {maximum_loss:.2%} allowed"
    if milliseconds / form.milliseconds < LEAST_GAIN:
        return f"{form.milliseconds:.2f} ms against {milliseconds:.2f}: not {LEAST_GAIN:g} times faster"
    return None
