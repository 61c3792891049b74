r"""Register: put a promoted model into the workspace's registry, or say why it is not there.

A rejected model is not an error: registration.json then says registered: false with the gate's reasons, and exit is 0.

Example:
    python components/register/register.py --model build/model --evaluation build/evaluation --dataset build/dataset \
        --gate_policy endpoints/text-classifier/gate.yml --model_name customer-messages \
        --registration build/registration.json
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.evidence import add_evidence, champion_of
from finetune.files import file_sha256, folder_sha256, read_json
from finetune.measurement import check_measured
from finetune.policy import read_policy
from finetune.registration import (
    CHAMPION_TAG,
    MODEL_DIGEST_TAG,
    NO_CHAMPION,
    PROMOTED,
    VALID_UNTIL_TAG,
    VERDICT_DIGEST_TAG,
    VERDICT_TAG,
    Registration,
    write_registration,
)
from finetune.report.training_record import NOT_RECORDED, read_training_record
from finetune.stage import parse_arguments, run_stage
from finetune.tasks import task_named
from finetune.verdict import METRICS_FILE, VERDICT_FILE, verify_verdict
from finetune.workspace import ModelVersion, connect

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisterArguments:
    """The command line of register."""

    model: str = field(metadata={"help": "the MLflow model folder that was evaluated"})
    evaluation: str = field(metadata={"help": "folder that evaluate wrote"})
    dataset: str = field(metadata={"help": "folder that prep wrote: its test rows are those that were measured"})
    gate_policy: str = field(metadata={"help": "gate.yml: the verdict is worked out again from it"})
    model_name: str = field(metadata={"help": "name in the registry; the registry counts the versions"})
    registration: str = field(metadata={"help": "output file: registration.json"})
    commit: str = field(default="unrecorded", metadata={"help": "commit of the code, for the lineage tags"})


def main(argv: Sequence[str]) -> None:
    """Run register."""
    arguments = parse_arguments(RegisterArguments, argv, __doc__)
    model, evaluation, output = map(Path, (arguments.model, arguments.evaluation, arguments.registration))
    policy_path = Path(arguments.gate_policy)
    manifest = read_manifest(Path(arguments.dataset))
    policy = read_policy(policy_path, task_named(manifest.task))
    digest = folder_sha256(model)
    test_sha256 = manifest.splits["test"].sha256
    verdict = verify_verdict(evaluation, digest, test_sha256, policy, policy_path, datetime.now(UTC))
    check_measured(evaluation, Path(arguments.dataset), manifest, model, policy)
    reasons = tuple(verdict["reasons"])
    metrics = read_json(evaluation / METRICS_FILE, "the metrics that evaluate writes")
    if not verdict["promoted"]:
        LOGGER.info("not registered: %s", "; ".join(reasons))
        write_registration(output, Registration(False, reasons))
        return
    verdict_sha256 = file_sha256(evaluation / VERDICT_FILE)
    training, _ = read_training_record(model)
    tags = {
        **lineage_tags(verdict, metrics, manifest, arguments.commit),
        **_origin(model),
        VERDICT_DIGEST_TAG: verdict_sha256,
        "environment_sha256": str((training or {}).get("environment_sha256", NOT_RECORDED)),
    }
    with tempfile.TemporaryDirectory() as temporary:
        # Of the model's own name: the client keeps it in the registry.
        carrying = Path(temporary) / model.resolve().name
        add_evidence(model, evaluation, policy_path, carrying)
        version = _register(carrying, arguments.model_name, tags)
    LOGGER.info("registered %s", version)
    champion = None if tags[CHAMPION_TAG] == NO_CHAMPION else tags[CHAMPION_TAG]
    valid_until = verdict["valid_until"]
    registration = Registration(True, reasons, version, digest, verdict_sha256, valid_until, champion, tags)
    write_registration(output, registration)


def lineage_tags(
    verdict: dict[str, Any], metrics: dict[str, Any], manifest: DatasetManifest, commit: str
) -> dict[str, str]:
    """Return the registered model's tags: where it came from and what it was measured at."""
    figures = metrics["metrics"]["challenger"]
    return {
        VERDICT_TAG: PROMOTED,
        MODEL_DIGEST_TAG: verdict["model_sha256"],
        "task": manifest.task,
        "base_checkpoint": manifest.checkpoint,
        "job": os.environ.get("AZUREML_ROOT_RUN_ID") or os.environ.get("AZUREML_RUN_ID") or "unrecorded",
        "commit": commit,
        CHAMPION_TAG: champion_of(verdict),
        "policy_sha256": verdict["policy_sha256"],
        VALID_UNTIL_TAG: verdict["valid_until"],
        **{f"{split}_sha256": summary.sha256 for split, summary in manifest.splits.items()},
        **{f"test_{name}": f"{value:.6f}" for name, value in figures.items()},
    }


def _origin(model: Path) -> dict[str, str]:
    """Return what the model itself says it started from: AutoML's did not start from prep's checkpoint."""
    try:
        metadata = yaml.safe_load((model / "MLmodel").read_text(encoding="utf-8"))["metadata"]
        return {"base_checkpoint": str(metadata["base_checkpoint"])}
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return {}


def _register(model: Path, name: str, tags: dict[str, str]) -> ModelVersion:
    """Register a model, or return the version that holds it with this verdict: a step run again adds none."""
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    client = connect()
    for known in client.models.list(name=name):
        said = known.tags or {}
        if all(said.get(tag) == tags[tag] for tag in (MODEL_DIGEST_TAG, VERDICT_TAG, VERDICT_DIGEST_TAG)):
            LOGGER.info("%s:%s holds this model and verdict already", known.name, known.version)
            if said != tags:
                known.tags = tags
                client.models.create_or_update(known)
            return ModelVersion(known.name, str(known.version))
    registered = client.models.create_or_update(
        Model(path=str(model), type=AssetTypes.MLFLOW_MODEL, name=name, tags=tags)
    )
    return ModelVersion(registered.name, str(registered.version))


if __name__ == "__main__":
    run_stage(main)
