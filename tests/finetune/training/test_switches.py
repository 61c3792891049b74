"""Each switch of TrainArguments takes effect, and those that must not change the result do not."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.tasks import task_named
from finetune.training import choices as choices_module
from finetune.training import dropout as dropout_module
from finetune.training.arguments import TrainArguments, check_arguments
from finetune.training.batches import Padding, TokenRows, collate, shares
from finetune.training.choices import Hardware, choose
from finetune.training.divergence import DivergenceWatch
from finetune.training.dropout import ATTENTION, ThresholdDropout, exact_probability, keep_mask, use_threshold_dropout
from finetune.training.last_layer import use_all_tokens, use_first_token_only
from finetune.training.network import autocast, load_model, set_up, to_save
from finetune.training.optimisation import make_optimizer, trained_parameters
from finetune.training.problems import HEADS
from finetune.training.processes import Processes
from finetune.training.schedule import Schedule
from finetune.training.step import Stepper, seed_chance

CPU = Hardware(cuda=False, cpu_flags=frozenset({"avx512_bf16"}), flash_attention=False)
GPU = Hardware(cuda=True, cpu_flags=frozenset(), flash_attention=True)
ALONE = Processes(0, 1, torch.device("cpu"))
HEAD = HEADS["single_label"]


def arguments(**given: Any) -> TrainArguments:
    return TrainArguments("d", "m", "c", **{"precision": "fp32", **given})


@pytest.fixture
def model(message_dataset: Path, chancy_checkpoint: Path) -> Callable[..., transformers.PreTrainedModel]:
    """Load the tiny model anew, with the same head each time."""

    def load(attention: str = "sdpa") -> transformers.PreTrainedModel:
        manifest = read_manifest(message_dataset)
        transformers.set_seed(0)
        return load_model(chancy_checkpoint, "tiny", task_named(manifest.task), manifest, attention)

    return load


@pytest.fixture
def rows(message_dataset: Path) -> TokenRows:
    return TokenRows(message_dataset / "train.arrow")


@pytest.fixture
def padding(chancy_checkpoint: Path) -> Padding:
    return Padding.of(transformers.AutoTokenizer.from_pretrained(chancy_checkpoint))


def take_steps(
    model: torch.nn.Module, rows: TokenRows, padding: Padding, given: TrainArguments, steps: int = 2, batch: int = 8
) -> tuple[list[float], dict[str, torch.Tensor], Stepper]:
    """Take steps; return losses, weights and the stepper."""
    model.train()
    stepper = Stepper(model, make_optimizer(model, given, True), rows, padding, given, given.precision, ALONE, HEAD)
    losses = [stepper.take(np.arange(step * batch, (step + 1) * batch), step, 0.01).loss for step in range(steps)]
    return losses, {name: each.detach().clone() for name, each in model.named_parameters()}, stepper


@pytest.mark.parametrize(
    ("hardware", "asked", "name", "value"),
    [
        (CPU, {}, "attention", "sdpa"),
        (GPU, {"precision": "bf16"}, "attention", "flash_attention_2"),
        (GPU, {"precision": "fp32"}, "attention", "sdpa"),
        (replace(GPU, flash_attention=False), {"precision": "bf16"}, "attention", "sdpa"),
        (CPU, {"attention": "eager"}, "attention", "eager"),
        (CPU, {}, "dropout", "threshold"),
        (GPU, {}, "dropout", "native"),
        (CPU, {}, "matmul_precision", "medium"),
        (replace(CPU, cpu_flags=frozenset({"amx_bf16"})), {}, "matmul_precision", "highest"),
        (GPU, {}, "matmul_precision", "high"),
        (CPU, {}, "freed_memory", "kept"),
        (GPU, {}, "freed_memory", "returned"),
        (CPU, {"freed_memory": "returned"}, "freed_memory", "returned"),
        (CPU, {}, "optimizer", "fused"),
        (CPU, {"optimizer": "foreach"}, "optimizer", "foreach"),
        (CPU, {}, "compile", "never"),
        (CPU, {"compile": "always"}, "compile", "always"),
        (CPU, {}, "pinned_memory", "never"),
        (GPU, {}, "pinned_memory", "always"),
        (CPU, {}, "auto_find_batch_size", "never"),
        (GPU, {}, "auto_find_batch_size", "always"),
        (CPU, {"auto_find_batch_size": "always"}, "auto_find_batch_size", "always"),
    ],
)
def test_choices_follow_the_hardware_and_say_why(
    hardware: Hardware, asked: dict[str, Any], name: str, value: str
) -> None:
    chosen = getattr(choose(arguments(**asked), hardware), name)
    assert chosen.value == value
    assert (chosen.reason == "as requested") == (name in asked)
    assert chosen.reason


def test_this_machine_is_looked_at() -> None:
    assert choices_module.detect_hardware().cuda == torch.cuda.is_available()


@pytest.mark.parametrize(("fused", "field"), [(True, "fused"), (False, "foreach")])
def test_the_optimiser_is_the_kernel_asked_for(model: Callable[..., Any], fused: bool, field: str) -> None:
    optimizer = make_optimizer(model(), arguments(weight_decay=0.3), fused)
    assert optimizer.defaults[field]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    names = {id(parameter): name for name, parameter in model().named_parameters()}
    assert len(names) == sum(len(group["params"]) for group in optimizer.param_groups)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.0, 1.0])
def test_masks_drop_as_often_as_asked(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(3)
    mask = keep_mask(torch.Size((1001, 999)), p, dtype, torch.device("cpu"))
    assert mask.dtype == dtype
    assert set(mask.float().unique().tolist()) <= {0.0, 1.0}
    # Four standard deviations of a million draws.
    assert mask.float().mean().item() == pytest.approx(1 - p, abs=4 * (p * (1 - p) / 1e6) ** 0.5 + 1e-9)
    assert exact_probability(p) == pytest.approx(p, abs=2**-17)
    other = keep_mask(torch.Size((1001, 999)), p, dtype, torch.device("cpu"))
    assert p in (0.0, 1.0) or (mask != other).any()


def test_threshold_dropout_scales_and_passes_gradients_where_it_kept() -> None:
    torch.manual_seed(0)
    values = torch.ones(64, 64, requires_grad=True)
    dropped = ThresholdDropout(0.25)(values)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
    assert torch.equal(ThresholdDropout(0.25).eval()(values), values)


def test_threshold_dropout_replaces_every_module_and_attention(
    model: Callable[..., Any], rows: TokenRows, padding: Padding
) -> None:
    plain, cheap = model(), model()
    assert use_threshold_dropout(cheap) > 3
    assert not any(type(module) is torch.nn.Dropout for module in cheap.modules())
    assert cheap.config._attn_implementation == ATTENTION
    batch = collate(rows, range(6), padding, pin=False)
    with torch.inference_mode():
        assert torch.allclose(plain.eval()(**batch).logits, cheap.eval()(**batch).logits, atol=1e-6)
        cheap.train()
        # The mean over many draws is the answer without dropout, as for torch's own.
        for each in (plain, cheap):
            each.train()
        means = [torch.stack([each(**batch).loss for _ in range(150)]).mean().item() for each in (plain, cheap)]
    assert means[0] == pytest.approx(means[1], rel=0.1)


PADDING, CAUSAL, NUMBERS = "padding", "causal", "numbers"


def mask_of(kind: str | None, tokens: int) -> torch.Tensor | None:
    """Make a mask for two rows, of which the second is three tokens shorter."""
    lengths = torch.tensor([tokens, tokens - 3])
    seen = (torch.arange(tokens) < lengths[:, None])[:, None, None]
    if kind == PADDING:
        return seen.expand(2, 1, tokens, tokens)
    if kind == CAUSAL:
        return seen & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    return torch.zeros(seen.shape).masked_fill(~seen, -1e9) if kind == NUMBERS else None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [9, 32, 130])
@pytest.mark.parametrize("kind", [None, PADDING, CAUSAL, NUMBERS])
@pytest.mark.parametrize("p", [0.25, 1.0])
def test_attention_with_dropout_computes_what_plain_operations_do(
    dtype: torch.dtype, tokens: int, kind: str | None, p: float
) -> None:
    torch.manual_seed(1)
    # As projections leave them: heads and tokens in the other order.
    inputs = [torch.randn(2, tokens, 3, 8).to(dtype).transpose(1, 2).detach().requires_grad_() for _ in range(3)]
    mask = mask_of(kind, tokens)
    torch.manual_seed(2)
    output, _ = dropout_module._attention(torch.nn.Module(), *inputs, mask, dropout=p)
    assert output.shape == (2, tokens, 3, 8)
    assert output.is_contiguous()
    upstream = torch.randn(output.shape).to(dtype)
    output.backward(upstream)

    plain = [each.detach().double().requires_grad_() for each in inputs]
    scores = plain[0] @ plain[1].transpose(-1, -2) * 8**-0.5
    if mask is not None:
        scores = scores + mask if kind == NUMBERS else scores.masked_fill(~mask, -1e300)
    torch.manual_seed(2)
    drawn = keep_mask(scores.shape, p, dtype, torch.device("cpu")).double() / (1 - p if p < 1 else 1)
    expected = ((torch.softmax(scores, -1) * drawn) @ plain[2]).transpose(1, 2)
    expected.backward(upstream.double())
    near = {"atol": 1e-5} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    assert torch.allclose(output.double(), expected, **near)
    for one, other in zip(inputs, plain, strict=True):
        assert torch.allclose(one.grad.double(), other.grad, **near)


def test_padding_alone_is_hidden_by_one_row(rows: TokenRows, padding: Padding, model: Callable[..., Any]) -> None:
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    seen = torch.tensor([[True, True, False]])
    given = {"batch_size": 1, "q_length": 3, "kv_length": 3, "attention_mask": seen}
    one = dropout_module._mask(**given, mask_function=bidirectional_mask_function)
    assert one.stride(-2) == 0
    assert one.tolist() == [[[[True, True, False]] * 3]]
    other = dropout_module._mask(**given, mask_function=causal_mask_function)
    assert other.tolist() == [[[[True, False, False], [True, True, False], [True, True, False]]]]
    # And transformers names the function when it asks for the mask.
    cheap = model()
    use_threshold_dropout(cheap)
    masks = []
    cheap.base_model.encoder.layer[0].attention.self.register_forward_pre_hook(
        lambda module, args, kwargs: masks.append(kwargs.get("attention_mask", args[1] if len(args) > 1 else None)),
        with_kwargs=True,
    )
    cheap.train()(**collate(rows, range(6), padding, pin=False))
    assert len(masks) == 1
    assert masks[0].stride(-2) == 0


def test_the_last_layer_needs_the_first_token_alone(
    model: Callable[..., Any], rows: TokenRows, padding: Padding
) -> None:
    batch = collate(rows, range(10), padding, pin=False)
    whole, first = model().eval(), model().eval()
    use_first_token_only(first)
    outputs = [each(**batch, output_hidden_states=False) for each in (whole, first)]
    assert torch.allclose(outputs[0].logits, outputs[1].logits, atol=1e-6)
    assert first.base_model(**{k: v for k, v in batch.items() if k != "labels"}).last_hidden_state.shape[1] == 1
    for output in outputs:
        output.loss.backward()
    for (name, one), (_, other) in zip(whole.named_parameters(), first.named_parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name
    use_all_tokens(first)
    assert first.base_model(**{k: v for k, v in batch.items() if k != "labels"}).last_hidden_state.shape[1] > 1


def test_models_whose_heads_read_more_keep_all_tokens() -> None:
    config = transformers.DistilBertConfig(vocab_size=30, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    other = transformers.DistilBertForSequenceClassification(config)
    given = arguments(last_layer="first_token")
    assert set_up(other, arguments(), choose(arguments(), CPU))[1]["last_layer"].value == "all_tokens"
    with pytest.raises(InputError, match="--last_layer first_token: not for this model"):
        set_up(other, given, choose(given, CPU))


def test_flash_attention_is_given_the_real_tokens_alone(
    model: Callable[..., Any], rows: TokenRows, padding: Padding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernels are for GPUs; here a stand-in of theirs sees what a batch of ours becomes."""
    from transformers import modeling_flash_attention_utils as flash

    seen: list[int] = []

    def varlen(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cu_seqlens_q: torch.Tensor,
        cu_seqlens_k: torch.Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
    ) -> torch.Tensor:
        """Take all rows' tokens one after the other, shape (tokens, heads, size), and where each row begins."""
        assert not causal
        seen.append(len(q))
        ends = cu_seqlens_q.tolist()
        parts = []
        for start, end in itertools.pairwise(ends):
            row = [each[start:end].transpose(0, 1) for each in (q, k, v)]
            parts.append(torch.nn.functional.scaled_dot_product_attention(*row, scale=softmax_scale).transpose(0, 1))
        return torch.cat(parts)

    functions = (None, varlen, None, flash._pad_input, flash._unpad_input)
    process = flash._lazy_define_process_function(varlen)
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda *given, **more: (functions, (process, dict)))
    plain, ours = model().eval(), model().eval()
    ours.config._attn_implementation_internal = "flash_attention_2"  # past the check for a GPU
    batch = collate(rows, range(12), padding, pin=False)
    real = int(rows.lengths[:12].sum())
    assert real < batch["input_ids"].numel()
    outputs = [each(**batch) for each in (plain, ours)]
    assert seen == [real]
    assert torch.allclose(outputs[0].logits, outputs[1].logits, atol=1e-5)
    for output in outputs:
        output.loss.backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), ours.named_parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5), name


