"""What a run ran on, for its record."""

import platform
from importlib.metadata import version

import nvitop
import torch

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "mlflow", "numpy", "scikit-learn")


def describe_hardware() -> dict[str, object]:
    """Return processor, cores, threads, memory (GiB) and the GPUs that torch can use."""
    memory = nvitop.host.virtual_memory()
    return {
        "machine": platform.machine(),
        "cores": nvitop.host.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(memory.total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide a run's numbers."""
    return {name: version(name) for name in PACKAGES}
