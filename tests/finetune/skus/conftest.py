"""Made-up records of training runs, as train writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.files import write_json
from finetune.skus.listing import Compute, ListedRun
from finetune.skus.measured import Run, read_runs

MakeRecord = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Run]


@pytest.fixture
def make_record() -> MakeRecord:
    """Return a maker of training.json: 100 steps of 32 rows, 20 rows a second, 200 seconds in all."""

    def record(**changes: Any) -> dict[str, Any]:
        value: dict[str, Any] = {
            "checkpoint": "all-MiniLM",
            "task": "text-classification",
            "mlflow_run": None,
            "arguments": {"learning_rate": 0.0001, "max_steps": 100, "seed": 42, "precision": "fp32"},
            "precision": {"name": "fp32", "reason": "as requested"},
            "settings": {
                "attention": {"value": "sdpa", "reason": "no GPU"},
                "global_batch": {"value": "32", "reason": "32 rows × 1 rounds × 1 processes"},
                "threads": {"value": "1", "reason": "as torch finds"},
            },
            "steps": 100,
            "resumed_after_steps": [],
            "processes": 1,
            "rows": {"train": 1000, "trained": 3200},
            "samples_per_second": 20.0,
            "seconds": {"start": 8.0, "load": 2.0, "train": 180.0, "steps": 160.0, "save": 10.0},
            "data": {"train": "t" * 64, "validation": "v" * 64, "test": "e" * 64},
            "hardware": {"machine": "x86_64", "cores": 2, "torch_threads": 1, "memory_gib": 16.0, "gpus": []},
        }
        for name, change in changes.items():
            value[name] = {**value[name], **change} if isinstance(change, dict) else change
        return value

    return record


@pytest.fixture
def make_run(make_record: MakeRecord, tmp_path: Path) -> MakeRun:
    """Return a maker of runs: a compute's name, how its list entry and its record differ from the usual."""

    def run(name: str, listed: dict[str, Any] | None = None, repeat: int = 0, **changes: Any) -> Run:
        compute = Compute(**{"name": name, "compute": "azureml:cpu-cluster", **(listed or {})})
        changes.setdefault("processes", compute.processes)
        changes["arguments"] = {"seed": 42 + repeat, **changes.get("arguments", {})}
        folder = tmp_path / f"{name}-{repeat}"
        write_json(folder / "training.json", make_record(**changes))
        (found,) = read_runs([folder], [ListedRun(f"{name}_{repeat + 1}", compute, 42 + repeat)])
        return found

    return run
