"""Optimiser and learning rate, as the Hugging Face Trainer sets them up."""

import math
import re
from typing import Any

import torch
from torch import nn

from finetune.training.arguments import TrainArguments

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|\.)norm($|\.)|_norm($|\.)", re.IGNORECASE)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def make_optimizer(model: nn.Module, arguments: TrainArguments, fused: bool) -> torch.optim.AdamW:
    """Return AdamW with the Trainer's two groups: weights with decay, biases and norms without."""
    in_norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in trained_parameters(model).items():
        (plain if name in in_norms or _NO_DECAY.search(name) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": arguments.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    kernel = {"fused": True} if fused else {"foreach": True}
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=arguments.learning_rate, **kernel)


def learning_rate_at(step: int, steps: int, arguments: TrainArguments) -> float:
    """Return the learning rate of a step (from 0), as `transformers.get_scheduler` has it.

    It depends on the step alone, so there is no scheduler whose state could be lost.
    """
    return arguments.learning_rate * _share(step, steps, warmup_steps(steps, arguments), arguments.lr_scheduler_type)


def warmup_steps(steps: int, arguments: TrainArguments) -> int:
    """Return the steps of warm-up, of so many steps in all."""
    asked = arguments.warmup_steps
    return int(asked) if asked >= 1 else math.ceil(steps * asked)


def _share(step: int, steps: int, warmup: int, kind: str) -> float:
    if step < warmup:
        return step / max(1, warmup)
    if kind == "constant_with_warmup":
        return 1.0
    progress = (step - warmup) / max(1, steps - warmup)
    if kind == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    return max(0.0, 1.0 - progress)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimiser's state as named tensors: "<what>/<parameter>"."""
    return {
        f"{what}/{name}": value
        for name, parameter in trained_parameters(model).items()
        for what, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put named tensors back as the optimiser's state."""
    parameters = trained_parameters(model)
    for key, value in tensors.items():
        what, _, name = key.partition("/")
        parameter = parameters[name]
        state: dict[str, Any] = optimizer.state[parameter]
        state[what] = value if what == "step" else value.to(parameter.device)
