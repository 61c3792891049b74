import numpy as np
import pytest
from seqeval import metrics as seqeval

from finetune.metrics.entities import entity_counts, entity_metrics, entity_types, per_type_metrics

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def random_tags(seed: int) -> list[list[str]]:
    chance = np.random.default_rng(seed)
    return [list(chance.choice(TAGS, size)) for size in chance.integers(1, 12, 40)]


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_seqevals(seed: int) -> None:
    true, other = random_tags(seed), random_tags(seed + 100)
    chance = np.random.default_rng(seed)
    predicted = [
        [right if chance.random() < 0.7 else wrong for right, wrong in zip(row, (wrong * 12)[: len(row)], strict=True)]
        for row, wrong in zip(true, other, strict=True)
    ]
    types = entity_types(TAGS)
    assert types == ("LOC", "PER")
    counts = entity_counts(types, true, predicted)
    measured = entity_metrics(counts)
    assert measured["f1"] == pytest.approx(seqeval.f1_score(true, predicted))
    assert measured["precision"] == pytest.approx(seqeval.precision_score(true, predicted))
    assert measured["recall"] == pytest.approx(seqeval.recall_score(true, predicted))
    assert measured["f1_macro"] == pytest.approx(seqeval.f1_score(true, predicted, average="macro"))
    assert measured["accuracy"] == pytest.approx(seqeval.accuracy_score(true, predicted))
    report = seqeval.classification_report(true, predicted, output_dict=True)
    for row in per_type_metrics(types, counts):
        assert row["f1"] == pytest.approx(report[row["label"]]["f1-score"])
        assert row["support"] == report[row["label"]]["support"]


def test_without_entities_nothing_is_divided_by() -> None:
    counts = entity_counts(("PER",), [["O", "O"]], [["O", "O"]])
    assert entity_metrics(counts) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "f1_macro": 0.0, "accuracy": 1.0}
    assert per_type_metrics(("PER",), counts)[0]["f1"] is None
