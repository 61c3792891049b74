from pathlib import Path

import pytest

from finetune import checkpoints
from finetune.checkpoints import EMBEDDED_NAME, resolve_checkpoint
from finetune.errors import InputError


def test_a_folder_is_taken_as_it_is(tiny_checkpoint: Path) -> None:
    assert resolve_checkpoint(str(tiny_checkpoint)).folder == tiny_checkpoint


def test_the_embedded_checkpoint_needs_no_network() -> None:
    checkpoint = resolve_checkpoint(EMBEDDED_NAME)
    assert (checkpoint.folder / "model.safetensors").is_file()


def test_an_embedded_checkpoint_with_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(InputError, match="expected 0000"):
        resolve_checkpoint(EMBEDDED_NAME)


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve_checkpoint(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "../no/such/folder"])
def test_neither_folder_nor_reachable_hub_id_is_one_clear_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=f"--checkpoint {name}: no such folder.*expected a folder, or the id"):
        resolve_checkpoint(name)
