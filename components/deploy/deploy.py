r"""Deploy: roll an exact registered model version out to an online endpoint, blue/green.

The version comes from the file that register wrote (--registration), or is named (--model_name and --model_version).
A registration that says registered: false leaves the endpoint alone and ends well.

Example:
    python components/deploy/deploy.py --registration build/registration.json --endpoint_name customer-messages \
        --endpoint_definition endpoints/text-classifier --rollout build/rollout.json
"""

import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.errors import InputError
from finetune.files import folder_sha256
from finetune.registration import (
    MODEL_DIGEST_TAG,
    PROMOTED,
    VALID_UNTIL_TAG,
    VERDICT_DIGEST_TAG,
    VERDICT_TAG,
    read_registration,
)
from finetune.stage import parse_arguments, run_stage
from finetune.verdict import check_valid
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, serving_model

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployArguments:
    """The command line of deploy."""

    endpoint_name: str = field(metadata={"help": "online endpoint; made when it is not there"})
    endpoint_definition: str = field(metadata={"help": "folder with endpoint.yml, deployment.yml and score.py"})
    rollout: str = field(metadata={"help": "output file: rollout.json, the journal"})
    registration: str | None = field(default=None, metadata={"help": "registration.json that register wrote"})
    model_name: str | None = field(default=None, metadata={"help": "registered model, instead of --registration"})
    model_version: str | None = field(default=None, metadata={"help": "its exact version; 'latest' is not a version"})


@dataclass(frozen=True)
class Target:
    """The version to roll out, and the digests it and its verdict have to have, where known beforehand."""

    model: ModelVersion
    model_sha256: str | None = None
    verdict_sha256: str | None = None
    valid_until: str | None = None
    compared: bool = False
    """A registration names it, so that it was compared with `champion`; a person may name any version."""
    champion: str | None = None


def main(argv: Sequence[str]) -> None:
    """Run deploy."""
    arguments = parse_arguments(DeployArguments, argv, __doc__)
    check_endpoint_name(arguments.endpoint_name)
    signal.signal(signal.SIGTERM, _end_once)
    from journal import Journal

    target, reasons = choose_target(arguments)
    journal = Journal(Path(arguments.rollout), arguments.endpoint_name, str(target.model) if target else None)
    if target is None:
        LOGGER.info("nothing to roll out: %s", "; ".join(reasons))
        journal.finish("unchanged", ["not promoted", *reasons])
        return
    try:
        _deploy(target, arguments, journal)
    except InputError as error:
        if journal.state == "in progress":
            journal.finish("unchanged", [str(error)])
        raise


def _end_once(number: int, _frame: Any) -> None:
    """End by an exception, so that a terminated rollout is undone; what comes meanwhile must not end the undoing."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def choose_target(arguments: DeployArguments) -> tuple[Target | None, tuple[str, ...]]:
    """Return what to roll out, or None and the reasons why nothing is.

    Raises:
        InputError: neither or both ways of naming a version are used, the version is not exact, or the registration's
            verdict is too old. A version that a person names has no age: going back to an old one must be possible.
    """
    named = (arguments.model_name, arguments.model_version)
    if arguments.registration is not None and any(named):
        raise InputError("--registration and --model_name/--model_version are given; expected one of the two ways")
    if arguments.registration is not None:
        registration = read_registration(Path(arguments.registration))
        if registration.model is None:
            return None, registration.reasons
        check_valid(Path(arguments.registration), registration.valid_until, datetime.now(UTC))
        target = Target(
            registration.model,
            registration.model_sha256,
            registration.verdict_sha256,
            registration.valid_until,
            compared=True,
            champion=registration.champion,
        )
    elif arguments.model_name is not None and arguments.model_version is not None:
        target = Target(ModelVersion(arguments.model_name, arguments.model_version))
    else:
        raise InputError("expected --registration, or --model_name with --model_version")
    if not target.model.version.isdecimal():
        raise InputError(f"{target.model.name}, version {target.model.version!r}: expected an exact version number")
    return target, ()


def check_registered(tags: dict[str, str], target: Target, content_sha256: str) -> None:
    """Check that the registered version was promoted and is, byte for byte, the model the verdict was about.

    Raises:
        InputError: it was not, or the digests of registration, tag and content disagree.
    """
    if tags.get(VERDICT_TAG) != PROMOTED:
        found = tags.get(VERDICT_TAG)
        raise InputError(
            f"{target.model}: its tag {VERDICT_TAG} is {found!r}; only a model tagged {PROMOTED!r} is deployed"
        )
    digests = {"tag": tags.get(MODEL_DIGEST_TAG), "content": content_sha256}
    if target.model_sha256 is not None:
        digests["registration"] = target.model_sha256
    if len(set(digests.values())) != 1:
        said = ", ".join(f"{source} {digest}" for source, digest in digests.items())
        raise InputError(f"{target.model}: the model digests disagree: {said}")
    if target.verdict_sha256 not in (None, tags.get(VERDICT_DIGEST_TAG)):
        raise InputError(
            f"{target.model}: the registration's verdict is {target.verdict_sha256}; "
            f"the version was registered with {tags.get(VERDICT_DIGEST_TAG)}"
        )
    if target.valid_until not in (None, tags.get(VALID_UNTIL_TAG)):
        raise InputError(
            f"{target.model}: the registration's verdict is valid until {target.valid_until}; "
            f"the version was registered with {tags.get(VALID_UNTIL_TAG)}"
        )


def check_champion(target: Target, serving: ModelVersion | None, endpoint_name: str) -> None:
    """Check that the model that serves now is the one the verdict compared with, or the target itself.

    Raises:
        InputError: another model took over since, or the verdict never looked at this endpoint.
    """
    now = None if serving is None else str(serving)
    if target.compared and now not in (target.champion, str(target.model)):
        raise InputError(
            f"{target.model} was compared with {target.champion or 'no champion'}, and {now or 'no model'} serves at "
            f"{endpoint_name} now; evaluate the model again"
        )


def _deploy(target: Target, arguments: DeployArguments, journal: Any) -> None:
    import yaml
    from azure.core.exceptions import AzureError, ResourceNotFoundError
    from rollout import RolloutRequest, roll_out
    from smoke import read_golden_request

    client = connect()
    definition = Path(arguments.endpoint_definition)
    for name in ("endpoint.yml", "deployment.yml"):
        if not (definition / name).is_file():
            raise InputError(f"{definition / name}: no such file; expected the endpoint's definition")
    try:
        registered = client.models.get(target.model.name, version=target.model.version)
    except ResourceNotFoundError:
        raise InputError(f"{target.model}: no such model version in the workspace") from None
    with tempfile.TemporaryDirectory() as temporary:
        folder = download_model(client, target.model, Path(temporary))
        check_registered(dict(registered.tags or {}), target, folder_sha256(folder))
        labels = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["metadata"]["labels"]
        golden = read_golden_request(folder, labels)
    check_champion(target, serving_model(client, arguments.endpoint_name), arguments.endpoint_name)
    # Until here nothing was touched; from here on the rollout undoes what it did.
    try:
        roll_out(client, RolloutRequest(target.model, arguments.endpoint_name, definition, golden), journal)
    except AzureError as error:
        raise InputError(f"the rollout failed ({journal.state}): {error}") from error


if __name__ == "__main__":
    run_stage(main)
