"""What is chosen or asked for reaches the run: each switch is looked up in what is about to train."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from finetune.errors import InputError
from finetune.training import fit
from finetune.training.arguments import TrainArguments
from finetune.training.dropout import ATTENTION, ThresholdDropout
from finetune.training.loop import Parts

Settings = dict[str, dict[str, str]]


@pytest.fixture
def about_to_train(
    given: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Parts, Settings]]:
    """Set a run up, and end it before its first step."""

    class Ended(Exception):
        pass

    class Log:
        run_id = None

        def parameters(self, parameters: Any) -> None:
            logged.update(parameters)

        def close(self, status: str) -> None:
            assert status == "FAILED"

    logged: dict[str, Any] = {}
    monkeypatch.setattr(fit, "_open_log", lambda folder, found: Log())

    def start(**switches: Any) -> tuple[Parts, Settings]:
        seen: list[Parts] = []

        def train(arguments: TrainArguments, parts: Parts, state: Any) -> None:
            seen.append(parts)
            raise Ended

        monkeypatch.setattr(fit, "train", train)
        with pytest.raises(Ended):
            fit.fit(TrainArguments(**given("run", **switches)))
        return seen[0], logged

    return start


def kinds(parts: Parts) -> set[type]:
    return {type(module) for module in parts.model.modules()}


SWITCHES: list[tuple[str, str, Callable[[Parts], bool]]] = [
    ("attention", "eager", lambda parts: parts.model.config._attn_implementation == "eager"),
    ("attention", "sdpa", lambda parts: parts.model.config._attn_implementation == "sdpa"),
    ("dropout", "threshold", lambda parts: ThresholdDropout in kinds(parts)),
    ("dropout", "native", lambda parts: ThresholdDropout not in kinds(parts) and torch.nn.Dropout in kinds(parts)),
    ("matmul_precision", "highest", lambda parts: torch.get_float32_matmul_precision() == "highest"),
    ("matmul_precision", "medium", lambda parts: torch.get_float32_matmul_precision() == "medium"),
    ("optimizer", "fused", lambda parts: parts.optimizer.defaults["fused"] is True),
    ("optimizer", "foreach", lambda parts: parts.optimizer.defaults["foreach"] is True),
    ("precision", "bf16", lambda parts: parts.stepper._precision == parts.validation.precision == "bf16"),
    ("precision", "fp16", lambda parts: parts.stepper.scaler.is_enabled()),
    ("precision", "fp32", lambda parts: not parts.stepper.scaler.is_enabled()),
    ("batching", "random", lambda parts: not parts.order._grouped),
    ("batching", "length_grouped", lambda parts: parts.order._grouped),
    ("last_layer", "all_tokens", lambda parts: "forward" not in vars(parts.model.base_model.encoder.layer[-1])),
    ("last_layer", "first_token", lambda parts: "forward" in vars(parts.model.base_model.encoder.layer[-1])),
    ("gradient_checkpointing", "always", lambda parts: parts.model.is_gradient_checkpointing),
    ("gradient_checkpointing", "never", lambda parts: not parts.model.is_gradient_checkpointing),
    ("compile", "never", lambda parts: parts.stepper.model is parts.model),
]


@pytest.mark.parametrize(("name", "value", "holds"), SWITCHES, ids=[f"{row[0]}-{row[1]}" for row in SWITCHES])
def test_a_switch_is_what_trains(
    about_to_train: Callable[..., tuple[Parts, Settings]], name: str, value: str, holds: Callable[[Parts], bool]
) -> None:
    before = torch.get_float32_matmul_precision()
    # The other dropout brings attention of its own.
    native = {"dropout": "native"} if name == "attention" else {}
    try:
        parts, logged = about_to_train(**native, **{name: value})
        assert holds(parts)
        assert logged[name] == value
    finally:
        torch.set_float32_matmul_precision(before)


def test_threshold_dropout_brings_its_own_attention(about_to_train: Callable[..., tuple[Parts, Settings]]) -> None:
    assert about_to_train(dropout="threshold")[0].model.config._attn_implementation == ATTENTION


def test_a_compiled_model_is_stepped_and_learns_the_same(
    about_to_train: Callable[..., tuple[Parts, Settings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the compiler's front alone: its code generator takes minutes."""
    whole, graphs = torch.compile, []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(fit.torch, "compile", lambda model, dynamic: whole(model, dynamic=dynamic, backend=backend))
    norms = []
    for value in ("never", "always"):
        parts, _ = about_to_train(compile=value, dropout="native", resume="never")
        parts.model.train()
        norms.append(parts.stepper.take(parts.order.batch(0), 0, 0.01).gradient_norm)
        assert bool(graphs) == (value == "always")
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_another_kernel_than_there_is_is_one_message(about_to_train: Callable[..., tuple[Parts, Settings]]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine may have it")
    with pytest.raises(InputError, match=r"cannot be loaded as AutoModelForSequenceClassification: .*[Ff]lash"):
        about_to_train(attention="flash_attention_2")
