r"""Deploy: roll an exact registered model version out to an online endpoint, blue/green.

The version comes from the file that register wrote (--registration), or is named (--model_name and --model_version):
to promote it by a verdict that was approved (--verdict_sha256), or to go back to it (--purpose rollback).
A registration that says registered: false leaves the endpoint alone and ends well.

Example:
    python components/deploy/deploy.py --registration build/registration.json --endpoint_name customer-messages \
        --endpoint_definition endpoints/text-classifier --rollout build/rollout.json
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from finetune.errors import InputError
from finetune.evidence import model_sha256, verify_evidence
from finetune.stage import parse_arguments, run_stage
from finetune.workspace import check_endpoint_name, connect, download_model

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployArguments:
    """The command line of deploy."""

    endpoint_name: str = field(metadata={"help": "online endpoint; made when it is not there"})
    endpoint_definition: str = field(
        metadata={"help": "folder with endpoint.yml, deployment.yml, score.py, rollout.yml and smoke.jsonl"}
    )
    rollout: str = field(metadata={"help": "output file: rollout.json, the journal"})
    registration: str | None = field(default=None, metadata={"help": "registration.json that register wrote"})
    model_name: str | None = field(default=None, metadata={"help": "registered model, instead of --registration"})
    model_version: str | None = field(default=None, metadata={"help": "its exact version; 'latest' is not a version"})
    purpose: Literal["promote", "rollback"] = field(
        default="promote",
        metadata={"help": "promote: by a verdict that still holds; rollback: go back to a named version"},
    )
    verdict_sha256: str | None = field(
        default=None, metadata={"help": "digest of the verdict.json that was approved, to promote a named version"}
    )
    lock: Literal["respect", "take-over"] = field(
        default="respect",
        metadata={"help": "another rollout's lock on the endpoint; take-over: that rollout is known to be dead"},
    )


def main(argv: Sequence[str]) -> None:
    """Run deploy."""
    arguments = parse_arguments(DeployArguments, argv, __doc__)
    check_endpoint_name(arguments.endpoint_name)
    signal.signal(signal.SIGTERM, _end_once)
    from journal import Journal
    from target import choose_target

    target, reasons = choose_target(
        arguments.registration,
        arguments.model_name,
        arguments.model_version,
        arguments.purpose,
        arguments.verdict_sha256,
        datetime.now(UTC),
    )
    journal = Journal(Path(arguments.rollout), arguments.endpoint_name, str(target.model) if target else None)
    if target is None:
        LOGGER.info("nothing to roll out: %s", "; ".join(reasons))
        journal.finish("unchanged", ["not promoted", *reasons])
        return
    try:
        _deploy(target, arguments, journal)
    except BaseException as error:
        # Whatever ends it before its first change, a SIGTERM too, leaves the endpoint as it was. After that the
        # rollout itself records how it ended; a journal still in progress says that it could not.
        if not journal.touched:
            journal.finish("unchanged", [str(error) if isinstance(error, InputError) else repr(error)])
        raise


def _end_once(number: int, _frame: Any) -> None:
    """End by an exception, so that a terminated rollout is undone; what comes meanwhile must not end the undoing."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _deploy(target: Any, arguments: DeployArguments, journal: Any) -> None:
    from azure.ai.ml.exceptions import MlException
    from azure.core.exceptions import AzureError
    from rollout import roll_out

    try:
        client = connect()
        roll_out(client, _prepare(client, target, arguments, journal), journal)
    except (AzureError, MlException) as error:
        said = f"the rollout failed ({journal.state})" if journal.touched else "nothing was changed"
        raise InputError(f"{said}: {error}") from error


def _prepare(client: Any, target: Any, arguments: DeployArguments, journal: Any) -> Any:
    """Read and check all that a rollout takes; nothing is touched."""
    import yaml
    from azure.core.exceptions import ResourceNotFoundError
    from golden import read_golden_requests
    from policy import POLICY_FILE, read_rollout_policy
    from request import NO_JOB, RolloutRequest
    from smoke import read_own_example
    from target import PROMOTE, check_champion, check_registered, complete_by_tags

    definition = Path(arguments.endpoint_definition)
    policy = read_rollout_policy(definition / POLICY_FILE)
    golden = read_golden_requests(definition, target.model.name)
    try:
        registered = client.models.get(target.model.name, version=target.model.version)
    except ResourceNotFoundError:
        raise InputError(f"{target.model}: no such model version in the workspace") from None
    tags = dict(registered.tags or {})
    with tempfile.TemporaryDirectory() as temporary:
        folder = download_model(client, target.model, Path(temporary))
        check_registered(tags, target, model_sha256(folder))
        if target.purpose == PROMOTE:
            verify_evidence(target.model, folder, tags, datetime.now(UTC))
        labels = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["metadata"]["labels"]
        example = read_own_example(folder, labels)
    target = complete_by_tags(target, tags, datetime.now(UTC))
    journal.begin(purpose=target.purpose, golden_requests=len(golden))
    return RolloutRequest(
        target.model,
        arguments.endpoint_name,
        definition,
        example,
        golden,
        policy,
        os.environ.get("AZUREML_RUN_ID", NO_JOB),
        arguments.lock == "take-over",
        lambda serving: check_champion(target, serving, arguments.endpoint_name),
    )


if __name__ == "__main__":
    run_stage(main)
