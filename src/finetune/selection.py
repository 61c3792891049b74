"""Which of two candidates goes on to register: decided by the gate's verdicts, in an order fixed beforehand. Pure.

Not the higher of two test scores: the maximum of noisy figures is too high, and chooses by noise where models are
alike. docs/automl.md has the reasoning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.errors import InputError


@dataclass(frozen=True)
class Candidate:
    """A model that was evaluated.

    Attributes:
        name: for reasons, such as "sweep".
        model_sha256: digest of its folder.
        verdict: contents of its verdict.json, against the model that serves.
        metrics: contents of its metrics.json.
    """

    name: str
    model_sha256: str
    verdict: Mapping[str, Any]
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """The choice.

    Attributes:
        chosen: the candidate that goes on; register still asks whether its verdict promotes it.
        reason: why.
    """

    chosen: Candidate
    reason: str


def select(first: Candidate, second: Candidate, comparison: Mapping[str, Any]) -> Selection:
    """Choose between two candidates.

    The first one, whose place this is unless the second takes it, goes on when it is promoted and the second does not
    beat it by the gate's own rule; also when neither is promoted. The second one goes on when it is promoted and either
    the first is not, or the gate promotes it over the first.

    Args:
        first: the candidate in place, fixed before anything was measured.
        second: the one that has to beat it.
        comparison: contents of the verdict.json of the second against the first.

    Raises:
        InputError: the verdicts are not about these models, or about other test rows, policies or code.
    """
    _check_agreement(first, second, comparison)
    ahead, behind = bool(first.verdict["promoted"]), bool(second.verdict["promoted"])
    if not behind:
        kept = "" if ahead else f", and {first.name} is not either"
        return Selection(first, f"{second.name} is not promoted ({_reasons(second.verdict)}){kept}")
    if not ahead:
        return Selection(second, f"{first.name} is not promoted ({_reasons(first.verdict)}) and {second.name} is")
    if comparison["promoted"]:
        return Selection(second, f"{second.name} beats {first.name}: {_reasons(comparison)}")
    return Selection(first, f"{second.name} does not beat {first.name}: {_reasons(comparison)}")


def _reasons(verdict: Mapping[str, Any]) -> str:
    reasons: Sequence[str] = verdict["reasons"]
    return "; ".join(reasons)


def _check_agreement(first: Candidate, second: Candidate, comparison: Mapping[str, Any]) -> None:
    if comparison["model_sha256"] != second.model_sha256:
        raise InputError(f"the comparison is about the model {comparison['model_sha256']}; expected {second.name}'s")
    reference = (comparison["champion"] or {}).get("model_sha256")
    if reference != first.model_sha256:
        raise InputError(f"the comparison is with the model {reference}; expected {first.name}'s {first.model_sha256}")
    for name in ("test_sha256", "policy_sha256", "code_sha256"):
        if len(found := {verdict[name] for verdict in (first.verdict, second.verdict, comparison)}) > 1:
            raise InputError(f"the verdicts' {name} differ: {', '.join(sorted(found))}; evaluate both candidates alike")
    served = {str(candidate.verdict["champion"]) for candidate in (first, second)}
    if len(served) > 1:
        raise InputError(f"the candidates were compared with different champions: {' and '.join(sorted(served))}")


def describe(
    selection: Selection, first: Candidate, second: Candidate, comparison: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of selection.json."""
    return {
        "chosen": selection.chosen.name,
        "model_sha256": selection.chosen.model_sha256,
        "reason": selection.reason,
        "candidates": {
            candidate.name: {
                "model_sha256": candidate.model_sha256,
                "promoted": candidate.verdict["promoted"],
                "reasons": list(candidate.verdict["reasons"]),
                "metrics": dict(candidate.metrics["metrics"]["challenger"]),
            }
            for candidate in (first, second)
        },
        "champion": first.verdict["champion"],
        "comparison": {
            "of": f"{second.name} against {first.name}",
            "promoted": comparison["promoted"],
            "reasons": list(comparison["reasons"]),
            **(comparison["comparison"] or {}),
        },
    }
