"""What models without a network reach, on data made here."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from support import MESSAGES

from finetune.checkpoints import EMBEDDED_NAME
from finetune.data.manifest import TEST_FILE
from finetune.data.prepare import PrepareRequest, prepare


@pytest.fixture(scope="module")
def baselines(benchmark):
    return benchmark("baselines")


def prepared(folder: Path, task: str, rows: list[dict], **columns: str) -> Path:
    source = folder / "train.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(folder / "train.jsonl.gz", "wt") as stream:
        stream.write(source.read_text())
    request = PrepareRequest(
        task=task,
        source=source,
        source_columns=columns,
        label_column="label" if "label" in rows[0] else "ner_tags",
        label_mapping="as-is",
        checkpoint=EMBEDDED_NAME,
        max_length=64,
        validation_share=0.2,
        test_share=0.2,
        seed=1,
    )
    prepare(request, folder / "dataset")
    return folder / "dataset"


def test_tfidf_learns_words(baselines, tmp_path: Path) -> None:
    rows = [
        {"text": f"{message} number {i}", "label": label}
        for label, messages in MESSAGES.items()
        for message in messages
        for i in range(5)
    ]
    dataset = prepared(tmp_path, "text-classification", rows, text="text")
    assert baselines.tfidf_classifier(dataset, tmp_path)["accuracy"] > 0.9


def test_shared_words_tell_how_alike_texts_are(baselines, tmp_path: Path) -> None:
    words = ["river", "mountain", "coffee", "window", "garden", "winter", "camera", "bridge"]
    rows = [
        {
            "a": " ".join(words[(i + j) % 8] for j in range(4)),
            "b": " ".join(words[(i + j + shift) % 8] for j in range(4)) + f" {i}",
            "label": 4.0 - shift,
        }
        for i in range(20)
        for shift in range(5)
    ]
    dataset = prepared(tmp_path, "text-pair-regression", rows, text="a", text_pair="b")
    assert baselines.tfidf_regressor(dataset, tmp_path)["pearson"] > 0.8


def test_words_get_their_most_frequent_tag(baselines, tmp_path: Path) -> None:
    rows = [
        {"tokens": [name, "went", "to", place, str(i)], "ner_tags": ["B-PER", "O", "O", "B-LOC", "O"]}
        for i in range(20)
        for name, place in (("Anna", "Porto"), ("Bruno", "Geneva"))
    ]
    dataset = prepared(tmp_path, "token-classification", rows, text="tokens")
    assert baselines.most_frequent_tag(dataset, tmp_path)["f1"] == 1.0


def test_the_sentence_that_shares_most_words_is_the_answer(baselines, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "question": ["When did the parcel arrive?"],
            "context": ["It was sent from Porto. The parcel did arrive on Monday."],
            "label": [json.dumps([{"text": "The parcel did arrive on Monday", "start": 24}])],
        }
    )
    frame.to_parquet(tmp_path / TEST_FILE)
    assert baselines.nearest_sentence(tmp_path, tmp_path)["exact_match"] == 1.0
