import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from support import write_csv

from finetune.data.encoders import encode_classes
from finetune.data.manifest import examples_sha256, read_manifest
from finetune.data.prepare import PrepareRequest, prepare
from finetune.data.tokenise import TokenCounter, TokenLengths, load_tokenizer, resolve_max_length, tokenise, write_arrow
from finetune.errors import InputError


def test_the_folder_holds_what_the_manifest_says(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    manifest = prepare(prepare_request, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert manifest.labels == ("account", "billing", "delivery")
    assert {split: summary.rows for split, summary in manifest.splits.items()} == {
        **{"train": 36, "validation": 12, "test": 12}
    }
    test = pd.read_parquet(tmp_path / "test.parquet")
    assert manifest.splits["test"].sha256 == examples_sha256(test)
    assert list(test.columns) == ["text", "label", "seen_in_train"]
    train = datasets.Dataset.from_file(str(tmp_path / "train.arrow"))
    assert len(train) == 36
    tokenizer = load_tokenizer(Path(prepare_request.checkpoint))
    row = train[0]
    assert row["length"] == len(row["input_ids"])
    assert tokenizer.decode(row["input_ids"]).startswith("[CLS] ")
    assert {manifest.labels[i] for i in train["labels"]} == set(manifest.labels)


def test_the_same_request_gives_the_same_bytes(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare(prepare_request, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["dataset.json", "test.parquet", "train.arrow", "validation.arrow"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_another_seed_gives_other_splits_and_digests(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    one, two = (prepare(replace(prepare_request, seed=seed), tmp_path / str(seed)) for seed in (1, 2))
    assert one.splits["test"].sha256 != two.splits["test"].sha256


def test_pairs_are_tokenised_together(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    rows = [(f"my order {i}", "the parcel", "yes" if i % 2 else "no") for i in range(20)]
    write_csv(tmp_path / "data" / "train.csv", rows, ("a", "b", "same"))
    request = replace(
        prepare_request,
        task="text-pair-classification",
        source=tmp_path / "data",
        source_columns={"text": "a", "text_pair": "b"},
        label_column="same",
    )
    manifest = prepare(request, tmp_path / "out")
    assert manifest.text_columns == ("text", "text_pair")
    row = datasets.Dataset.from_file(str(tmp_path / "out" / "train.arrow"))[0]
    assert load_tokenizer(Path(request.checkpoint)).decode(row["input_ids"]).endswith("[SEP] the parcel [SEP]")


def test_truncation_is_counted_and_exact(tiny_checkpoint: Path) -> None:
    frame = pd.DataFrame({"text": ["my order", "my order is late", "the parcel"], "label": ["a", "b", "a"]})
    counter = TokenCounter(load_tokenizer(tiny_checkpoint), max_length=4)
    encode = partial(encode_classes, text_columns=["text"], labels=["a", "b"], counter=counter)
    table = pa.Table.from_batches(tokenise(frame, encode))
    assert table.column("length").to_pylist() == [4, 4, 4]
    assert counter.counted() == TokenLengths(4.0, 6, pytest.approx(1 / 3), {"4": 2, "8": 1})
    assert table.column("labels").to_pylist() == [0, 1, 0]


def test_the_tokens_of_few_batches_are_in_memory_at_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["my parcel order is late the money was not charged"] * 30_000, "label": "a"})
    counter, held, sizes = TokenCounter(load_tokenizer(tiny_checkpoint), max_length=16), [], []

    def watched() -> Iterator[pa.RecordBatch]:
        before = pa.total_allocated_bytes()
        encode = partial(encode_classes, text_columns=["text"], labels=["a"], counter=counter)
        for batch in tokenise(frame, encode):
            held.append(pa.total_allocated_bytes() - before)
            sizes.append(batch.nbytes)
            yield batch

    write_arrow(watched(), tmp_path / "train.arrow")
    assert len(sizes) == 30
    assert max(held) < 4 * max(sizes)
    assert (tmp_path / "train.arrow").stat().st_size > 25 * max(sizes)


def test_more_tokens_than_the_model_has_positions_are_refused(tiny_checkpoint: Path) -> None:
    from transformers import AutoConfig

    tokenizer, config = load_tokenizer(tiny_checkpoint), AutoConfig.from_pretrained(tiny_checkpoint)
    assert resolve_max_length(None, tokenizer, config) == 32
    with pytest.raises(InputError, match="--max_length 33: the checkpoint takes 1 to 32 tokens"):
        resolve_max_length(33, tokenizer, config)


def test_an_unknown_task_is_refused(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--task poetry: unknown; expected one of text-classification"):
        prepare(replace(prepare_request, task="poetry"), tmp_path)


def test_a_failed_prep_leaves_no_manifest(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        prepare(replace(prepare_request, checkpoint=str(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 0}, "format 0; expected 5"), ({"splits": 3}, "expected the manifest"), ({"more": 1}, "more")],
)
def test_a_broken_manifest_is_refused(message_dataset: Path, tmp_path: Path, change: dict, message: str) -> None:
    value = json.loads((message_dataset / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**value, **change}))
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)
