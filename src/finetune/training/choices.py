"""What a run chooses from its hardware, each choice with its reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import torch

from finetune.training.arguments import ALWAYS, NEVER, TrainArguments
from finetune.training.precision import AUTO, Precision, choose_precision, cpu_flags


@dataclass(frozen=True)
class Choice:
    """A chosen value and the reason, for the log and the record."""

    value: str
    reason: str


@dataclass(frozen=True)
class Hardware:
    """What choices depend on."""

    cuda: bool
    cpu_flags: frozenset[str]
    flash_attention: bool
    """The package flash-attn is installed."""


@dataclass(frozen=True)
class Choices:
    """The settings of one run."""

    precision: Choice
    attention: Choice
    matmul_precision: Choice
    dropout: Choice
    freed_memory: Choice
    optimizer: Choice
    compile: Choice
    pinned_memory: Choice
    auto_find_batch_size: Choice

    def items(self) -> Mapping[str, Mapping[str, str]]:
        """Return name → value and reason."""
        return asdict(self)


def detect_hardware() -> Hardware:
    """Look at this machine."""
    return Hardware(torch.cuda.is_available(), cpu_flags(), find_spec("flash_attn") is not None)


def choose(arguments: TrainArguments, hardware: Hardware) -> Choices:
    """Settle every switch that is left to the hardware; what is asked for by name is taken as it is."""
    precision = choose_precision(arguments.precision)
    return Choices(
        precision=Choice(precision.name, precision.reason),
        attention=_asked(arguments.attention) or _attention(hardware, precision),
        matmul_precision=_asked(arguments.matmul_precision) or _matmul(hardware),
        dropout=_asked(arguments.dropout) or _dropout(hardware),
        freed_memory=_asked(arguments.freed_memory) or _freed_memory(hardware),
        optimizer=_asked(arguments.optimizer) or Choice("fused", "one kernel over all weights, on CPU and GPU alike"),
        compile=_asked(arguments.compile) or _compile(hardware),
        pinned_memory=_pinned(hardware),
        auto_find_batch_size=_asked(arguments.auto_find_batch_size) or _auto_find_batch_size(hardware),
    )


def _asked(value: str) -> Choice | None:
    return None if value == AUTO else Choice(value, "as requested")


def _attention(hardware: Hardware, precision: Precision) -> Choice:
    if hardware.cuda and hardware.flash_attention and precision.name != "fp32":
        return Choice("flash_attention_2", "flash-attn is installed: padding is skipped (varlen)")
    if hardware.cuda:
        return Choice("sdpa", f"flash-attn is {'for 16-bit formats' if hardware.flash_attention else 'not installed'}")
    return Choice("sdpa", "FlashAttention needs a GPU")


def _matmul(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice("high", "fp32 products in TF32 where the GPU has it")
    if "amx_bf16" in hardware.cpu_flags:
        return Choice("highest", "on a CPU with AMX a lower setting computes fp32 products in bf16")
    return Choice("medium", "on a CPU without AMX the same accuracy by oneDNN's faster kernels")


def _dropout(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice("native", "a GPU draws masks inside its kernels")
    return Choice("threshold", "a CPU spends a seventh of a step in torch's own draws")


def _freed_memory(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice("returned", "torch keeps a GPU's memory itself")
    return Choice("kept", "the system would make each step's memory anew, page by page")


def _compile(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice(NEVER, "batches of many lengths compile again and again; --compile always for one length")
    return Choice(NEVER, "on a CPU minutes of compiling are not paid back: see docs/training.md")


def _pinned(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice(ALWAYS, "batches are copied to the GPU while it computes")
    return Choice(NEVER, "there is no GPU to copy to")


def _auto_find_batch_size(hardware: Hardware) -> Choice:
    if hardware.cuda:
        return Choice(ALWAYS, "the more rows at a time, the busier a GPU")
    return Choice(NEVER, "few rows keep a CPU busy, and need less padding")
