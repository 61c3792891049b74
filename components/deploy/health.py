"""Whether a new version does as well as the old one, from what the probes brought; pure."""

from dataclasses import asdict, dataclass
from typing import Any

from policy import RolloutPolicy
from probes import Probing, Sample


@dataclass(frozen=True)
class HealthCheck:
    """One check with its figures."""

    name: str
    passed: bool
    reason: str
    candidate: float | None = None
    incumbent: float | None = None
    limit: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return it for the journal."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def judge(probing: Probing, policy: RolloutPolicy) -> tuple[HealthCheck, ...]:
    """Check error rates, answering time and agreement.

    What the incumbent is needed for is left out when it was not asked, or answered nothing.
    """
    checks = [
        _error_rate("error rate", probing.candidate, probing.incumbent, policy.maximum_error_rate),
        _p95(probing.candidate.p95_ms, probing.incumbent.p95_ms, policy),
    ]
    if probing.endpoint.answers:
        checks.append(_error_rate("endpoint's error rate", probing.endpoint, Sample(), policy.maximum_error_rate))
    if (agreement := _agreement(probing, policy)) is not None:
        checks.append(agreement)
    return tuple(checks)


def judge_tracebacks(before: str, after: str, policy: RolloutPolicy) -> HealthCheck:
    """Check how many tracebacks a log gained: all that is seen of a mirrored request that failed.

    Args:
        before: the log's end before.
        after: the log's end after.
        policy: rollout.yml.
    """
    gained = max(0, after.count(_TRACEBACK) - before.count(_TRACEBACK))
    passed = gained <= policy.maximum_tracebacks
    said = f"{gained} tracebacks in its log, at most {policy.maximum_tracebacks} allowed"
    return HealthCheck("tracebacks", passed, said, gained, limit=policy.maximum_tracebacks)


_TRACEBACK = "Traceback (most recent call last)"


def _error_rate(name: str, asked: Sample, incumbent: Sample, limit: float) -> HealthCheck:
    rate = asked.error_rate
    if rate is None:
        return HealthCheck(name, False, "nothing was asked", limit=limit)
    reason = f"{len(asked.problems)} of {len(asked.answers)} requests failed, at most {limit:.1%} allowed"
    if asked.problems:
        reason += f"; the first: {asked.problems[0]}"
    return HealthCheck(name, rate <= limit, reason, rate, incumbent.error_rate, limit)


def _p95(candidate: float | None, incumbent: float | None, policy: RolloutPolicy) -> HealthCheck:
    if candidate is None:
        return HealthCheck("p95 ms", False, "it answered nothing")
    limit = policy.maximum_p95_ms
    said = "the policy's maximum"
    if incumbent is not None:
        against = max(policy.maximum_p95_ratio * incumbent, incumbent + policy.p95_slack_ms)
        if against < limit:
            limit, said = against, f"the incumbent takes {incumbent:.0f} ms"
    reason = f"{candidate:.0f} ms, at most {limit:.0f} allowed: {said}"
    return HealthCheck("p95 ms", candidate <= limit, reason, candidate, incumbent, limit)


def _agreement(probing: Probing, policy: RolloutPolicy) -> HealthCheck | None:
    pairs = [
        (number % probing.bodies, row, new, old)
        for number, (candidate, incumbent) in enumerate(
            zip(probing.candidate.answers, probing.incumbent.answers, strict=False)
        )
        if candidate.problem is None and incumbent.problem is None
        for row, (new, old) in enumerate(zip(candidate.decisions, incumbent.decisions, strict=False))
    ]
    if not pairs:
        return None
    share = sum(_agree(new, old, policy.agreement_tolerance) for *_, new, old in pairs) / len(pairs)
    rows = len({pair[:2] for pair in pairs})
    limit, few = policy.minimum_agreement, rows < policy.agreement_minimum_rows
    reason = f"{share:.0%} of {rows} different rows get the same answer, at least {limit:.0%} expected"
    if few:
        reason += f"; not judged with fewer than {policy.agreement_minimum_rows} rows"
    return HealthCheck("agreement", few or share >= limit, reason, share, limit=limit)


def _agree(new: Any, old: Any, tolerance: float) -> bool:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (new, old)):
        return abs(new - old) <= tolerance
    return bool(new == old)
