"""Checkpoints of many architectures, made here with random weights: every head trains, answers alike alone and in a
batch, and is saved.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from problem_data import TASKS_OF, prepare_problem
from support import WORDS

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.tasks import task_named
from finetune.training.arguments import TrainArguments
from finetune.training.batches import Padding, TokenRows, collate
from finetune.training.choices import Choice, Hardware, choose
from finetune.training.model_folder import checkpoint_writer, save_model_folder
from finetune.training.network import load_for_training, set_up, settle_attention, to_save
from finetune.training.optimisation import make_optimizer
from finetune.training.problems import answered, head_of
from finetune.training.processes import Processes
from finetune.training.step import Stepper

ALONE = Processes(0, 1, torch.device("cpu"))
CPU = Hardware(cuda=False, cpu_flags=frozenset(), flash_attention=False)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS: dict[str, Callable[[int], Any]] = {
    "bert": lambda words: transformers.BertConfig(vocab_size=words, max_position_embeddings=64, **SIZES),
    "roberta": lambda words: transformers.RobertaConfig(
        vocab_size=words, max_position_embeddings=66, pad_token_id=1, type_vocab_size=1, **SIZES
    ),
    "distilbert": lambda words: transformers.DistilBertConfig(
        vocab_size=words, max_position_embeddings=64, dim=16, hidden_dim=32, n_layers=2, n_heads=2
    ),
    "electra": lambda words: transformers.ElectraConfig(
        vocab_size=words, max_position_embeddings=64, embedding_size=16, **SIZES
    ),
    "deberta-v2": lambda words: transformers.DebertaV2Config(
        vocab_size=words, max_position_embeddings=64, relative_attention=True, pos_att_type=["p2c", "c2p"], **SIZES
    ),
    "modernbert": lambda words: transformers.ModernBertConfig(
        vocab_size=words, max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2,
        sep_token_id=3, **SIZES
    ),
    "gpt2": lambda words: transformers.GPT2Config(
        vocab_size=words, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    ),
    "openai-gpt": lambda words: transformers.OpenAIGPTConfig(
        vocab_size=words, n_positions=64, n_embd=16, n_layer=1, n_head=2
    ),
}  # fmt: skip


def save_tokenizer(folder: Path, kind: str) -> int:
    """Save a tokenizer as the architecture has it; return the words of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    if kind in ("gpt2", "openai-gpt"):
        # Bytes, the space before a word as part of its token; no padding token, and nothing around a text.
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([" ".join(WORDS)] * 10, trainer)
        more: dict[str, Any] = {"eos_token": "<|endoftext|>", "model_input_names": ["input_ids", "attention_mask"]}
    else:
        specials = (
            ["<s>", "<pad>", "[CLS]", "[SEP]", "[UNK]"] if kind == "roberta" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        )
        vocabulary = {token: i for i, token in enumerate([*specials, *WORDS])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
        names = ["input_ids", "attention_mask"]
        if kind in ("bert", "electra", "deberta-v2"):
            names.append("token_type_ids")
        more = {
            **{"pad_token": "<pad>" if kind == "roberta" else "[PAD]", "unk_token": "[UNK]"},
            **{"cls_token": "[CLS]", "sep_token": "[SEP]", "model_input_names": names},
        }
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=48, **more)
    made.save_pretrained(folder)
    return len(made)


def checkpoint_of(folder: Path, kind: str) -> Path:
    transformers.set_seed(0)
    config = CONFIGS[kind](save_tokenizer(folder, kind))
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def loaded(dataset: Path, checkpoint: Path, problem: str) -> tuple[Any, Any]:
    task = task_named(TASKS_OF[problem])
    kernel = settle_attention(str(checkpoint), task, "auto", Choice("sdpa", "")).value
    transformers.set_seed(0)
    return load_for_training(str(checkpoint), task, read_manifest(dataset), kernel)


def near(found: Any, expected: Any) -> bool:
    """Tell whether two answers are the same but for rounding."""
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(near(found[key], expected[key]) for key in found)
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    return bool(found == (pytest.approx(expected, abs=1e-4) if isinstance(found, float) else expected))


def arguments(**more: Any) -> TrainArguments:
    return TrainArguments("d", "m", "c", precision="fp32", learning_rate=0.003, per_device_train_batch_size=8, **more)


def steps(model: Any, tokenizer: Any, dataset: Path, problem: str, count: int, given: TrainArguments) -> list[float]:
    rows = TokenRows(dataset / "train.arrow")
    optimizer = make_optimizer(model, given, fused=True)
    head = head_of(task_named(TASKS_OF[problem]))
    stepper = Stepper(model.train(), optimizer, rows, Padding.of(tokenizer), given, "fp32", ALONE, head)
    return [stepper.take(np.arange(8), 0, given.learning_rate).loss for _ in range(count)]


