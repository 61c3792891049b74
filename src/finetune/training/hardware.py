"""What a run ran on, for its record."""

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

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


def process_seconds() -> float:
    """Return the seconds since this process started: starting Python and importing packages are a part of a run.

    On Linux by the kernel's own clock (proc_pid_stat(5), starttime), which is exact to a hundredth; elsewhere as the
    system tells, in some cases to a second.
    """
    if sys.platform == "linux":
        after_name = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.time() - nvitop.host.Process().create_time())
