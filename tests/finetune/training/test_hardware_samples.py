import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import nvitop
import pytest
from mlflow.tracking import MlflowClient
from support import track_in

from finetune.training.contents import MACHINE_TAG
from finetune.training.hardware_samples import hardware_sampled, machine_name, read_hardware

HOST = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
}


def gpu(power: object = 350_000) -> SimpleNamespace:
    return SimpleNamespace(
        gpu_utilization=lambda: 93,
        memory_used=lambda: 4 * 2**30,
        temperature=lambda: 61,
        power_usage=lambda: power,
        name=lambda: "NVIDIA H200",
    )


def wait_for_samples(taken: list[int], number: int) -> None:
    deadline = time.monotonic() + 20
    while len(taken) < number and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(taken) >= number


def test_the_host_is_always_read() -> None:
    found = read_hardware([])
    assert set(found) == HOST
    assert 0 <= found["system/system_memory_usage_percentage"] <= 100
    assert found["system/system_memory_usage_megabytes"] > 10


def test_gpus_are_read_in_the_units_of_their_names() -> None:
    found = read_hardware([gpu(), gpu(nvitop.NA)])
    assert {name: value for name, value in found.items() if name.startswith("system/gpu_0")} == {
        "system/gpu_0_utilization_percentage": 93.0,
        "system/gpu_0_memory_usage_megabytes": 4096.0,
        "system/gpu_0_temperature_celsius": 61.0,
        "system/gpu_0_power_usage_watts": 350.0,
    }
    assert "system/gpu_1_power_usage_watts" not in found
    assert "system/gpu_1_temperature_celsius" in found


def test_a_machine_is_called_by_its_gpus_or_its_cores() -> None:
    assert machine_name([gpu(), gpu()]) == "2 x NVIDIA H200"
    assert machine_name([]).endswith(f", {nvitop.host.cpu_count()} cores")


def test_the_samples_land_in_the_run(tmp_path: Path) -> None:
    track_in(tmp_path)
    taken: list[int] = []

    def read(gpus: list[object]) -> dict[str, float]:
        taken.append(1)
        return read_hardware([gpu()])

    with hardware_sampled(0.005, read), mlflow.start_run() as run:
        wait_for_samples(taken, 6)
    client = MlflowClient()
    found = client.get_run(run.info.run_id)
    assert found.data.tags[MACHINE_TAG] == machine_name([])
    assert set(found.data.metrics) >= HOST
    for name in ("system/cpu_utilization_percentage", "system/gpu_0_power_usage_watts"):
        history = client.get_metric_history(run.info.run_id, name)
        assert len(history) == len(taken) - 1
        assert all(point.step <= 20 for point in history)


def test_a_block_shorter_than_the_time_between_samples_has_one(tmp_path: Path) -> None:
    track_in(tmp_path)
    with hardware_sampled(3600.0), mlflow.start_run() as run:
        pass
    history = MlflowClient().get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    assert len(history) == 1


def test_there_is_one_sampler_and_it_ends_with_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_in(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with hardware_sampled():
        assert "hardware samples" not in [thread.name for thread in threading.enumerate()]
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(OSError, match="1 samplers"), hardware_sampled(), mlflow.start_run():
        raise OSError(f"{[thread.name for thread in threading.enumerate()].count('hardware samples')} samplers")
    assert "hardware samples" not in [thread.name for thread in threading.enumerate()]


def test_a_server_that_is_away_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    track_in(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    taken: list[int] = []

    def read(gpus: list[object]) -> dict[str, float]:
        taken.append(1)
        return {"system/cpu_utilization_percentage": 1.0}

    with caplog.at_level(logging.WARNING), hardware_sampled(0.005, read):
        wait_for_samples(taken, 3)
    assert "what the hardware did is not tracked yet" in caplog.text
