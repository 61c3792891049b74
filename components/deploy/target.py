"""Which version is rolled out, and whether it may be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from finetune.errors import InputError
from finetune.registration import (
    CHAMPION_TAG,
    MODEL_DIGEST_TAG,
    NO_CHAMPION,
    PROMOTED,
    VALID_UNTIL_TAG,
    VERDICT_DIGEST_TAG,
    VERDICT_TAG,
    read_registration,
)
from finetune.verdict import check_valid
from finetune.workspace import ModelVersion

Purpose = Literal["promote", "rollback"]
PROMOTE: Purpose = "promote"
ROLLBACK: Purpose = "rollback"
NOT_STATED = "none"
"""What a pipeline passes for an input that it does not use: it cannot pass nothing."""


@dataclass(frozen=True)
class Target:
    """The version to roll out, and what it and its verdict have to be, where known beforehand."""

    model: ModelVersion
    purpose: Purpose = PROMOTE
    model_sha256: str | None = None
    verdict_sha256: str | None = None
    valid_until: str | None = None
    champion: str | None = None
    """To promote: what the verdict compared it with, "<model>:<version>"; None when there was nothing."""


def choose_target(
    registration: str | None,
    model_name: str | None,
    model_version: str | None,
    purpose: Purpose,
    verdict_sha256: str | None,
    now: datetime,
) -> tuple[Target | None, tuple[str, ...]]:
    """Return what to roll out, or None and the reasons why nothing is.

    Args:
        registration: the file that register wrote; its version is promoted.
        model_name: a registered model, instead.
        model_version: its exact version.
        purpose: promote what a verdict says is better than what serves, or roll back to what once was.
        verdict_sha256: digest of the verdict.json that was approved; a named version is promoted by it alone.
        now: the time, with a time zone.

    Raises:
        InputError: neither or both ways of naming a version are used, the version is not exact, what belongs to the
            purpose is missing or does not belong to it, or the registration's verdict is too old.
    """
    approved = None if verdict_sha256 == NOT_STATED else verdict_sha256
    if registration is not None and (model_name is not None or model_version is not None):
        raise InputError("--registration and --model_name/--model_version are given; expected one of the two ways")
    if registration is not None:
        if purpose != PROMOTE or approved is not None:
            raise InputError(
                "--registration promotes the version that it names, by the verdict that it names; --purpose rollback "
                "and --verdict_sha256 belong to --model_name and --model_version"
            )
        found = read_registration(Path(registration))
        if found.model is None:
            return None, found.reasons
        check_valid(Path(registration), found.valid_until, now)
        target = Target(
            found.model, PROMOTE, found.model_sha256, found.verdict_sha256, found.valid_until, found.champion
        )
    elif model_name is not None and model_version is not None:
        if purpose == PROMOTE and approved is None:
            raise InputError(
                f"--purpose promote of {model_name}:{model_version} needs --verdict_sha256, the digest of the "
                f"verdict.json that was approved (the version's tag {VERDICT_DIGEST_TAG}); to go back to a version "
                "whatever serves now, give --purpose rollback"
            )
        target = Target(ModelVersion(model_name, model_version), purpose, verdict_sha256=approved)
    else:
        raise InputError("expected --registration, or --model_name with --model_version")
    if not target.model.version.isdecimal():
        raise InputError(f"{target.model.name}, version {target.model.version!r}: expected an exact version number")
    return target, ()


def check_registered(tags: Mapping[str, str], target: Target, content_sha256: str) -> None:
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
    if not tags.get(VERDICT_DIGEST_TAG):
        raise InputError(f"{target.model}: it has no tag {VERDICT_DIGEST_TAG}: no verdict is known to have promoted it")
    if target.verdict_sha256 not in (None, tags.get(VERDICT_DIGEST_TAG)):
        raise InputError(
            f"{target.model}: the verdict that was approved is {target.verdict_sha256}; "
            f"the version was registered with {tags.get(VERDICT_DIGEST_TAG)}"
        )
    if target.valid_until not in (None, tags.get(VALID_UNTIL_TAG)):
        raise InputError(
            f"{target.model}: the registration's verdict is valid until {target.valid_until}; "
            f"the version was registered with {tags.get(VALID_UNTIL_TAG)}"
        )
    # A registration, which alone brings a date, says what the verdict compared with; so does the tag.
    compared = target.champion or NO_CHAMPION
    if target.valid_until is not None and compared != tags.get(CHAMPION_TAG):
        raise InputError(
            f"{target.model}: by the registration its verdict compared it with {compared}; "
            f"the version was registered with {tags.get(CHAMPION_TAG)}"
        )


def complete_by_tags(target: Target, tags: Mapping[str, str], now: datetime) -> Target:
    """Take over what a named version's verdict said from its tags, to promote it by the same rules.

    Args:
        target: as chosen.
        tags: the registered version's.
        now: the time, with a time zone.

    Raises:
        InputError: the version's verdict is too old, or the tags do not say what it was compared with.
    """
    if target.purpose == ROLLBACK or target.valid_until is not None:
        return target
    check_valid(f"{target.model}: tag {VALID_UNTIL_TAG}", tags.get(VALID_UNTIL_TAG), now)
    champion = tags.get(CHAMPION_TAG)
    if not champion:
        raise InputError(f"{target.model}: it has no tag {CHAMPION_TAG}; expected what its verdict compared it with")
    return replace(target, champion=None if champion == NO_CHAMPION else champion)


def check_champion(target: Target, serving: ModelVersion | None, endpoint_name: str) -> None:
    """Check, to promote, that the model that serves now is the one the verdict compared with, or the target itself.

    Raises:
        InputError: another model took over since, or the verdict never looked at this endpoint.
    """
    now = None if serving is None else str(serving)
    if target.purpose == PROMOTE and now not in (target.champion, str(target.model)):
        raise InputError(
            f"{target.model} was compared with {target.champion or 'no champion'}, and {now or 'no model'} serves at "
            f"{endpoint_name} now; evaluate the model again"
        )
