"""Which number format a training run computes in, and why."""

from dataclasses import dataclass
from pathlib import Path

import torch

AUTO = "auto"
PRECISIONS = (AUTO, "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Precision:
    """A chosen format and the reason, for the log."""

    name: str
    reason: str


def choose_precision(requested: str) -> Precision:
    """Choose the autocast format; the weights stay in fp32 either way.

    bf16 has fp32's range and needs no loss scaling, so it is taken wherever the hardware multiplies it natively;
    fp16 is left to GPUs without it.

    Args:
        requested: one of `PRECISIONS`; anything but "auto" is taken as it is.
    """
    if requested != AUTO:
        return Precision(requested, "as requested")
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", f"{name} multiplies bf16 natively")
        return Precision("fp16", f"{name} has no native bf16")
    flags = cpu_flags()
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in flags:
            return Precision("bf16", f"the CPU has {flag}")
    return Precision("fp32", "no GPU, and the CPU has no bf16 instructions")


def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags as Linux names them; empty where there is no /proc/cpuinfo."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    lines = (line for line in path.read_text().splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())