@pytest.mark.parametrize("problem", ["single_label", "token_labels", "answer_spans"])
@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind != "openai-gpt"])
def test_every_head_trains_answers_alone_as_in_a_batch_and_is_saved(kind: str, problem: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", kind)
    dataset = prepare_problem(tmp_path, problem, checkpoint, max_length=48)
    tokenizer, model = loaded(dataset, checkpoint, problem)
    assert model.config.pad_token_id == tokenizer.pad_token_id is not None
    given = arguments()
    model, done = set_up(model, given, choose(given, CPU))
    if problem != "single_label":
        assert done["last_layer"].value == "all_tokens"
    losses = steps(model, tokenizer, dataset, problem, 6, given)
    assert losses[-1] < losses[0]
    rows = TokenRows(dataset / "validation.arrow")
    short, long = int(rows.lengths.argmin()), int(rows.lengths.argmax())
    head, padding = head_of(task_named(TASKS_OF[problem])), Padding.of(tokenizer)
    with torch.inference_mode():
        model.eval()
        together, alone = (
            answered(model, collate(rows, indices, padding, pin=False), head) for indices in ([short, long], [short])
        )
    for pair, one in zip(together, alone, strict=True):
        assert torch.allclose(pair[0][: one.shape[1]] if head.per_token else pair[0], one[0], atol=1e-4)
    if problem == "single_label" or kind == "gpt2":
        task, manifest = task_named(TASKS_OF[problem]), read_manifest(dataset)
        save_model_folder(tmp_path / "model", checkpoint_writer(to_save(model), tokenizer), task, manifest)
        served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
        frame = pd.read_parquet(dataset / "test.parquet")[list(task.text_columns)].head(5)
        whole = served.predict(frame)
        for place in range(5):
            one = served.predict(frame.iloc[[place]])
            for column in whole:
                expected, found = whole[column][place], one[column][0]
                assert near(found, expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_decoder_reads_the_last_token_whichever_side_its_tokenizer_pads(side: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", "gpt2")
    file = checkpoint / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": side}))
    dataset = prepare_problem(tmp_path, "single_label", checkpoint)
    tokenizer, model = loaded(dataset, checkpoint, "single_label")
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("right", "<|endoftext|>")
    rows, padding = TokenRows(dataset / "train.arrow"), Padding.of(tokenizer)
    head = head_of(task_named("text-classification"))
    with torch.inference_mode():
        model.eval()
        batch = collate(rows, range(8), padding, pin=False)
        (together,) = answered(model, batch, head)
        hidden = model.transformer(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    last = rows.lengths[:8] - 1
    assert torch.allclose(together, model.score(hidden[torch.arange(8), torch.as_tensor(last, dtype=torch.long)]))


@pytest.mark.parametrize("kind", ["gpt2", "distilbert", "modernbert", "deberta-v2"])
def test_adapters_and_frozen_layers_work_on_other_architectures(kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", kind)
    dataset = prepare_problem(tmp_path, "token_labels", checkpoint)
    for given in (arguments(lora_rank=2), arguments(freeze_layers=1)):
        tokenizer, plain = loaded(dataset, checkpoint, "token_labels")
        before = {name: each.detach().clone() for name, each in plain.named_parameters()}
        model, _ = set_up(plain, given, choose(given, CPU))
        losses = steps(model, tokenizer, dataset, "token_labels", 3, given)
        assert losses[-1] < losses[0]
        saved = to_save(model)
        assert type(saved) is type(plain)
        changed = {name for name, each in saved.named_parameters() if not torch.equal(before[name], each)}
        head = {name for name in before if not name.startswith(f"{saved.base_model_prefix}.")}
        assert changed & head
        tables = {name for name, each in before.items() if "emb" in name or "wte" in name or "wpe" in name}
        assert not {name for name in changed & tables if "rel_embeddings" not in name}


def test_an_architecture_without_the_head_is_one_message(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", "openai-gpt")
    dataset = prepare_problem(tmp_path, "token_labels", checkpoint)
    with pytest.raises(InputError, match="openai-gpt has no ModelForTokenClassification, which the task token-class"):
        loaded(dataset, checkpoint, "token_labels")


def test_an_attention_kernel_that_the_architecture_lacks_is_chosen_by_nobody(tmp_path: Path) -> None:
    checkpoint = str(checkpoint_of(tmp_path / "checkpoint", "deberta-v2"))
    task, choice = task_named("cola"), Choice("sdpa", "FlashAttention needs a GPU")
    found = settle_attention(checkpoint, task, "auto", choice)
    assert found == Choice("eager", "DebertaV2ForSequenceClassification has no sdpa")
    assert settle_attention(checkpoint, task, "sdpa", choice) == choice


def test_roberta_has_fewer_positions_than_its_table(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", "roberta")
    with pytest.raises(InputError, match="--max_length 65: the checkpoint takes 1 to 64 tokens"):
        prepare_problem(tmp_path, "single_label", checkpoint, max_length=65)


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "checkpoint", "gpt2")
    file = checkpoint / "tokenizer_config.json"
    config = {name: value for name, value in json.loads(file.read_text()).items() if name != "eos_token"}
    file.write_text(json.dumps(config))
    dataset = prepare_problem(tmp_path, "single_label", checkpoint)
    with pytest.raises(InputError, match="its tokenizer has neither a padding nor an end token"):
        loaded(dataset, checkpoint, "single_label")
