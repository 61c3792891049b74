"""`verdict.json`: the gate's answer with everything it follows from, so that others can work it out again."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.errors import InputError
from finetune.files import file_sha256, read_json, write_json
from finetune.gate import Evidence, GatePolicy, UnusableChampion, Verdict, decide
from finetune.workspace import ModelVersion

METRICS_FILE = "metrics.json"
VERDICT_FILE = "verdict.json"
PREDICTIONS_FILE = "predictions.parquet"
CHALLENGER = "challenger"
CHAMPION = "champion"


def write_verdict(
    evaluation: Path,
    challenger: Evidence,
    champion: tuple[ModelVersion, Evidence | UnusableChampion] | None,
    policy: GatePolicy,
    policy_path: Path,
    decided_at: str,
) -> Verdict:
    """Let the gate decide and write verdict.json beside metrics.json, which has to be there.

    Args:
        evaluation: the folder.
        challenger: the new model's figures.
        champion: the serving model and its figures, or why there are none; None when nothing serves.
        policy: what `policy_path` says.
        policy_path: gate.yml.
        decided_at: ISO 8601.
    """
    verdict = decide(challenger, champion[1] if champion else None, policy)
    write_json(
        evaluation / VERDICT_FILE,
        {
            "promoted": verdict.promoted,
            "reasons": list(verdict.reasons),
            "checks": [asdict(check) for check in verdict.checks],
            "decided_at": decided_at,
            "model_sha256": challenger.model_sha256,
            "test_sha256": challenger.test_sha256,
            "metrics_sha256": file_sha256(evaluation / METRICS_FILE),
            "policy_sha256": file_sha256(policy_path),
            "policy": asdict(policy),
            "champion": _describe(champion),
        },
    )
    return verdict


def verify_verdict(
    evaluation: Path, model_sha256: str, test_sha256: str, policy: GatePolicy, policy_path: Path
) -> dict[str, Any]:
    """Work a verdict out again from metrics and policy, and compare it with what is written.

    Returns:
        The contents of verdict.json.

    Raises:
        InputError: it is about another model, other test rows, other metrics or another policy, or the gate comes to
            another answer: it was edited, or written by a gate with a fault.
    """
    path = evaluation / VERDICT_FILE
    written = read_json(path, "the verdict that evaluate writes")
    metrics = read_json(evaluation / METRICS_FILE, "the metrics that evaluate writes")
    for name, expected in {
        "model_sha256": model_sha256,
        "test_sha256": test_sha256,
        "metrics_sha256": file_sha256(evaluation / METRICS_FILE),
        "policy_sha256": file_sha256(policy_path),
    }.items():
        if written.get(name) != expected:
            raise InputError(f"{path}: its {name} is {written.get(name)}; expected {expected}")
    if metrics.get("test_sha256") != test_sha256:
        raise InputError(f"{evaluation / METRICS_FILE}: its test_sha256 is {metrics.get('test_sha256')}")
    measured = metrics.get("metrics")
    if not isinstance(measured, dict) or not isinstance(measured.get(CHALLENGER), dict):
        raise InputError(f"{evaluation / METRICS_FILE}: holds no metrics of the {CHALLENGER}")
    challenger = Evidence(model_sha256, test_sha256, measured[CHALLENGER], CHALLENGER)
    verdict = decide(challenger, _read_champion(path, written.get("champion"), measured, test_sha256), policy)
    answer = {
        "promoted": verdict.promoted,
        "reasons": list(verdict.reasons),
        "checks": [asdict(check) for check in verdict.checks],
    }
    found = {name: written.get(name) for name in answer}
    if found != answer:
        raise InputError(f"{path}: says {found}; the gate comes to {answer}")
    return written


def _describe(champion: tuple[ModelVersion, Evidence | UnusableChampion] | None) -> dict[str, str] | None:
    if champion is None:
        return None
    version, evidence = champion
    detail = (
        {"model_sha256": evidence.model_sha256} if isinstance(evidence, Evidence) else {"unusable": evidence.reason}
    )
    return {"name": version.name, "version": version.version, **detail}


def _read_champion(
    path: Path, written: Any, measured: Mapping[str, Any], test_sha256: str
) -> Evidence | UnusableChampion | None:
    if written is None:
        if CHAMPION in measured:
            raise InputError(f"{path}: names no champion, but one was measured")
        return None
    try:
        name = str(ModelVersion(written["name"], written["version"]))
        if "unusable" in written:
            return UnusableChampion(name, written["unusable"])
        return Evidence(written["model_sha256"], test_sha256, measured[CHAMPION], name)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: its champion is {written!r}; {error} is missing") from None
