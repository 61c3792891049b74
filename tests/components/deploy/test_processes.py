"""Real processes of the deploy component against the workspace on loopback: killed at random, and two at once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from azure.ai.ml import MLClient
from azure.core.exceptions import ResourceNotFoundError

from amlocal.workspace.connection import WorkspaceConnection

ROOT = Path(__file__).parents[3]
KILLS = 3
SECONDS = 400.0
"""Of patience: a busy machine takes a minute to load the client."""
ENDPOINT = "soak"


@dataclass
class Site:
    """Models of the soak, and the processes that roll them out."""

    soak: ModuleType
    client: MLClient
    folder: Path
    definition: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def register(self, version: int, champion: str | None) -> Path:
        """Register a good model; returns what register would hand to deploy."""
        folder = self.folder / str(version)
        candidate = self.soak.register(self.client, folder / "model", version, self.soak.GOOD, champion, 1000.0)
        self.soak.write_registration(folder / "registration.json", self.soak.registration_of(candidate, champion))
        return folder

    def start(self, folder: Path, name: str, job: str) -> "Rollout":
        """Start a rollout as a step of a job does."""
        journal, log = folder / f"{name}.json", folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, ROOT / "components" / "deploy" / "deploy.py", "--endpoint_name", ENDPOINT),
                    *("--registration", folder / "registration.json", "--rollout", journal),
                    *("--endpoint_definition", self.definition),
                ],
                stdout=output,
                stderr=output,
                env=os.environ | {"AZUREML_RUN_ID": job},
            )
        self.processes.append(process)
        return Rollout(process, journal, log)

    def traffic(self) -> dict[str, int]:
        """Return the traffic, all of it on healthy deployments; none before the first version serves."""
        try:
            traffic = self.client.online_endpoints.get(ENDPOINT).traffic
        except ResourceNotFoundError:
            return {}
        shares = {name: share for name, share in traffic.items() if share}
        states = {each.name: each.provisioning_state for each in self.client.online_deployments.list(ENDPOINT)}
        assert all(str(getattr(states[name], "value", states[name])) == "Succeeded" for name in shares), (
            shares,
            states,
        )
        return shares

    def serving(self) -> str:
        """Return the model that serves alone."""
        (name,) = self.traffic()
        (only,) = self.client.online_deployments.list(ENDPOINT)
        assert only.name == name
        return str(only.model).split("/")[-1]


@dataclass
class Rollout:
    """A process of deploy."""

    process: subprocess.Popen[bytes]
    path: Path
    log: Path

    def journal(self) -> dict[str, Any]:
        """Read the journal; empty before there is one."""
        return json.loads(self.path.read_text()) if self.path.is_file() else {"steps": [], "state": None}

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for the journal to say something, or for the process to end."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and not condition(self.journal()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(SECONDS)


@pytest.fixture
def site(
    client_environment: WorkspaceConnection, ml_client: MLClient, tmp_path: Path, monkeypatch: Any
) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import soak

    definition = tmp_path / "definition"
    definition.mkdir()
    for path in soak.DEFINITION.iterdir():
        if path.is_file():
            (definition / path.name).write_bytes(path.read_bytes())
    policy = yaml.safe_load((definition / "rollout.yml").read_text())
    quick = {"mirror_seconds": 0.2, "canary_seconds": 0.2, "hold_seconds": 0.2, "probes": 2, "maximum_p95_ms": 20000}
    (definition / "rollout.yml").write_text(yaml.safe_dump(policy | quick | {"p95_slack_ms": 15000}))
    found = Site(soak, ml_client, tmp_path, definition)
    try:
        yield found
    finally:
        for process in found.processes:
            process.kill()
            process.wait()
        if ENDPOINT in [each.name for each in ml_client.online_endpoints.list()]:
            ml_client.online_endpoints.begin_delete(ENDPOINT).result()
        for name in ("soak", "traffic_windows"):
            sys.modules.pop(name, None)


def test_processes_killed_at_random_and_two_at_once(site: Site) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)  # shown when the test fails
    dice = random.Random(seed)
    first = site.start(site.register(1, None), "first", "job-1")
    assert first.end() == 0, first.log.read_text()
    assert site.serving() == "1"

    # Killed after a random step, and some time into the next one; a run of the same job converges.
    champion = 1
    for number, steps in enumerate(sorted(dice.sample(range(1, 9), KILLS))):
        version = number + 2
        folder, pause = site.register(version, f"soak:{champion}"), dice.random() * 0.3
        killed = site.start(folder, "killed", f"job-{version}")
        killed.until(lambda journal, steps=steps: len(journal["steps"]) >= steps)
        time.sleep(pause)
        killed.process.kill()
        killed.end()
        where = f"killed after step {steps} and {pause:.2f} s: {killed.journal()}"
        assert sum(site.traffic().values()) == 100, where
        again = site.start(folder, "again", f"job-{version}")
        assert again.end() == 0, f"{where}\n{again.log.read_text()}"
        assert again.journal()["state"] in ("live", "unchanged"), where
        assert sum(site.traffic().values()) == 100
        assert site.serving() == str(version), where
        champion = version

    # While one rolls out, another one is refused and changes nothing.
    mine, other = (site.register(version, f"soak:{champion}") for version in (champion + 1, champion + 2))
    winner = site.start(mine, "winner", "job-a")
    winner.until(lambda journal: len(journal["steps"]) >= 1)
    winner.process.send_signal(signal.SIGSTOP)  # it holds the lock for as long as the other one takes to load
    try:
        loser = site.start(other, "loser", "job-b")
        assert loser.end() == 1
    finally:
        winner.process.send_signal(signal.SIGCONT)
    assert "another rollout has it (job job-a" in loser.log.read_text()
    assert (loser.journal()["state"], loser.journal()["steps"]) == ("unchanged", [])
    assert winner.end() == 0, winner.log.read_text()
    assert winner.journal()["state"] == "live"
    assert site.serving() == str(champion + 1)
