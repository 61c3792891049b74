import gzip
import json
from pathlib import Path

import pytest
from seqeval.metrics.sequence_labeling import get_entities

from finetune.data.checks.tags import stray_tags, tag_order, with_begins

CONLL = Path(__file__).parents[5] / "shared" / "data" / "conll2003" / "train.jsonl.gz"


@pytest.mark.parametrize(
    ("tags", "stray", "repaired"),
    [
        ("O B-PER I-PER O", [], "O B-PER I-PER O"),
        ("I-PER I-PER O I-LOC", [0, 3], "B-PER I-PER O B-LOC"),
        ("B-LOC I-PER", [1], "B-LOC B-PER"),
        ("I-PER B-PER I-PER", [0], "B-PER B-PER I-PER"),
        ("B-PER I-PER E-PER S-LOC", [], "B-PER I-PER E-PER S-LOC"),
        ("O E-PER S-PER I-PER", [1, 3], "O S-PER S-PER B-PER"),
        ("O", [], "O"),
    ],
)
def test_what_goes_on_with_nothing_is_found_and_made_a_beginning(tags: str, stray: list[int], repaired: str) -> None:
    assert stray_tags(tags.split()) == stray
    assert with_begins(tags) == repaired
    assert stray_tags(repaired.split()) == []


def iob1(tags: list[str]) -> list[str]:
    """Write BIO2 as IOB1: B- only where an entity of the same type ends right before."""
    before = ["O", *tags]
    return [f"I-{tag[2:]}" if tag[0] == "B" and before[i][2:] != tag[2:] else tag for i, tag in enumerate(tags)]


def test_real_tags_come_back_from_iob1() -> None:
    if not CONLL.is_file():
        pytest.skip(f"{CONLL} is not there")
    with gzip.open(CONLL, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line)["ner_tags"] for line in lines]
    assert not tag_order([" ".join(tags) for tags in rows]).mask.any()
    old = [" ".join(iob1(tags)) for tags in rows]
    found = tag_order(old)
    assert found.mask.sum() == sum(any(tag != "O" for tag in tags) for tags in rows)
    assert [with_begins(label).split() for label in old] == rows
    # What is measured does not change with it.
    assert all(get_entities(label.split()) == get_entities(tags) for label, tags in zip(old, rows, strict=True))
