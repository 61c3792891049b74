"""`verdict.json`: the gate's answer with everything it follows from, so that others can work it out again."""

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import finetune
from finetune.errors import InputError
from finetune.files import file_sha256, read_json
from finetune.gate import Champion, Difference, Evidence, NoChampion, TestRows, UnusableChampion, Verdict, decide
from finetune.metrics.known import slice_metric
from finetune.policy import GatePolicy
from finetune.report import REPORT_BRIEF, REPORT_PAGE
from finetune.tasks import TASKS
from finetune.workspace import ModelVersion

METRICS_FILE = "metrics.json"
VERDICT_FILE = "verdict.json"
PREDICTIONS_FILE = "predictions.parquet"
REPORTS = (REPORT_PAGE, REPORT_BRIEF)
"""What a reviewer reads: bound to the verdict by their digests."""
CHALLENGER = "challenger"
CHAMPION = "champion"
REFERENCE = "reference"
"""Name of a model that stands in the champion's place and serves nowhere."""
BASELINE = "baseline"
"""Answers that look at no text: see `finetune.answers.AnswerKind.baseline`."""

Serving = tuple[ModelVersion, Champion | UnusableChampion]


def describe_evidence(
    challenger: Evidence, serving: Serving | NoChampion, rows: TestRows, measured_at: datetime
) -> dict[str, Any]:
    """Return what metrics.json says of the models: all that the gate decides by."""
    metrics = {CHALLENGER: dict(challenger.metrics)}
    described: dict[str, Any] = {"model_sha256": challenger.model_sha256, "test_rows": asdict(rows), "metrics": metrics}
    described |= {"measured_at": measured_at.isoformat(timespec="seconds"), "champion": None, "comparison": None}
    if isinstance(serving, NoChampion):
        described["nothing_serves_at"] = serving.endpoint
    else:
        version, champion = serving
        identity = {"name": version.name, "version": version.version}
        if isinstance(champion, UnusableChampion):
            described["champion"] = {**identity, "unusable": champion.reason}
        else:
            metrics[CHAMPION] = dict(champion.evidence.metrics)
            described["champion"] = {**identity, "model_sha256": champion.evidence.model_sha256}
            comparison = asdict(champion)
            comparison.pop("evidence")
            described["comparison"] = comparison
    return described


def draft_verdict(evaluation: Path, policy: GatePolicy, policy_path: Path) -> dict[str, Any]:
    """Let the gate decide by metrics.json.

    Args:
        evaluation: the folder, with metrics.json and predictions.parquet.
        policy: what `policy_path` says.
        policy_path: gate.yml.

    Returns:
        The contents of verdict.json, to be written last: a folder with a verdict is a whole evaluation. The digests of
        report.html and report.md, where they are there already, are among them.

    Raises:
        InputError: metrics.json does not hold what the gate decides by.
    """
    return _draft(evaluation, policy, _digests(evaluation, policy_path))


def _draft(evaluation: Path, policy: GatePolicy, digests: Mapping[str, Any]) -> dict[str, Any]:
    metrics = read_json(evaluation / METRICS_FILE, "the metrics that evaluate writes")
    verdict = _decide(evaluation / METRICS_FILE, metrics, policy)
    decided_at = _time(evaluation / METRICS_FILE, "measured_at", metrics.get("measured_at"))
    return {
        **_answer(verdict),
        "decided_at": decided_at.isoformat(timespec="seconds"),
        "valid_until": (decided_at + timedelta(days=policy.valid_days)).isoformat(timespec="seconds"),
        "model_sha256": metrics["model_sha256"],
        "test_sha256": metrics["test_rows"]["sha256"],
        **digests,
        "policy": asdict(policy),
        "champion": metrics["champion"],
        "comparison": metrics["comparison"],
    }


def verify_verdict(
    evaluation: Path, model_sha256: str, test_sha256: str, policy: GatePolicy, policy_path: Path, now: datetime
) -> dict[str, Any]:
    """Work a verdict out again from metrics and policy, and compare it with what is written.

    Returns:
        The contents of verdict.json.

    Raises:
        InputError: it is about another model, other test rows, other metrics, reports or another policy, was
            decided by other code, is too old, or the gate comes to another answer: it was edited, or written by a gate
            with a fault.
    """
    for name in REPORTS:
        if not (evaluation / name).is_file():
            raise InputError(f"{evaluation / name}: no such file; expected the report that evaluate writes")
    about = {"model_sha256": model_sha256, "test_sha256": test_sha256}
    return _verify(evaluation, about, policy, _digests(evaluation, policy_path), now)


def verify_kept_verdict(
    evidence: Path, model_sha256: str, policy: GatePolicy, policy_path: Path, now: datetime
) -> dict[str, Any]:
    """Do the same where only verdict.json, metrics.json and gate.yml were kept, as beside a registered model.

    What register has verified and is not here any more is taken as written: digests of test rows, answers, reports, and
    of the code, which may be newer here and has to come to the same answer.

    Raises:
        InputError: as `verify_verdict`.
    """
    written = read_json(evidence / VERDICT_FILE, "the verdict that evaluate writes")
    stated = {name: written.get(name) for name in ("predictions_sha256", "reports_sha256", "code_sha256")}
    digests = {**_kept_digests(evidence, policy_path), **stated}
    about = {"model_sha256": model_sha256, "test_sha256": written.get("test_sha256")}
    return _verify(evidence, about, policy, digests, now)


