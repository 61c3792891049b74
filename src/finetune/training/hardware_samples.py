"""What the hardware does while a process works: sampled by one thread, sent to MLflow in batches.

Names are those of MLflow's own system metrics (mlflow.org/docs/latest/ml/tracking/system-metrics), so that its pages
show them as such; the step is the seconds since the start.
"""

import logging
import math
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlflow
import nvitop
import torch
from azure.core.exceptions import AzureError
from mlflow.entities import Metric, RunTag
from mlflow.tracking import MlflowClient

from finetune.tracking import MAX_BATCH
from finetune.training.contents import MACHINE_TAG

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_SAMPLES = 2.0
SECONDS_BETWEEN_BATCHES = 30.0
_MEBI = 2**20
_MOST_KEPT = 100_000
"""Figures that wait for a tracking server; the oldest go first."""


def read_hardware(gpus: list[Any]) -> dict[str, float]:
    """Return what host and GPUs do now; what a device does not tell is left out.

    Units: %, MiB, °C, W. The host's processor time is the share since the last call, of all cores together.
    """
    memory = nvitop.host.virtual_memory()
    found: dict[str, Any] = {
        "system/cpu_utilization_percentage": nvitop.host.cpu_percent(),
        "system/system_memory_usage_megabytes": (memory.total - memory.available) / _MEBI,
        "system/system_memory_usage_percentage": memory.percent,
    }
    for i, gpu in enumerate(gpus):
        name = f"system/gpu_{i}"
        found |= {
            f"{name}_utilization_percentage": gpu.gpu_utilization(),
            f"{name}_memory_usage_megabytes": _scaled(gpu.memory_used(), 1 / _MEBI),
            f"{name}_temperature_celsius": gpu.temperature(),
            f"{name}_power_usage_watts": _scaled(gpu.power_usage(), 1 / 1000),
        }
    # nvitop's NA is a string, and no number.
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _scaled(value: Any, factor: float) -> Any:
    return value * factor if isinstance(value, int | float) else value


def machine_name(gpus: list[Any]) -> str:
    """Return what a machine is called in a table of prices: its GPUs, or its processor's kind and number of cores."""
    if gpus:
        return f"{len(gpus)} x {gpus[0].name()}"
    return f"{platform.machine()}, {nvitop.host.cpu_count()} cores"


@contextmanager
def hardware_sampled(
    seconds: float = SECONDS_BETWEEN_SAMPLES, read: Callable[[list[Any]], Mapping[str, float]] = read_hardware
) -> Iterator[None]:
    """Sample the hardware while a block runs, into the job's MLflow run or the one that the block leaves behind.

    There is one sampler a run: of several processes the first samples. A tracking server that does not answer costs
    samples and a warning, and never time of the block.

    Args:
        seconds: between samples.
        read: what is sampled.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    # Without a GPU, nvitop's search for one ends in a message that reads like a failure.
    gpus = list(nvitop.CudaDevice.all()) if torch.cuda.is_available() else []
    samples = _Samples(os.environ.get("MLFLOW_RUN_ID"), machine_name(gpus))
    ended = threading.Event()

    def work() -> None:
        read(gpus)  # the first share of processor time is that since the machine started
        while not ended.wait(seconds):
            samples.add(read(gpus))
        samples.add(read(gpus))  # so that a block shorter than the time between samples has one

    thread = threading.Thread(target=work, name="hardware samples", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        samples.send(at_end=True)


class _Samples:
    """Samples that wait to be sent."""

    def __init__(self, run_id: str | None, machine: str) -> None:
        self._run_id, self._machine = run_id, machine
        self._started = self._sent = time.monotonic()
        self._waiting: list[Metric] = []

    def add(self, figures: Mapping[str, float]) -> None:
        now, step = int(time.time() * 1000), round(time.monotonic() - self._started)
        self._waiting += [Metric(name, value, now, step) for name, value in figures.items()]
        del self._waiting[:-_MOST_KEPT]
        if self._run_id is not None and time.monotonic() >= self._sent + SECONDS_BETWEEN_BATCHES:
            self.send()

    def send(self, at_end: bool = False) -> None:
        """Send what waits to the job's run; at the end, without a job, to the run that was active last."""
        self._sent = time.monotonic()
        try:
            if self._run_id is None and at_end:
                last = mlflow.last_active_run()
                self._run_id = None if last is None else last.info.run_id
            if self._run_id is None:
                return
            client = MlflowClient()
            while self._waiting:
                batch = self._waiting[: MAX_BATCH - 1]
                client.log_batch(self._run_id, metrics=batch, tags=[RunTag(MACHINE_TAG, self._machine)])
                del self._waiting[: len(batch)]
        except (mlflow.MlflowException, AzureError, OSError) as error:  # requests' errors are OSErrors
            LOGGER.warning("what the hardware did is not tracked yet: %s", str(error).splitlines()[0][:200])
