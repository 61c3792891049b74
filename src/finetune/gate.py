"""The promotion gate: (challenger, champion, policy) → verdict. Pure; no file, no clock, no network, no chance.

A model is promoted only if every check passes. What is missing, not a number, or measured on other rows fails its
check: there is no path on which an absent figure counts as a good one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from finetune.policy import GatePolicy

_MOST_NAMED = 8
"""Of the slices without rows, in a reason."""
_LARGE = 1e12
"""Numbers beyond are written with an exponent."""


@dataclass(frozen=True)
class TestRows:
    """The rows that models were measured on."""

    __test__ = False  # pytest takes it for a test class otherwise

    sha256: str
    """Digest of the whole test split."""
    rows: int
    """Rows measured."""
    seen_in_train: int
    """Of these, rows whose texts occur in train, to the letter or but for case and punctuation."""
    subtracted: int = 0
    """Rows of the split that were left out because they occur in train."""
    labels_without_rows: tuple[str, ...] = ()
    """The model's labels of which no row was measured."""
    slices: Mapping[str, int] = field(default_factory=dict)
    """Rows measured of each part of the split, by the part's name; 0 for a part that lost all of its rows."""


@dataclass(frozen=True)
class Evidence:
    """What was measured of one model."""

    model_sha256: str
    test_sha256: str
    """Digest of the test rows that the metrics were measured on."""
    metrics: Mapping[str, float]
    name: str
    """For reasons, such as "customer-messages:3"."""


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion on the same rows, in one metric, with the interval that resampling the rows gives."""

    metric: str
    rows: int
    value: float
    low: float
    high: float
    confidence: float
    """Of the interval from low to high, as in the policy."""


@dataclass(frozen=True)
class Champion:
    """The serving model's figures, and how the challenger's differ from them."""

    evidence: Evidence
    difference: Difference
    """In the policy's primary metric."""
    test: str
    """Name of the paired test."""
    p_value: float
    """Probability of a difference at least as large, were the two models exchangeable; two-sided."""
    slices: Mapping[str, Difference] = field(default_factory=dict)
    """In the problem's slice metric, by the name of the part of the test rows."""


@dataclass(frozen=True)
class UnusableChampion:
    """A model serves, but it could not be measured."""

    name: str
    reason: str


@dataclass(frozen=True)
class NoChampion:
    """There is no model to compare with."""

    endpoint: str | None
    """The endpoint at which nothing serves; None when no endpoint was named."""


@dataclass(frozen=True)
class Check:
    """One check of the gate."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer."""

    checks: tuple[Check, ...]

    @property
    def promoted(self) -> bool:
        """True when there were checks and every one of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The failed checks' reasons; those of all checks when none failed."""
        failed = tuple(check.reason for check in self.checks if not check.passed)
        return failed or tuple(check.reason for check in self.checks)


def decide(
    challenger: Evidence,
    champion: Champion | UnusableChampion | NoChampion,
    rows: TestRows,
    policy: GatePolicy,
    slice_metric: str,
) -> Verdict:
    """Decide whether the challenger takes the champion's place.

    Args:
        challenger: the new model's figures.
        champion: the serving model's, measured on the same rows; or why it could not be measured, or why there is none.
        rows: what they were measured on.
        policy: what it takes.
        slice_metric: what slices are compared by; more is better.
    """
    checks = [*_limit_checks(challenger, policy), _rows_check(challenger, rows, policy), *_part_checks(rows, policy)]
    if isinstance(champion, NoChampion):
        checks.append(_without_champion(champion, policy))
    elif isinstance(champion, UnusableChampion):
        checks.append(
            Check("champion", False, f"the champion {champion.name} could not be measured: {champion.reason}")
        )
    else:
        checks.append(_comparison(challenger, champion, rows, policy))
        checks.extend(_slice_checks(champion.slices, rows, policy, slice_metric))
    return Verdict(tuple(checks))


def _limit_checks(challenger: Evidence, policy: GatePolicy) -> Iterator[Check]:
    for metric, bound in policy.minimum.items():
        value = _figure(challenger, metric)
        if value is None:
            yield _missing(challenger, metric)
        else:
            sign = "≥" if value >= bound else "<"
            yield Check(f"minimum {metric}", value >= bound, f"{metric} {value:.4f} {sign} {bound:g} (minimum)")
    for metric, bound in policy.maximum.items():
        value = _figure(challenger, metric)
        if value is None:
            yield _missing(challenger, metric)
        else:
            sign = "≤" if value <= bound else ">"
            yield Check(f"maximum {metric}", value <= bound, f"{metric} {value:.4f} {sign} {bound:g} (maximum)")


