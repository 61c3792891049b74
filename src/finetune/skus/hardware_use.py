"""What the hardware did while a run trained, as its MLflow run tells."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlflow
from azure.core.exceptions import AzureError
from mlflow.tracking import MlflowClient

from finetune.skus.measured import Run
from finetune.training.contents import HARDWARE_METRICS

LOGGER = logging.getLogger(__name__)

_FAILURES = (mlflow.MlflowException, AzureError, OSError)


@dataclass(frozen=True)
class HardwareUse:
    """Figures of the first instance; None where a figure was not sampled."""

    samples: int
    processor: float | None
    """Mean share of the host's cores in use, by whatever ran there, in percent."""
    memory_gib: float | None
    """The most memory that the host had in use."""
    gpu: float | None
    """Mean utilisation over the GPUs, in percent."""
    gpu_memory_gib: float | None
    """The most memory in use on one GPU."""
    gpu_watts: float | None
    """Mean power of all GPUs together."""


def read_hardware_use(run: Run) -> HardwareUse | None:
    """Return what the hardware did between loading and saving; None when nothing of it is known here.

    Samples carry the seconds since training's own start as their step, so those of start-up can be left out.
    """
    if run.mlflow_run is None:
        return None
    client = MlflowClient()
    start, end = run.phases["load"], run.phases["load"] + run.phases["train"]
    try:
        names = sorted(client.get_run(run.mlflow_run).data.metrics)
        histories = {
            name.removeprefix(HARDWARE_METRICS): [
                point.value
                for point in client.get_metric_history(run.mlflow_run, name)
                if start <= point.step <= end and math.isfinite(point.value)
            ]
            for name in names
            if name.startswith(HARDWARE_METRICS)
        }
    except _FAILURES as error:
        LOGGER.warning("%s: use of the hardware is not known: %s", run.listed.node, str(error).splitlines()[0][:200])
        return None
    gpus = {ending: _of_gpus(histories, ending) for ending in ("utilization_percentage", "power_usage_watts")}
    memory = [max(values) for name, values in histories.items() if values and _is_gpu(name, "memory_usage_megabytes")]
    processor = histories.get("cpu_utilization_percentage", [])
    host_memory = histories.get("system_memory_usage_megabytes", [])
    if not processor and not memory:
        return None
    return HardwareUse(
        samples=len(processor),
        processor=_mean(processor),
        memory_gib=max(host_memory) / 1024 if host_memory else None,
        gpu=_mean(gpus["utilization_percentage"]),
        gpu_memory_gib=max(memory) / 1024 if memory else None,
        gpu_watts=sum(gpus["power_usage_watts"]) if gpus["power_usage_watts"] else None,
    )


def _of_gpus(histories: dict[str, list[float]], ending: str) -> list[float]:
    """Return each GPU's mean of a metric."""
    return [sum(values) / len(values) for name, values in histories.items() if values and _is_gpu(name, ending)]


def _is_gpu(name: str, ending: str) -> bool:
    return name.startswith("gpu_") and name.endswith(ending)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
