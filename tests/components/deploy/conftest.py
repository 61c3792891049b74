"""A rollout against the workspace in memory."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rollout_support import LABELS, FakeWorkspace

from amlocal.testing import client_environment, ml_client, workspace
from finetune.workspace import ModelVersion

__all__ = ["client_environment", "ml_client", "workspace"]

ROOT = Path(__file__).parents[3]
DEFINITION = ROOT / "endpoints" / "text-classifier"
POLICY = {
    "mirror_percent": 20,
    "mirror_seconds": 10.0,
    "canary_percents": (10, 50, 100),
    "canary_seconds": 10.0,
    "hold_seconds": 10.0,
    "probes": 4,
    "maximum_error_rate": 0.0,
    "maximum_p95_ms": 1000.0,
    "maximum_p95_ratio": 2.0,
    "p95_slack_ms": 5.0,
    "minimum_agreement": 0.5,
    "agreement_tolerance": 0.5,
    "agreement_minimum_rows": 1,
    "maximum_tracebacks": 0,
    "lock_minutes": 60.0,
}


@pytest.fixture(autouse=True)
def _deploy_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the component's modules as its snapshot does: its own folder first on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "components" / "deploy"))


@pytest.fixture
def deploy() -> Any:
    """The component's modules by name."""
    folder = ROOT / "components" / "deploy"
    names = [path.stem for path in folder.glob("*.py") if path.stem != "deploy"]
    modules = {name: __import__(name) for name in names}
    assert all(Path(module.__file__).parent == folder for module in modules.values())
    return SimpleNamespace(**modules)


@pytest.fixture
def policy(deploy: Any) -> Callable[..., Any]:
    """Make a policy with some values changed."""
    return lambda **change: deploy.policy.RolloutPolicy(**{**POLICY, **change})


@pytest.fixture
def roll_out(deploy: Any, policy: Any, tmp_path: Path) -> Callable[..., dict]:
    """Roll m:2 out in a workspace in memory; returns the journal, whatever happened is raised."""

    def run(workspace: FakeWorkspace, model: str = "m:2", **change: Any) -> dict:
        example = deploy.smoke.OwnExample(
            [{"text": "t"}], [{"label": "a", "score": 0.9, "probabilities": [0.9, 0.1]}], list(LABELS)
        )
        options = {
            name: change.pop(name) for name in ("job", "take_over", "check_incumbent", "golden") if name in change
        }
        request = deploy.request.RolloutRequest(
            ModelVersion(*model.split(":")),
            "messages",
            change.pop("definition", DEFINITION),
            example,
            options.pop("golden", ()),
            policy(**change),
            **options,
        )
        journal = deploy.journal.Journal(tmp_path / "rollout.json", "messages", model)
        world = deploy.request.World(workspace.send, workspace.clock.sleep, workspace.clock.now)
        deploy.rollout.roll_out(workspace.client, request, journal, world)
        return run.journal()

    run.journal = lambda: json.loads((tmp_path / "rollout.json").read_text())
    return run