def _rows_check(challenger: Evidence, rows: TestRows, policy: GatePolicy) -> Check:
    name = "test rows"
    if challenger.test_sha256 != rows.sha256:
        return Check(name, False, "the challenger was measured on other rows than the test split's")
    if not rows.rows >= 1:
        return Check(name, False, "no test row is left to measure on")
    if rows.labels_without_rows:
        labels = ", ".join(rows.labels_without_rows)
        subtracted = f", {rows.subtracted} that occur in train being left out" if rows.subtracted else ""
        return Check(name, False, f"no test row is left of the labels {labels}{subtracted}: they were not measured")
    left_out = f"; {rows.subtracted} more occur in train and were left out" if rows.subtracted else ""
    if rows.seen_in_train == 0:
        return Check(name, True, f"{rows.rows} test rows, none of which occurs in train{left_out}")
    return Check(
        name,
        policy.test_rows_seen_in_train == "accept",
        f"{rows.seen_in_train} of {rows.rows} test rows occur in train{left_out}; "
        f"the policy says {policy.test_rows_seen_in_train}",
    )


def _part_checks(rows: TestRows, policy: GatePolicy) -> Iterator[Check]:
    """Check that the parts which the policy asks for were measured, whatever the challenger is compared with."""
    for name in policy.required_slices:
        found = rows.slices.get(name, 0)
        if not found >= policy.slice_minimum_rows:
            message = f"slice {name!r} has {found} test rows; the policy requires {policy.slice_minimum_rows}"
            yield Check(f"slice {name}", False, message)
    known = {*policy.required_slices, *(f"label: {label}" for label in rows.labels_without_rows)}
    emptied = [name for name, found in rows.slices.items() if not found and name not in known]
    if emptied and rows.rows:
        more = f" and {len(emptied) - _MOST_NAMED} more" if len(emptied) > _MOST_NAMED else ""
        named = ", ".join(map(repr, emptied[:_MOST_NAMED])) + more
        reason = f"no test row is left of {named}: not measured there; the policy says {policy.empty_slices}"
        yield Check("empty slices", policy.empty_slices == "accept", reason)


def _without_champion(found: NoChampion, policy: GatePolicy) -> Check:
    if found.endpoint is None:
        why = "no endpoint was named, so no serving model was looked for"
    else:
        why = f"no model serves at {found.endpoint} yet"
    if policy.without_champion == "promote":
        return Check("champion", True, f"{why}; the policy promotes the first one that passes its limits")
    return Check("champion", False, f"{why}, and the policy does not promote without a champion")


def _comparison(challenger: Evidence, champion: Champion, rows: TestRows, policy: GatePolicy) -> Check:
    name, metric, old = "against the champion", policy.primary_metric, champion.evidence
    if challenger.model_sha256 == old.model_sha256:
        return Check(name, False, f"this is the model that serves already ({old.name})")
    if challenger.test_sha256 != old.test_sha256:
        return Check(name, False, f"challenger and champion {old.name} were measured on different test rows")
    new_figure, old_figure = _figure(challenger, metric), _figure(old, metric)
    if new_figure is None or old_figure is None:
        return _missing(challenger if new_figure is None else old, metric)
    difference = champion.difference
    wrong = _unsound(difference, policy, metric) or _unsound_test(champion, rows)
    if wrong is not None:
        return Check(name, False, wrong)
    if not math.isclose(difference.value, new_figure - old_figure, abs_tol=1e-9):
        return Check(name, False, f"the difference in {metric} is said to be {difference.value}; the figures disagree")
    passed, needed = _requirement(champion, policy)
    return Check(
        name,
        passed,
        f"{metric} {new_figure:.4f} against the champion's {old_figure:.4f} ({old.name}): {_quoted(difference)}, "
        f"{champion.test} p = {champion.p_value:.2g}; {'meets' if passed else 'short of'} {needed}",
    )


