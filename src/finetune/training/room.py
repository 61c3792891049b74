"""How much memory this process may hold, and the most that it has held."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import nvitop
import torch

_SHARE = 0.8
"""Of what is free: the rest is for what trials do not show, as checkpoints, fragments, and other processes."""
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
TOO_SMALL = (
    "not even one row at a time fits the memory; take a smaller checkpoint, a smaller --max_length in prep, or "
    "--gradient_checkpointing always"
)


class Room(Protocol):
    """The memory that training computes in. All figures in bytes."""

    def limit(self) -> int:
        """Return what the process may hold in all, what it holds already included."""

    def held(self) -> int:
        """Return what it holds now."""

    def peak(self) -> int:
        """Return at least the most that it has held since `held` was called."""


@dataclass(frozen=True)
class HostRoom:
    """A share of the host's memory, or of the container's, which may have less."""

    processes: int
    """How many processes of the run may share the host."""
    control_groups: Path = _CONTROL_GROUPS

    def limit(self) -> int:
        """Return what is held, and four fifths of what is free, divided by the processes."""
        free = [nvitop.host.virtual_memory().available, *container_free(self.control_groups)]
        return self.held() + int(_SHARE * max(0, min(free)) / self.processes)

    def held(self) -> int:
        """Return the resident memory."""
        return nvitop.host.Process().memory_info().rss

    def peak(self) -> int:
        """Return the most since the process started, by the kernel; more than was asked for is on the safe side."""
        status = Path("/proc/self/status")
        if status.is_file():
            for line in status.read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        import resource  # not on Windows

        unit = 1 if os.uname().sysname == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True)
class GpuRoom:
    """One GPU's memory."""

    device: torch.device

    def limit(self) -> int:
        """Return what torch has taken, and four fifths of what is free."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return torch.cuda.memory_reserved(self.device) + int(_SHARE * free)

    def held(self) -> int:
        """Return the memory of all tensors; the peak starts from here."""
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def peak(self) -> int:
        """Return the most that tensors have taken."""
        return torch.cuda.max_memory_allocated(self.device)


def room_of(device: torch.device, processes: int) -> Room:
    """Return the memory that a device computes in."""
    return GpuRoom(device) if device.type == "cuda" else HostRoom(processes)


def container_free(control_groups: Path) -> list[int]:
    """Return the bytes that a container's limit leaves, by cgroup 2 and 1; nothing where there is no limit.

    The page cache counts as used there, and what of it is inactive is given up when memory is short.
    """
    found = []
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        most = _number(control_groups / limit)
        now = _number(control_groups / used)
        if most is not None and now is not None:
            statistics = _words((control_groups / limit).parent / "memory.stat")
            idle = int(statistics[statistics.index(cache) + 1]) if cache in statistics else 0
            found.append(most - now + idle)
    return found


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a GPU or the host had no memory left."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
