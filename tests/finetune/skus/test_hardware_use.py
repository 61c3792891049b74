"""What is made of the samples in a tracking store."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from support import track_in

from finetune.skus.hardware_use import HardwareUse, read_hardware_use
from finetune.skus.measured import Run

MakeRun = Callable[..., Run]
SECONDS = {"load": 2.0, "train": 10.0, "steps": 9.0}


@pytest.fixture
def tracked(tmp_path: Path) -> Callable[[dict[str, list[tuple[int, float]]]], str]:
    """Return a maker of MLflow runs: metric → (seconds since training's start, value)."""
    track_in(tmp_path)

    def run(metrics: dict[str, list[tuple[int, float]]]) -> str:
        client, now = MlflowClient(), int(time.time() * 1000)
        run_id = client.create_run("0").info.run_id
        points = [Metric(name, value, now + step, step) for name, found in metrics.items() for step, value in found]
        client.log_batch(run_id, metrics=points)
        return run_id

    return run


def test_only_what_was_sampled_while_training_counts(make_run: MakeRun, tracked: Callable[..., str]) -> None:
    run_id = tracked(
        {
            "system/cpu_utilization_percentage": [(1, 5.0), (2, 80.0), (4, 90.0), (12, 100.0), (13, 5.0)],
            "system/system_memory_usage_megabytes": [(1, 9000.0), (4, 2048.0), (6, 1024.0)],
            "system/system_memory_usage_percentage": [(4, 50.0)],
            "loss": [(4, 1.0)],
        }
    )
    run = make_run("cpu", seconds=SECONDS, mlflow_run=run_id)
    assert read_hardware_use(run) == HardwareUse(3, 90.0, 2.0, None, None, None)


def test_gpus_are_taken_together(make_run: MakeRun, tracked: Callable[..., str]) -> None:
    gpus = {
        f"system/gpu_{number}_{name}": [(4, value), (6, value)]
        for number, half in ((0, 1.0), (1, 0.5))
        for name, value in (
            ("utilization_percentage", 90.0 * half),
            ("memory_usage_megabytes", 4096.0 * half),
            ("power_usage_watts", 60.0 * half),
            ("temperature_celsius", 70.0),
        )
    }
    run = make_run(
        "gpu", seconds=SECONDS, mlflow_run=tracked({"system/cpu_utilization_percentage": [(4, 10.0)], **gpus})
    )
    assert read_hardware_use(run) == HardwareUse(1, 10.0, None, 67.5, 4.0, 90.0)


@pytest.mark.parametrize("metrics", [{"loss": [(4, 1.0)]}, {"system/cpu_utilization_percentage": [(1, 5.0)]}])
def test_a_run_without_a_sample_of_its_training_is_not_known(
    make_run: MakeRun, tracked: Callable[..., str], metrics: dict[str, list[tuple[int, float]]]
) -> None:
    assert read_hardware_use(make_run("cpu", seconds=SECONDS, mlflow_run=tracked(metrics))) is None


def test_a_run_that_was_not_tracked_or_is_of_another_workspace_costs_the_figures_alone(
    make_run: MakeRun, tracked: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    tracked({})
    assert read_hardware_use(make_run("cpu")) is None
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        assert read_hardware_use(make_run("cpu", mlflow_run="0" * 32)) is None
    assert "cpu_1: use of the hardware is not known" in caplog.text
