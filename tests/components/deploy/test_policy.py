"""What rollout.yml may say."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.errors import InputError

ROOT = Path(__file__).parents[3]
WHOLE = (ROOT / "endpoints" / "text-classifier" / "rollout.yml").read_text()


def write(tmp_path: Path, key: str, text: str) -> Path:
    """Write the project's policy with one key said otherwise; returns the file."""
    lines = [line for line in WHOLE.splitlines() if line and not line.startswith("#")]
    changed = [text if line.startswith(f"{key}:") else line for line in lines]
    path = tmp_path / "rollout.yml"
    path.write_text("\n".join(line for line in changed if line) + "\n")
    return path


def test_the_projects_policies_are_read(deploy: Any) -> None:
    paths = sorted([*ROOT.glob("endpoints/*/rollout.yml"), *ROOT.glob("benchmarks/*/rollout.yml")])
    assert paths
    for path in paths:
        found = deploy.policy.read_rollout_policy(path)
        expected = yaml.safe_load(path.read_text())
        assert {**dataclasses.asdict(found), "canary_percents": list(found.canary_percents)} == expected


def test_the_default_policy_takes_less_than_ten_seconds(deploy: Any) -> None:
    policy = deploy.policy.read_rollout_policy(ROOT / "endpoints" / "text-classifier" / "rollout.yml")
    waits = policy.mirror_seconds + len(policy.canary_percents) * policy.canary_seconds + policy.hold_seconds
    assert waits + deploy.rollout.LOCK_SETTLE_SECONDS < 10


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("probes", "", "probes is missing; a policy leaves nothing to a default"),
        ("probes", "probes: 20\nprobe: 20", r":7: probe is no key of a rollout's policy; expected agreement_"),
        ("probes", "probes: 20\nprobes: 30", r":7: probes is stated a second time, after line 6"),
        ("probes", "probes: 0", r":6: probes is 0; expected a whole number of at least 1 and at most 10000"),
        ("probes", "probes: true", ":6: probes is True"),
        ("probes", "probes: 2.5", ":6: probes is 2.5"),
        ("mirror_percent", "mirror_percent: 60", r":1: mirror_percent is 60; expected .* at most 50"),
        ("mirror_percent", "mirror_percent: -1", r":1: mirror_percent is -1"),
        ("hold_seconds", "hold_seconds: .nan", "hold_seconds is nan; expected a number of at least 0"),
        ("hold_seconds", "hold_seconds: soon", "hold_seconds is 'soon'"),
        ("hold_seconds", "hold_seconds: 2700", "less than half of lock_minutes"),
        ("maximum_error_rate", "maximum_error_rate: 1", "maximum_error_rate is 1; expected .* below 1"),
        ("minimum_agreement", "minimum_agreement: 1.5", "minimum_agreement is 1.5; expected .* at most 1"),
        ("maximum_p95_ratio", "maximum_p95_ratio: 0.5", "maximum_p95_ratio is 0.5; expected a number of at least 1"),
        ("canary_percents", "canary_percents: []", "canary_percents is .*; expected a list of rising whole numbers"),
        ("canary_percents", "canary_percents: [10, 50]", "the last of them 100"),
        ("canary_percents", "canary_percents: [50, 10, 100]", "expected a list of rising"),
        ("canary_percents", "canary_percents: [0, 100]", "expected a list of rising"),
        ("canary_percents", "canary_percents: 100", "expected a list of rising"),
        ("probes", "probes: [", "not YAML"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(
    deploy: Any, tmp_path: Path, key: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        deploy.policy.read_rollout_policy(write(tmp_path, key, text))
    assert str(tmp_path / "rollout.yml") in str(caught.value)


def test_a_file_that_is_not_there_or_no_mapping_is_said(deploy: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected the rollout's policy"):
        deploy.policy.read_rollout_policy(tmp_path / "rollout.yml")
    (tmp_path / "rollout.yml").write_text("- 1\n")
    with pytest.raises(InputError, match="expected a mapping"):
        deploy.policy.read_rollout_policy(tmp_path / "rollout.yml")
