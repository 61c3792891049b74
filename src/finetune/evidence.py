"""What a registered model carries of its verdict, so that deploy can work it out again from the model alone."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from finetune.errors import InputError
from finetune.files import file_sha256, folder_megabytes, folder_sha256, read_json
from finetune.policy import read_policy
from finetune.registration import CHAMPION_TAG, NO_CHAMPION, VALID_UNTIL_TAG, VERDICT_DIGEST_TAG
from finetune.tasks import TASKS
from finetune.verdict import METRICS_FILE, VERDICT_FILE, verify_kept_verdict
from finetune.workspace import ModelVersion

EVIDENCE_FOLDER = "evidence"
"""In a registered model's folder. It is no part of the model: digest and size are those of what train wrote."""
POLICY_FILE = "gate.yml"


def model_sha256(folder: Path) -> str:
    """Return the digest of a model folder, without the evidence that register added."""
    return folder_sha256(folder, without=EVIDENCE_FOLDER)


def model_megabytes(folder: Path) -> float:
    """Return the size of a model folder, without the evidence that register added."""
    return folder_megabytes(folder, without=EVIDENCE_FOLDER)


def add_evidence(model: Path, evaluation: Path, policy_path: Path, target: Path) -> None:
    """Copy a model with its verdict, and the metrics and policy that it follows from. They hold no text of a test row.

    Raises:
        InputError: the model has a folder of that name already.
    """
    if (model / EVIDENCE_FOLDER).exists():
        raise InputError(f"{model / EVIDENCE_FOLDER}: is there already; expected a model as train wrote it")
    shutil.copytree(model, target)
    evidence = target / EVIDENCE_FOLDER
    evidence.mkdir()
    for name in (VERDICT_FILE, METRICS_FILE):
        shutil.copyfile(evaluation / name, evidence / name)
    shutil.copyfile(policy_path, evidence / POLICY_FILE)


def verify_evidence(model: ModelVersion, folder: Path, tags: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Let the gate come to a registered model's verdict again, and hold the version's tags to it.

    Args:
        model: the version, for messages.
        folder: its content.
        tags: what it is registered with.
        now: the time, with a time zone.

    Returns:
        The contents of verdict.json.

    Raises:
        InputError: the model carries no verdict, or another one than it was registered with, or it is about another
            model, was edited, is too old, or does not promote; or the tags say something else than it does.
    """
    evidence = folder / EVIDENCE_FOLDER
    missing = [name for name in (VERDICT_FILE, METRICS_FILE, POLICY_FILE) if not (evidence / name).is_file()]
    if missing:
        raise InputError(f"{model}: its content holds no {EVIDENCE_FOLDER}/{missing[0]}; evaluate and register it anew")
    if (found := file_sha256(evidence / VERDICT_FILE)) != tags.get(VERDICT_DIGEST_TAG):
        said = tags.get(VERDICT_DIGEST_TAG)
        raise InputError(f"{model}: its {VERDICT_FILE} has the digest {found}; its tag {VERDICT_DIGEST_TAG} is {said}")
    metrics = read_json(evidence / METRICS_FILE, "the metrics that evaluate writes")
    if (task := TASKS.get(str(metrics.get("task")))) is None:
        raise InputError(
            f"{model}: its {METRICS_FILE} is about the task {metrics.get('task')!r}, which is not known here"
        )
    policy = read_policy(evidence / POLICY_FILE, task)
    verdict = verify_kept_verdict(evidence, model_sha256(folder), policy, evidence / POLICY_FILE, now)
    if verdict["promoted"] is not True:
        raise InputError(f"{model}: its verdict does not promote it: {'; '.join(verdict['reasons'])}")
    expected = {VALID_UNTIL_TAG: verdict["valid_until"], CHAMPION_TAG: champion_of(verdict)}
    for tag, value in expected.items():
        if tags.get(tag) != value:
            raise InputError(f"{model}: its tag {tag} is {tags.get(tag)}; its verdict says {value}")
    return verdict


def champion_of(verdict: Mapping[str, Any]) -> str:
    """Return what a verdict compared the model with, as tags have it: "<model>:<version>" or "none"."""
    champion = verdict["champion"]
    return str(ModelVersion(champion["name"], champion["version"])) if champion else NO_CHAMPION
