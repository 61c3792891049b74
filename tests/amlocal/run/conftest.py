"""A workspace without a daemon: runs in memory, metrics in files that any shell command can write."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amlocal.run.create import Request, create_job
from amlocal.run.records import JobRecord


@dataclass
class Run:
    experiment: str
    name: str
    parent: str | None
    tags: dict[str, str]
    status: str = "RUNNING"


@dataclass
class FileBackend:
    """A metric is the file ``$METRICS/<run id>.<metric>`` with a value per line."""

    metrics: Path
    runs: dict[str, Run] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ids: itertools.count = field(default_factory=itertools.count)

    def connect(self) -> tuple[FileBackend, Mapping[str, str]]:
        self.metrics.mkdir(parents=True, exist_ok=True)
        return self, {"METRICS": str(self.metrics)}

    def experiment(self, name: str) -> str:
        return f"experiment-{name}"

    def start_run(self, experiment: str, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        with self.lock:
            run_id = f"run{next(self.ids)}"
            self.runs[run_id] = Run(experiment, name, parent, dict(tags))
        return run_id

    def end_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        self.runs[run_id].status = status
        self.runs[run_id].tags.update(tags)

    def open_runs(self, experiment: str, job: str) -> tuple[str, ...]:
        return tuple(
            run_id
            for run_id, run in self.runs.items()
            if (run.experiment, run.tags.get("amlocal.job"), run.status) == (experiment, job, "RUNNING")
        )

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        path = self.metrics / f"{run_id}.{metric}"
        return tuple(float(line) for line in path.read_text().split()) if path.exists() else ()

    def log_text(self, run_id: str, name: str, text: str) -> None:
        (self.metrics / f"{run_id}-{name}").write_text(text)

    def metrics_of(self, run_id: str) -> tuple[str, ...]:
        return tuple(path.suffix[1:] for path in self.metrics.glob(f"{run_id}.*"))


@dataclass
class Machine:
    """Runs jobs in one home."""

    home: Path
    backend: FileBackend

    def create(self, file: Path, *overrides: str, **options: object) -> JobRecord:
        record, code = self.run(file, *overrides, **options)
        assert code == (0 if record.status == "Completed" else 1)
        return record

    def run(self, file: Path, *overrides: str, **options: object) -> tuple[JobRecord, int]:
        request = Request(file, self.home, overrides, poll_seconds=0.05, **options)
        return create_job(request, self.backend)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    backend = FileBackend(tmp_path / "metrics")
    return Machine(tmp_path / "home", backend)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the test's folder and give its path."""

    def writer(name: str, text: str) -> Path:
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return writer
