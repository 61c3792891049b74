"""compare, from the command line to its artefacts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from support import load_component, track_in

from finetune.errors import InputError
from finetune.files import write_json

SCRIPT = Path(__file__).parents[2] / "components" / "compare" / "compare.py"
LIST = {
    "computes": [
        {"name": "slow", "compute": "azureml:cpu-cluster"},
        {"name": "fast", "compute": "azureml:cpu-cluster", "process_count_per_instance": 2},
    ]
}
PRICES = {"date": "2026-01-31", "currency": "EUR", "per_hour": {"x86_64, 4 cores": 0.36}}


def record(processes: int, rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": "all-MiniLM",
        "task": "text-classification",
        "mlflow_run": None,
        "arguments": {"seed": 42, "max_steps": 10},
        "precision": {"name": "bf16", "reason": "the CPU has avx512_bf16"},
        "settings": {"global_batch": {"value": "32", "reason": ""}, "attention": {"value": "sdpa", "reason": ""}},
        "steps": 10,
        "resumed_after_steps": [],
        "processes": processes,
        "rows": {"train": 640, "trained": 320},
        "samples_per_second": rate,
        "seconds": {"start": 10.0, "load": 10.0, "train": 320 / rate + 5, "steps": 320 / rate, "save": 5.0},
        "data": {"train": "t", "validation": "v", "test": "e"},
        "hardware": {"machine": "x86_64", "cores": 4, "torch_threads": 2, "memory_gib": 16.0, "gpus": []},
    } | changes


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A command line for two runs of 50 and 46 s; the list, the prices and the runs lie beside the output."""
    track_in(tmp_path)
    (tmp_path / "skus.yml").write_text(yaml.safe_dump(LIST))
    (tmp_path / "prices.yml").write_text(yaml.safe_dump(PRICES).replace("'2026-01-31'", "2026-01-31"))
    write_json(tmp_path / "a" / "training.json", record(1, 16.0))
    write_json(tmp_path / "b" / "training.json", record(2, 20.0))
    return [
        *("--skus", str(tmp_path / "skus.yml"), "--comparison", str(tmp_path / "comparison")),
        *("--runs", str(tmp_path / "a"), "--runs", str(tmp_path / "b")),
    ]


def compared(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "comparison" / "comparison.json").read_text())


def test_the_comparison_is_written_and_tracked(command: list[str], tmp_path: Path) -> None:
    load_component("compare").main([*command, "--prices", str(tmp_path / "prices.yml")])
    found = compared(tmp_path)
    assert found["recommendation"]["compute"] == "fast"
    assert [row["seconds"]["median"] for row in found["computes"]] == [50.0, 46.0]
    assert found["computes"][1]["cost"]["run"]["median"] == pytest.approx(0.36 * 46 / 3600)
    assert found["computes"][1]["scaling"] == {
        **{"base": "slow", "base_processes": 1, "speedup": 1.25, "efficiency": 0.625},
    }
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FINISHED"
    names = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "report")}
    assert names == {f"report/{name}" for name in ("comparison.html", "comparison.json", "comparison.md", "pareto.svg")}


def test_the_limit_of_time_counts(command: list[str], tmp_path: Path) -> None:
    load_component("compare").main([*command, "--prices", str(tmp_path / "prices.yml"), "--max_minutes", "0.5"])
    assert compared(tmp_path)["recommendation"]["compute"] is None
    assert (tmp_path / "comparison" / "comparison.md").read_text().startswith("## No compute within the limit\n")


def test_without_prices_the_fastest_is_recommended(command: list[str], tmp_path: Path) -> None:
    load_component("compare").main(command)
    found = compared(tmp_path)
    assert found["recommendation"]["compute"] == "fast"
    assert {row["cost"] for row in found["computes"]} == {None}
    assert not (tmp_path / "comparison" / "pareto.svg").exists()


def test_an_outage_of_the_tracking_server_costs_the_artefacts_alone(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate("ab"):
        write_json(tmp_path / name / "training.json", record(number + 1, 16.0, mlflow_run="0" * 32))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        load_component("compare").main(command)
    finally:
        track_in(tmp_path)
    assert [row["hardware"] for row in compared(tmp_path)["computes"]] == [None, None]


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_that_means_nothing_is_refused(command: list[str], limit: str) -> None:
    with pytest.raises(InputError, match=r"--max_minutes .*: expected a number above 0"):
        load_component("compare").main([*command, f"--max_minutes={limit}"])


def test_a_run_that_failed_ends_the_stage_with_one_message_and_no_file(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "b" / "training.json").unlink()
    done = subprocess.run([sys.executable, str(SCRIPT), *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: fast: {tmp_path}/b holds no training.json, which train writes at its end: the run failed\n"
    )
    assert not (tmp_path / "comparison").exists()


def test_runs_of_other_data_end_it_likewise(command: list[str], tmp_path: Path) -> None:
    other = record(2, 20.0, data={"train": "other", "validation": "v", "test": "e"})
    write_json(tmp_path / "b" / "training.json", other)
    with pytest.raises(InputError, match="slow and fast did not do the same: train rows is 't' and 'other'"):
        load_component("compare").main(command)
    assert not (tmp_path / "comparison").exists()