def _requirement(champion: Champion, policy: GatePolicy) -> tuple[bool, str]:
    difference = champion.difference
    if policy.required == "non_inferior":
        return difference.low >= -policy.margin, f"the required: interval above {-policy.margin:+g}"
    # Rounded to what the figures can carry, so that 0.91 - 0.90 meets a required 0.01.
    large_enough = round(difference.value, 9) >= policy.minimum_improvement
    # With few rows on which the models differ, the interval alone is too sure of itself.
    level = round(1 - policy.confidence, 9)
    return (
        large_enough and difference.low > 0 and champion.p_value <= level,
        f"the required: at least {policy.minimum_improvement:+g}, interval above 0, p at most {level:g}",
    )


def _slice_checks(slices: Mapping[str, Difference], rows: TestRows, policy: GatePolicy, metric: str) -> Iterator[Check]:
    measured = {name: found for name, found in rows.slices.items() if found}
    for name in sorted({*measured, *slices}):
        compared = slices[name].rows if name in slices else 0
        if compared != measured.get(name, 0):
            message = f"slice {name!r}: compared on {compared} rows and measured on {measured.get(name, 0)}"
            yield Check(f"slice {name}", False, message)
    if not slices:
        yield Check("slices", False, "no slice of the test rows was compared")
        return
    judged = {name: part for name, part in slices.items() if part.rows >= policy.slice_minimum_rows}
    unsound = {name: wrong for name, part in judged.items() if (wrong := _unsound(part, policy, metric))}
    for name, wrong in unsound.items():
        yield Check(f"slice {name}", False, f"slice {name!r}: {wrong}")
    worse = [name for name, part in judged.items() if name not in unsound and not part.low >= -policy.slice_margin]
    for name in worse:
        part = judged[name]
        reason = f"slice {name!r}, {part.rows} rows: {metric} {_quoted(part)}"
        yield Check(f"slice {name}", False, f"{reason}; required: interval above {-policy.slice_margin:+g}")
    if not worse and not unsound:
        lowest = min(judged, key=lambda name: judged[name].low, default=None)
        found = f"no slice of at least {policy.slice_minimum_rows} rows ({len(judged)}) loses too much in {metric}"
        quoted = f"; lowest: {lowest}, {_quoted(judged[lowest])}" if lowest is not None else ""
        yield Check("slices", True, found + quoted)


def _unsound(difference: Difference, policy: GatePolicy, metric: str) -> str | None:
    """Say what is wrong with a difference; None when it can be judged by."""
    if difference.metric != metric:
        return f"the difference is in {difference.metric}; expected {metric}"
    if difference.confidence != policy.confidence:
        return f"the interval has confidence {difference.confidence}; the policy says {policy.confidence}"
    figures = (difference.low, difference.value, difference.high)
    if not all(_is_finite(figure) for figure in figures):
        return f"the difference is {difference.value} with interval {difference.low} to {difference.high}"
    if difference.low > difference.high:
        return f"the interval {difference.low} to {difference.high} is upside down"
    return None


def _unsound_test(champion: Champion, rows: TestRows) -> str | None:
    if champion.difference.rows != rows.rows:
        return f"the models were compared on {champion.difference.rows} rows and measured on {rows.rows}"
    if not _is_finite(champion.p_value) or not 0 <= champion.p_value <= 1:
        return f"the {champion.test} gave p = {champion.p_value}"
    return None


def _quoted(difference: Difference) -> str:
    bounds = f"{signed(difference.low)} to {signed(difference.high)}"
    interval = f"{difference.confidence * 100:g} % interval {bounds}"
    return f"{difference.value:+.4f} ({interval})"


def signed(value: float) -> str:
    """Return a number with its sign and four digits; shorter where it only says that nothing is known."""
    return f"{value:+.4f}" if abs(value) < _LARGE else f"{value:+.0e}"


def _figure(evidence: Evidence, metric: str) -> float | None:
    """Return a metric's value, or None when it is missing or not a finite number."""
    value = evidence.metrics.get(metric)
    return float(value) if value is not None and _is_finite(value) else None


def _is_finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _missing(evidence: Evidence, metric: str) -> Check:
    found = evidence.metrics.get(metric, "nothing")
    return Check(f"has {metric}", False, f"{evidence.name}: found {found} for {metric}; expected a finite number")
