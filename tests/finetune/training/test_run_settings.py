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


def first_token_only(parts: Parts) -> bool:
    return "forward" in vars(parts.model.base_model.encoder.layer[-1])


HELD: dict[str, Callable[[Parts], object]] = {
    "attention": lambda parts: parts.model.config._attn_implementation,
    "dropout": lambda parts: "threshold" if ThresholdDropout in kinds(parts) else "native",
    "matmul_precision": lambda parts: torch.get_float32_matmul_precision(),
    "optimizer": lambda parts: "fused" if parts.optimizer.defaults["fused"] else "foreach",
    "precision": lambda parts: parts.stepper._precision,
    "batching": lambda parts: "length_grouped" if parts.order._grouped else "random",
    "last_layer": lambda parts: "first_token" if first_token_only(parts) else "all_tokens",
    "gradient_checkpointing": lambda parts: "always" if parts.model.is_gradient_checkpointing else "never",
    "compile": lambda parts: "never" if parts.stepper.model is parts.model else "always",
}
"""How a switch's value is seen in what trains."""
ONE = {
    "attention": "eager",
    "dropout": "native",
    "matmul_precision": "highest",
    "optimizer": "foreach",
    "precision": "bf16",
    "batching": "random",
    "last_layer": "all_tokens",
    "gradient_checkpointing": "always",
    "compile": "never",
}
OTHER = {
    "attention": "sdpa",
    "dropout": "native",
    "matmul_precision": "medium",
    "optimizer": "fused",
    "precision": "fp16",
    "batching": "length_grouped",
    "last_layer": "first_token",
    "gradient_checkpointing": "never",
    "compile": "never",
}


@pytest.mark.parametrize("switches", [ONE, OTHER, {"attention": "eager", "dropout": "threshold", "precision": "fp32"}])
def test_what_is_asked_for_is_what_trains(
    about_to_train: Callable[..., tuple[Parts, Settings]], switches: dict[str, str]
) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        parts, logged = about_to_train(**switches)
        assert {name: HELD[name](parts) for name in switches} == switches
        assert {name: logged[name] for name in switches} == switches
        assert parts.validation.precision == switches["precision"]
        assert parts.stepper.scaler.is_enabled() == (switches["precision"] == "fp16")
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
