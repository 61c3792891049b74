import json
from pathlib import Path

import pytest

from finetune.errors import InputError
from finetune.registration import Registration, read_registration, write_registration
from finetune.workspace import ModelVersion


@pytest.mark.parametrize(
    "registration",
    [
        Registration(False, ("too weak",)),
        Registration(
            True, ("good",), ModelVersion("m", "3"), "abc", "def", "2026-01-01T00:00:00+00:00", "m:2", {"job": "j"}
        ),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, registration: Registration) -> None:
    write_registration(tmp_path / "registration.json", registration)
    assert read_registration(tmp_path / "registration.json") == registration


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "registered is None"),
        ({"registered": "true"}, "registered is 'true'; expected true or false"),
        ({"registered": True, "model": {"name": "m"}, "model_sha256": "x"}, "without model name, version"),
        ({"registered": True, "model": {"name": "m", "version": "1"}}, "without model name, version, model_sha256"),
    ],
)
def test_a_registration_that_is_not_exact_is_refused(tmp_path: Path, value: dict, message: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        read_registration(tmp_path / "r.json")
