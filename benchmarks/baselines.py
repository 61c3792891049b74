"""What a model without a network reaches on the same rows: figures to read a fine-tuned model's beside."""

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from transformers import AutoTokenizer

from finetune.checkpoints import resolve_checkpoint
from finetune.data.label_texts import read_spans
from finetune.data.manifest import LABEL, TEST_FILE, DatasetManifest, read_manifest
from finetune.metrics.classification import classification_metrics
from finetune.metrics.entities import entity_counts, entity_metrics, entity_types
from finetune.metrics.extraction import extraction_metrics, extraction_scores
from finetune.metrics.regression import regression_metrics

Baseline = Callable[[Path, Path], Mapping[str, float]]
"""(folder that prep wrote, folder of the source) → metrics on the test split."""


def tfidf_classifier(dataset: Path, source: Path) -> Mapping[str, float]:
    """Return the metrics of a logistic regression over TF-IDF of words and pairs of words."""
    manifest, train, test = _texts(dataset)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=10, max_iter=1000).fit(vectorizer.fit_transform(train["text"]), train["labels"])
    probabilities = model.predict_proba(vectorizer.transform(test["text"]))
    labels = list(manifest.labels)
    return classification_metrics(labels, np.array([labels.index(each) for each in test[LABEL]]), probabilities)


def tfidf_regressor(dataset: Path, source: Path) -> Mapping[str, float]:
    """Return the metrics of a ridge regression over TF-IDF, and the words that both texts share."""
    _, train, test = _texts(dataset)
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    vectorizer.fit(train["text"])

    def features(frame: pd.DataFrame) -> np.ndarray:
        sides = [vectorizer.transform(frame[side]) for side in ("first", "second")]
        return np.asarray(sides[0].multiply(sides[1]).sum(axis=1)).reshape(-1, 1)

    model = Ridge().fit(features(train), train["labels"])
    return regression_metrics(test[LABEL].astype(float).to_numpy(), model.predict(features(test)))


def most_frequent_tag(dataset: Path, source: Path) -> Mapping[str, float]:
    """Return the metrics of giving each word the tag that it has most often in train; O for words not seen there."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _lines(source / "train.jsonl.gz"):
        for word, tag in zip(row["tokens"], row["ner_tags"], strict=True):
            counts[word][tag] += 1
    test = pd.read_parquet(dataset / TEST_FILE)
    found = [
        [counts[word].most_common(1)[0][0] if word in counts else "O" for word in text.split(" ")]
        for text in test["text"]
    ]
    types = entity_types(read_manifest(dataset).labels)
    return entity_metrics(entity_counts(types, [label.split(" ") for label in test[LABEL]], found))


def nearest_sentence(dataset: Path, source: Path) -> Mapping[str, float]:
    """Return the metrics of answering with the context's sentence that shares most words with the question."""
    test = pd.read_parquet(dataset / TEST_FILE)
    answers = []
    for question, context in zip(test["question"], test["context"], strict=True):
        asked = set(re.findall(r"\w+", question.lower()))
        sentences = re.split(r"(?<=[.!?])\s+", context)
        answers.append(max(sentences, key=lambda sentence: len(asked & set(re.findall(r"\w+", sentence.lower())))))
    accepted = [[span.text for span in read_spans(label)] for label in test[LABEL]]
    return extraction_metrics(extraction_scores(answers, accepted))


def _texts(dataset: Path) -> tuple[DatasetManifest, pd.DataFrame, pd.DataFrame]:
    """Return train and test with one text a row, as the tokenizer has it: prep hands train on as tokens alone."""
    manifest = read_manifest(dataset)
    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(manifest.checkpoint).folder)
    train = Dataset.from_file(str(dataset / "train.arrow")).to_pandas()
    labels: Any = train["labels"]
    if manifest.labels:
        labels = [manifest.labels[i] for i in labels]
    test = pd.read_parquet(dataset / TEST_FILE)
    texts = test[list(manifest.text_columns)].to_numpy().tolist()
    encoded = tokenizer(*map(list, zip(*texts, strict=True)), truncation=True, max_length=manifest.max_length)
    return (
        manifest,
        _sides(tokenizer, train["input_ids"], train["token_type_ids"]).assign(labels=labels),
        _sides(tokenizer, encoded["input_ids"], encoded["token_type_ids"]).assign(**{LABEL: test[LABEL]}),
    )


def _sides(tokenizer: Any, ids: Any, kinds: Any) -> pd.DataFrame:
    both = [(np.asarray(row), np.asarray(kind)) for row, kind in zip(ids, kinds, strict=True)]
    sides = {
        name: tokenizer.batch_decode([row[kind == side] for row, kind in both], skip_special_tokens=True)
        for side, name in enumerate(("first", "second"))
    }
    return pd.DataFrame(sides).assign(text=[f"{a} {b}" for a, b in zip(*sides.values(), strict=True)])


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
