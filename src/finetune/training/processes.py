"""One training run as several processes (`distribution: pytorch`): who is who, and what they tell each other."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import nn

from finetune.errors import InputError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and logs to MLflow."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Add up each of some numbers over all processes."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def wrap(self, model: nn.Module) -> nn.Module:
        """Let gradients be averaged over the processes; the weights become those of the first."""
        if self.count == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)


@contextmanager
def joined_processes(timeout_seconds: float) -> Iterator[Processes]:
    """Join the other processes of the run, as the environment names them (RANK, WORLD_SIZE, MASTER_ADDR, …).

    Without WORLD_SIZE, or with 1, there are none. Gloo connects CPUs, NCCL GPUs.

    Raises:
        InputError: the environment is incomplete, another process ended, or did not answer in time.
    """
    count = _whole_number("WORLD_SIZE", 1)
    rank, local_rank = (_whole_number("RANK", 0), _whole_number("LOCAL_RANK", 0)) if count > 1 else (0, 0)
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(0, 1, device)
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {count}, but {', '.join(missing)} not set; "
            "expected the variables that distribution.type pytorch sets"
        )
    backend = "nccl" if device.type == "cuda" else "gloo"
    with _lost_processes_named(rank, count, timeout_seconds):
        torch.distributed.init_process_group(
            backend, rank=rank, world_size=count, timeout=timedelta(seconds=timeout_seconds)
        )
        LOGGER.info("process %d of %d, by %s", rank, count, backend)
        yield Processes(rank, count, device)
        torch.distributed.destroy_process_group()


@contextmanager
def _lost_processes_named(rank: int, count: int, timeout_seconds: float) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (torch.distributed.DistError, RuntimeError) as error:
        if not _of_an_exchange(error):
            raise
        raise InputError(
            f"process {rank} of {count} lost the others: one of them ended, or did not answer within "
            f"{timeout_seconds:g} s (--distributed_timeout_seconds); see its log. Started again on the same "
            f"checkpoints output, the job goes on from the last checkpoint. ({str(error).splitlines()[0][:200]})"
        ) from None


def _of_an_exchange(error: BaseException) -> bool:
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection closed by peer", "connection reset", "timed out"))


def _whole_number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdigit():
        raise InputError(f"{name}={value!r}: expected a whole number, as distribution.type pytorch sets it")
    return int(value)