def test_batches_are_pinned_where_asked(rows: TokenRows, padding: Padding, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Size] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.shape)
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = collate(rows, range(3), padding, pin=False)
    assert not pinned
    collate(rows, range(3), padding, pin=True)
    assert pinned == [tensor.shape for tensor in batch.values()]


def test_fp16_scales_the_loss_and_takes_it_back(
    model: Callable[..., Any], rows: TokenRows, padding: Padding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, whose scaler is the GPU's; what overflows changes no weight and halves the scale."""
    network = model().eval()
    given = arguments(precision="fp16", max_grad_norm=1e9)
    stepper = Stepper(network, make_optimizer(network, given, True), rows, padding, given, "fp16", ALONE, HEAD)
    plain = Stepper(network, make_optimizer(network, given, True), rows, padding, given, "fp32", ALONE, HEAD)
    batch = np.arange(8)
    scale = stepper.scaler.get_scale()
    assert scale > 1
    expected = plain.take(batch, 0, 0.0)
    taken = stepper.take(batch, 0, 0.0)
    assert taken.loss == pytest.approx(expected.loss, rel=0.01)
    assert taken.gradient_norm == pytest.approx(expected.gradient_norm, rel=0.05)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    stepper.scaler.update(1e38)
    assert not np.isfinite(stepper.take(batch, 1, 0.1).gradient_norm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.named_parameters())
    assert stepper.scaler.get_scale() == pytest.approx(5e37)


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_accumulation_changes_nothing_but_rounding(
    micro_batch: int, message_dataset: Path, tiny_checkpoint: Path, rows: TokenRows, padding: Padding
) -> None:
    manifest = read_manifest(message_dataset)
    results = []
    for size in (8, micro_batch):
        transformers.set_seed(0)
        network = load_model(tiny_checkpoint, "tiny", task_named(manifest.task), manifest, "sdpa")
        given = arguments(per_device_train_batch_size=size, global_batch_size=8)
        results.append(take_steps(network, rows, padding, given))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    for name, tensor in results[0][1].items():
        if not name.endswith("key.bias"):
            assert torch.allclose(tensor, results[1][1][name], atol=1e-4), name


def test_memory_that_is_too_small_halves_the_batch(
    model: Callable[..., Any], rows: TokenRows, padding: Padding, caplog: pytest.LogCaptureFixture
) -> None:
    network = model()
    forward = network.forward

    def too_much(**batch: torch.Tensor) -> Any:
        if len(batch["input_ids"]) > 2:
            raise torch.OutOfMemoryError("tried to allocate")
        return forward(**batch)

    network.forward = too_much
    losses, _, stepper = take_steps(network, rows, padding, arguments(per_device_train_batch_size=8), steps=1)
    assert stepper.micro_batch == 2
    assert losses[0] > 0
    assert "4 rows at a time do not fit the memory; from here on 2" in caplog.text

    def far_too_much(**batch: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("tried to allocate")

    network.forward = far_too_much
    with pytest.raises(InputError, match="not even one row at a time fits the memory; take a smaller checkpoint"):
        stepper.take(np.arange(8), 0, 0.01)
    two = Stepper(
        *(network, make_optimizer(network, arguments(), True), rows, padding, arguments(), "fp32"),
        *(Processes(0, 2, torch.device("cpu")), HEAD),
    )
    with pytest.raises(InputError, match="32 rows at a time do not fit the memory; 16 may: --per_device_train_batch"):
        two._lower_batch(torch.OutOfMemoryError("tried to allocate"))


def test_autocast_computes_in_the_format_and_keeps_fp32_weights(
    model: Callable[..., Any], rows: TokenRows, padding: Padding
) -> None:
    network = model()
    seen = []
    network.base_model.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    _, after, _ = take_steps(network, rows, padding, arguments(precision="bf16"), steps=1)
    assert seen == [torch.bfloat16]
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert isinstance(autocast("fp16", torch.device("cpu")), torch.autocast)


def test_gradient_checkpointing_computes_activations_twice_and_the_same(
    model: Callable[..., Any], rows: TokenRows, padding: Padding
) -> None:
    results, forwards = [], []
    for switch in ("never", "always"):
        given = arguments(gradient_checkpointing=switch)
        network, _ = set_up(model(), given, choose(given, CPU))
        forwards.append(0)

        def count(*ignored: Any) -> None:
            forwards[-1] += 1

        network.base_model.encoder.layer[0].output.dense.register_forward_hook(count)
        results.append(take_steps(network, rows, padding, given, steps=1))
    assert forwards == [1, 2]
    assert results[0][0] == results[1][0]
    assert all(torch.equal(tensor, results[1][1][name]) for name, tensor in results[0][1].items())


def test_frozen_layers_stay_as_they_are(model: Callable[..., Any], rows: TokenRows, padding: Padding) -> None:
    given = arguments(freeze_layers=1)
    before = {name: each.detach().clone() for name, each in model().named_parameters()}
    network, done = set_up(model(), given, choose(given, CPU))
    _, after, _ = take_steps(network, rows, padding, given)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if "embeddings" in name or "layer.0." in name]
    assert done["frozen"].value.split()[0] != "0"
    with pytest.raises(InputError, match="--freeze_layers 5: the model has 1 layers"):
        set_up(model(), replace(given, freeze_layers=5), choose(given, CPU))


def test_adapters_learn_alone_and_are_merged_when_saved(
    model: Callable[..., Any], rows: TokenRows, padding: Padding
) -> None:
    given = arguments(lora_rank=4, learning_rate=0.05)
    before = {name: each.detach().clone() for name, each in model().named_parameters()}
    network, done = set_up(model(), given, choose(given, CPU))
    assert "rank 4" in done["lora"].value
    trained = trained_parameters(network)
    assert any("lora_A" in name for name in trained)
    assert any("classifier" in name for name in trained)
    assert not any("word_embeddings" in name for name in trained)
    take_steps(network, rows, padding, given, steps=3)
    batch = collate(rows, range(5), padding, pin=False)
    network.eval()
    with torch.inference_mode():
        expected = network(**batch).logits
        merged = to_save(network)
        assert torch.allclose(merged(**batch).logits, expected, atol=1e-5)
    assert type(merged) is type(model())
    assert merged.state_dict().keys() == model().state_dict().keys()
    changed = {name for name, each in merged.named_parameters() if not torch.equal(before[name], each)}
    assert any("query" in name for name in changed)
    assert not any("embeddings" in name for name in changed)


@pytest.mark.parametrize("kind", ["native", "threshold"])
def test_the_adapters_own_dropout_is_of_the_kind_asked_for(model: Callable[..., Any], kind: str) -> None:
    given = arguments(lora_rank=4, lora_dropout=0.3, dropout=kind)
    network, _ = set_up(model(), given, choose(given, CPU))
    kinds = {type(each) for name, each in network.named_modules() if name.endswith("lora_dropout.default")}
    assert kinds == {torch.nn.Dropout if kind == "native" else ThresholdDropout}
    assert all(each.p == 0.3 for name, each in network.named_modules() if name.endswith("lora_dropout.default"))


def test_every_row_falls_on_one_process_and_every_process_has_its_turns() -> None:
    batch = np.arange(100, 121)
    for processes in (1, 2, 3):
        for micro in (1, 4, 32):
            all_shares = [shares(batch, micro, rank, processes) for rank in range(processes)]
            assert len({len(each) for each in all_shares}) == 1
            seen = [row for each in all_shares for share in each for row in share.rows if share.counts]
            assert seen == batch.tolist()
            assert all(0 < len(share.rows) <= micro for each in all_shares for share in each)
    lonely = [shares(batch[:1], 8, rank, 3) for rank in range(3)]
    assert [share.counts for each in lonely for share in each] == [True, False, False]


def test_a_schedule_ends_where_the_trainers_does() -> None:
    schedule = Schedule.of(arguments(num_train_epochs=2.5, per_device_train_batch_size=8), 36, 1)
    assert (schedule.steps_in_epoch, schedule.steps) == (5, 13)
    assert [step for step in range(20) if schedule.evaluation_due(step)][:3] == [5, 10, 13]
    assert Schedule.of(arguments(max_steps=4, global_batch_size=16), 36, 2).batch_size == 16
    with pytest.raises(InputError, match="--global_batch_size 9: expected a multiple of the 2 processes"):
        Schedule.of(arguments(global_batch_size=9), 36, 2)
    with pytest.raises(InputError, match="no training step can be taken: 0 rows"):
        Schedule.of(arguments(), 0, 1)


def test_a_rising_loss_ends_the_run() -> None:
    first: list[float] = []
    watch = DivergenceWatch(4.0, 1e-3, first)
    for step in range(40):
        watch.see(0.7, step)
    assert first == [0.7] * 20
    with pytest.raises(InputError, match=r"the loss of the last 20 steps before step \d+ is .*--divergence_factor 4"):
        [watch.see(5.0, step) for step in range(40, 60)]
    # A run that goes on compares with what it began with.
    with pytest.raises(InputError, match="the loss is nan at step 3; lower --learning_rate"):
        DivergenceWatch(4.0, 1e-3, first).see(float("nan"), 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lora_rank", 0), ("checkpoint_seconds", 0.0), ("label_smoothing_factor", 1.0), ("weight_decay", -0.1)],
)
def test_other_amounts_are_refused_too(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"--{name} {value}: expected"):
        check_arguments(arguments(**{name: value}))


def test_chance_depends_on_seed_step_and_process() -> None:
    def draw(*place: int) -> tuple[float, ...]:
        import random

        seed_chance(*place)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)}) == 4


@pytest.mark.parametrize("kept", [True, False])
def test_freed_memory_is_not_made_anew(kept: bool) -> None:
    script = """
import ctypes, resource, sys
from finetune.training.memory import keep_freed_memory
if sys.argv[1] == "True":
    assert keep_freed_memory()
take = lambda: ctypes.memset(memory := libc.malloc(1 << 26), 1, 1 << 26) and libc.free(ctypes.c_void_p(memory))
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.restype = ctypes.c_int
libc.memset.restype = ctypes.c_void_p
ctypes.memset(libc.malloc(64), 0, 64)
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", script, str(kept)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    pages = 5 * (1 << 26) // 4096
    # Huge pages need fewer faults; without them there is one for each page.
    assert int(done.stdout) < pages // 100 if kept else int(done.stdout) > 100