def _verify(
    evaluation: Path, about: Mapping[str, Any], policy: GatePolicy, digests: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    path = evaluation / VERDICT_FILE
    written = read_json(path, "the verdict that evaluate writes")
    metrics = read_json(evaluation / METRICS_FILE, "the metrics that evaluate writes")
    for name, expected in {**about, **digests}.items():
        if written.get(name) != expected:
            raise InputError(f"{path}: its {name} is {written.get(name)}; expected {expected}")
    verdict = _decide(evaluation / METRICS_FILE, metrics, policy)
    measured = {"model_sha256": metrics["model_sha256"], "test_sha256": metrics["test_rows"]["sha256"]}
    if measured != about:
        raise InputError(f"{evaluation / METRICS_FILE}: is about {measured}; expected {about}")
    answer = {**_answer(verdict), "champion": metrics["champion"], "comparison": metrics["comparison"]}
    found = {name: written.get(name) for name in answer}
    if found != answer:
        raise InputError(f"{path}: says {found}; the gate comes to {answer}")
    # As JSON has it: tuples become lists.
    expected = json.loads(json.dumps(_draft(evaluation, policy, digests)))
    differing = sorted(key for key in {*expected, *written} if written.get(key) != expected.get(key))
    if differing or written.keys() != expected.keys():
        raise InputError(f"{path}: {', '.join(differing)}: not as the gate writes it; it was edited")
    if _time(path, "decided_at", written["decided_at"]) > now + timedelta(minutes=5):  # clocks of two machines differ
        raise InputError(f"{path}: decided_at {written['decided_at']} is in the future")
    check_valid(path, written["valid_until"], now)
    return written


def check_valid(path: Path | str, valid_until: object, now: datetime) -> None:
    """Check that a verdict can still be acted upon.

    Args:
        path: the file, or the tag, that names the time.
        valid_until: ISO 8601 with a time zone.
        now: with a time zone.

    Raises:
        InputError: the time is over, or is none.
    """
    end = _time(path, "valid_until", valid_until)
    if now > end:
        raise InputError(f"{path}: the verdict was valid until {valid_until}; evaluate the model again")


def _time(path: Path | str, name: str, value: object) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        raise InputError(f"{path}: its {name} is {value!r}; expected an ISO 8601 time") from None
    if time.tzinfo is None:
        raise InputError(f"{path}: its {name} is {value!r}; expected a time with its zone")
    return time


def _answer(verdict: Verdict) -> dict[str, Any]:
    return {
        "promoted": verdict.promoted,
        "reasons": list(verdict.reasons),
        "checks": [asdict(check) for check in verdict.checks],
    }


def _digests(evaluation: Path, policy_path: Path) -> dict[str, Any]:
    reports = {name: file_sha256(evaluation / name) for name in REPORTS if (evaluation / name).is_file()}
    return {
        **_kept_digests(evaluation, policy_path),
        "predictions_sha256": file_sha256(evaluation / PREDICTIONS_FILE),
        "reports_sha256": reports,
        "code_sha256": code_sha256(),
    }


def _kept_digests(folder: Path, policy_path: Path) -> dict[str, str]:
    return {"metrics_sha256": file_sha256(folder / METRICS_FILE), "policy_sha256": file_sha256(policy_path)}


def code_sha256() -> str:
    """Return a digest of this library's sources: whose gate, whose metrics."""
    folder = Path(finetune.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _decide(path: Path, metrics: Mapping[str, Any], policy: GatePolicy) -> Verdict:
    """Decide by the contents of metrics.json."""
    try:
        rows = TestRows(**metrics["test_rows"])
        slices = {name: operator.index(found) for name, found in dict(rows.slices).items()}
        rows = replace(rows, labels_without_rows=tuple(rows.labels_without_rows), slices=slices)
        measured = metrics["metrics"]
        challenger = Evidence(metrics["model_sha256"], rows.sha256, dict(measured[CHALLENGER]), CHALLENGER)
        champion = _read_champion(path, metrics, rows)
        task = TASKS[metrics["task"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error!r}; expected the metrics that evaluate writes") from None
    return decide(challenger, champion, rows, policy, slice_metric(task))


def _read_champion(path: Path, metrics: Mapping[str, Any], rows: TestRows) -> Champion | UnusableChampion | NoChampion:
    described, measured, comparison = metrics["champion"], metrics["metrics"], metrics["comparison"]
    usable = described is not None and "unusable" not in described
    if (CHAMPION in measured) != usable or (comparison is not None) != usable:
        raise InputError(f"{path}: what it says of the champion does not agree with what was measured")
    if described is None:
        return NoChampion(metrics["nothing_serves_at"])
    name = str(ModelVersion(described["name"], described["version"]))
    if not usable:
        return UnusableChampion(name, described["unusable"])
    return Champion(
        Evidence(described["model_sha256"], rows.sha256, dict(measured[CHAMPION]), name),
        Difference(**comparison["difference"]),
        comparison["test"],
        comparison["p_value"],
        {part: Difference(**difference) for part, difference in comparison["slices"].items()},
    )
