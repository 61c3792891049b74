"""Which version deploy takes, and which it refuses."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import load_component

from finetune.errors import InputError
from finetune.registration import Registration, write_registration
from finetune.workspace import ModelVersion

DEFINITION = Path(__file__).parents[3] / "endpoints" / "text-classifier"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
NEW = ModelVersion("m", "2")
TAGS = {
    "verdict": "promoted",
    "model_sha256": "x",
    "verdict_sha256": "v",
    "verdict_valid_until": "2026-12-01T00:00:00+00:00",
    "champion": "m:1",
}


def choose(deploy: Any, **given: Any) -> Any:
    known = {"registration": None, "model_name": None, "model_version": None, "purpose": "promote"}
    return deploy.target.choose_target(**{**known, "verdict_sha256": None, "now": NOW, **given})


def registered(path: Path, valid_until: str = "2026-12-01T00:00:00+00:00") -> str:
    write_registration(path, Registration(True, (), ModelVersion("m", "10"), "abc", "verdict", valid_until, "m:9", {}))
    return str(path)


def test_the_version_comes_from_the_registration(deploy: Any, tmp_path: Path) -> None:
    target, _ = choose(deploy, registration=registered(tmp_path / "r.json"))
    assert (str(target.model), target.model_sha256, target.verdict_sha256) == ("m:10", "abc", "verdict")
    assert (target.purpose, target.champion) == ("promote", "m:9")


def test_a_registration_whose_verdict_has_expired_is_refused(deploy: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the verdict was valid until 2026-01-01"):
        choose(deploy, registration=registered(tmp_path / "r.json", "2026-01-01T00:00:00+00:00"))


def test_what_was_not_registered_leaves_the_endpoint_alone(tmp_path: Path) -> None:
    write_registration(tmp_path / "r.json", Registration(False, ("too weak",)))
    load_component("deploy").main(
        [
            *("--registration", str(tmp_path / "r.json"), "--endpoint_name", "messages"),
            *("--endpoint_definition", str(DEFINITION), "--rollout", str(tmp_path / "rollout.json")),
        ]
    )
    journal = json.loads((tmp_path / "rollout.json").read_text())
    assert (journal["state"], journal["reasons"]) == ("unchanged", ["not promoted", "too weak"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "expected --registration, or --model_name with --model_version"),
        ({"model_name": "m"}, "expected --registration, or"),
        (
            {"model_name": "m", "model_version": "latest", "purpose": "rollback"},
            "m, version 'latest': expected an exact version number",
        ),
        ({"model_name": "m", "model_version": "1", "registration": "r.json"}, "expected one of the two ways"),
        ({"registration": "no-such-file.json"}, "no such file; expected the file that register writes"),
        ({"registration": "r.json", "purpose": "rollback"}, "--registration promotes the version that it names"),
        ({"registration": "r.json", "verdict_sha256": "v"}, "--registration promotes the version that it names"),
        ({"model_name": "m", "model_version": "1"}, "--purpose promote of m:1 needs --verdict_sha256"),
        ({"model_name": "m", "model_version": "1", "verdict_sha256": "none"}, "m:1 needs --verdict_sha256"),
    ],
)
def test_a_version_that_is_not_exact_or_not_approved_is_refused(deploy: Any, given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(deploy, **given)


@pytest.mark.parametrize(
    ("change", "content", "message"),
    [
        ({"verdict": None}, "x", "its tag verdict is None; only a model tagged 'promoted' is deployed"),
        ({}, "y", "the model digests disagree: tag x, content y, registration x"),
        ({"model_sha256": "y"}, "y", "the model digests disagree"),
        ({"model_sha256": None}, "x", "the model digests disagree"),
        ({"verdict_sha256": None}, "x", "it has no tag verdict_sha256: no verdict is known to have promoted it"),
        ({"verdict_sha256": "w"}, "x", "the verdict that was approved is v; the version was registered with w"),
        ({"verdict_valid_until": "2099"}, "x", "is valid until 2026-12-.*; the version was registered with 2099"),
        ({"champion": "m:9"}, "x", "verdict compared it with m:1; the version was registered with m:9"),
        ({"champion": "none"}, "x", "verdict compared it with m:1; the version was registered with none"),
        ({"champion": None}, "x", "verdict compared it with m:1; the version was registered with None"),
    ],
)
def test_only_the_promoted_model_itself_is_deployed(deploy: Any, change: dict, content: str, message: str) -> None:
    target = deploy.target.Target(NEW, "promote", "x", "v", TAGS["verdict_valid_until"], "m:1")
    deploy.target.check_registered(TAGS, target, "x")
    tags = {name: value for name, value in {**TAGS, **change}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        deploy.target.check_registered(tags, target, content)


def test_a_registration_without_a_champion_is_that_of_a_version_without_one(deploy: Any) -> None:
    target = deploy.target.Target(NEW, "promote", "x", "v", TAGS["verdict_valid_until"])
    deploy.target.check_registered({**TAGS, "champion": "none"}, target, "x")
    with pytest.raises(InputError, match="verdict compared it with none; the version was registered with m:1"):
        deploy.target.check_registered(TAGS, target, "x")


def test_a_version_to_go_back_to_is_held_to_its_tags_alone(deploy: Any) -> None:
    target, _ = choose(deploy, model_name="m", model_version="2", purpose="rollback", verdict_sha256="none")
    old = {**TAGS, "verdict_valid_until": "2020-01-01T00:00:00+00:00", "champion": "m:0"}
    deploy.target.check_registered(old, target, "x")
    target = deploy.target.complete_by_tags(target, old, NOW)
    deploy.target.check_champion(target, ModelVersion("m", "9"), "messages")
    deploy.target.check_champion(target, None, "messages")
    for wrong in ({**old, "verdict": "rejected"}, {**old, "model_sha256": "y"}, {"verdict": "promoted"}):
        with pytest.raises(InputError):
            deploy.target.check_registered(wrong, target, "x")


def test_a_named_version_is_promoted_by_the_rules_of_a_registered_one(deploy: Any) -> None:
    target, _ = choose(deploy, model_name="m", model_version="2", verdict_sha256="v")
    deploy.target.check_registered(TAGS, target, "x")
    with pytest.raises(InputError, match="the verdict that was approved is v; the version was registered with w"):
        deploy.target.check_registered({**TAGS, "verdict_sha256": "w"}, target, "x")
    complete = deploy.target.complete_by_tags(target, TAGS, NOW)
    deploy.target.check_champion(complete, ModelVersion("m", "1"), "messages")
    with pytest.raises(InputError, match="was compared with m:1, and m:8 serves"):
        deploy.target.check_champion(complete, ModelVersion("m", "8"), "messages")
    nothing = deploy.target.complete_by_tags(target, {**TAGS, "champion": "none"}, NOW)
    deploy.target.check_champion(nothing, None, "messages")
    with pytest.raises(InputError, match="m:2: tag verdict_valid_until: the verdict was valid until 2026-01-01"):
        deploy.target.complete_by_tags(target, {**TAGS, "verdict_valid_until": "2026-01-01T00:00:00+00:00"}, NOW)
    without = {name: value for name, value in TAGS.items() if name != "champion"}
    with pytest.raises(InputError, match="it has no tag champion"):
        deploy.target.complete_by_tags(target, without, NOW)


@pytest.mark.parametrize(
    ("champion", "serving", "message"),
    [
        (
            "m:1",
            ModelVersion("m", "3"),
            "was compared with m:1, and m:3 serves at messages now; evaluate the model again",
        ),
        ("m:9", ModelVersion("m", "10"), "was compared with m:9, and m:10 serves at messages now"),
        ("m:10", ModelVersion("m", "9"), "was compared with m:10, and m:9 serves at messages now"),
        (None, ModelVersion("m", "3"), "was compared with no champion, and m:3 serves at messages now"),
        ("m:1", None, "was compared with m:1, and no model serves at messages now"),
    ],
)
def test_a_verdict_that_compared_with_another_champion_is_not_acted_upon(
    deploy: Any, champion: str | None, serving: ModelVersion | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        deploy.target.check_champion(deploy.target.Target(NEW, champion=champion), serving, "messages")


def test_the_champion_compared_with_and_the_target_itself_go_on(deploy: Any) -> None:
    check, target = deploy.target.check_champion, deploy.target.Target(NEW, "promote", "x", champion="m:1")
    check(target, ModelVersion("m", "1"), "messages")
    check(target, NEW, "messages")
    check(deploy.target.Target(NEW), None, "messages")
