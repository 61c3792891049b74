"""Fixtures for all tests: a checkpoint and a data set that are made here and trained in seconds."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from problem_data import train_problem
from support import MESSAGES, WORDS, train_model, write_csv

from finetune.data.prepare import PrepareRequest, prepare


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take minutes first, so that no worker begins one when the others are done."""
    long = {item.path for item in items if item.get_closest_marker("story") is not None}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests off the network and out of the tracking store of whoever runs them."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with random weights, and a word tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("tiny-checkpoint")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    ).save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def message_rows() -> list[tuple[str, str]]:
    """(text, label) rows of three intents, 20 of each, none twice."""
    return [
        (f"{message} {WORDS[i]}", label)
        for label, messages in MESSAGES.items()
        for message in messages
        for i in range(5)
    ]


@pytest.fixture(scope="session")
def message_data(tmp_path_factory: pytest.TempPathFactory, message_rows: list[tuple[str, str]]) -> Path:
    """A folder with train.csv alone."""
    folder = tmp_path_factory.mktemp("messages")
    write_csv(folder / "train.csv", message_rows)
    return folder


@pytest.fixture(scope="session")
def prepare_request(message_data: Path, tiny_checkpoint: Path) -> PrepareRequest:
    """What prep is asked for `message_data`."""
    return PrepareRequest(
        task="text-classification",
        source=message_data,
        source_columns={"text": "text", "text_pair": "text_pair"},
        label_column="label",
        label_mapping="as-is",
        checkpoint=str(tiny_checkpoint),
        max_length=None,
        validation_share=0.2,
        test_share=0.2,
        seed=1,
    )


@pytest.fixture(scope="session")
def message_dataset(tmp_path_factory: pytest.TempPathFactory, prepare_request: PrepareRequest) -> Path:
    """What prep makes of `message_data`."""
    folder = tmp_path_factory.mktemp("dataset")
    prepare(prepare_request, folder)
    return folder


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory, message_dataset: Path, tiny_checkpoint: Path) -> Path:
    """The model folder that train makes of `message_dataset`; it has learnt the three intents."""
    return train_model(
        tmp_path_factory.mktemp("trained"), message_dataset, tiny_checkpoint, learning_rate="0.005", epochs="20"
    )


@pytest.fixture(scope="session")
def trained_problem(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Callable[[str], Path]:
    """Problem → a folder with dataset and model, made when it is first asked for."""
    return cache(lambda problem: train_problem(tmp_path_factory.mktemp(problem), problem, tiny_checkpoint))
