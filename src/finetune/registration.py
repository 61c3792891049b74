"""`registration.json`: what register hands to deploy, and the tags that a registered model carries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from finetune.errors import InputError
from finetune.files import read_json, write_json
from finetune.workspace import ModelVersion

MODEL_DIGEST_TAG = "model_sha256"
VERDICT_TAG = "verdict"
VERDICT_DIGEST_TAG = "verdict_sha256"
VALID_UNTIL_TAG = "verdict_valid_until"
PROMOTED = "promoted"
CHAMPION_TAG = "champion"
NO_CHAMPION = "none"
"""The champion's tag of a version that was compared with nothing."""


@dataclass(frozen=True)
class Registration:
    """The contents of `registration.json`."""

    registered: bool
    reasons: tuple[str, ...]
    model: ModelVersion | None = None
    model_sha256: str | None = None
    verdict_sha256: str | None = None
    """Digest of the verdict.json that promoted it."""
    valid_until: str | None = None
    """ISO 8601; after that the verdict is too old to deploy by."""
    champion: str | None = None
    """"<model>:<version>" that it was compared with; None when nothing served."""
    tags: Mapping[str, str] | None = None


def write_registration(path: Path, registration: Registration) -> None:
    """Write `registration.json`."""
    write_json(path, asdict(registration))


def read_registration(path: Path) -> Registration:
    """Read `registration.json`.

    Raises:
        InputError: it is missing, broken, or says "registered" without an exact model version and digest.
    """
    value = read_json(path, "the file that register writes")
    registered, model = value.get("registered"), value.get("model")
    if not isinstance(registered, bool):
        raise InputError(f"{path}: registered is {registered!r}; expected true or false")
    reasons = tuple(value.get("reasons", ()))
    if not registered:
        return Registration(False, reasons)
    stated = [value.get(key) for key in ("model_sha256", "verdict_sha256", "valid_until")]
    if not isinstance(model, dict) or not all([model.get("name"), model.get("version"), *stated]):
        raise InputError(
            f"{path}: registered, but without model name, version, model_sha256, verdict_sha256 and valid_until"
        )
    version = ModelVersion(model["name"], model["version"])
    digest, verdict, valid_until = stated
    return Registration(
        True, reasons, version, digest, verdict, valid_until, value.get("champion"), dict(value.get("tags") or {})
    )
