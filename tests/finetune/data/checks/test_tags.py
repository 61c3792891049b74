import random

import pytest
from seqeval.metrics.sequence_labeling import get_entities

from finetune.data.checks.tags import stray_tags, tag_order, with_begins


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


def bio2(chance: random.Random) -> list[str]:
    tags = list[str]()
    for _ in range(chance.randint(1, 6)):
        kind = chance.choice(["PER", "LOC", None])
        tags += ["O"] if kind is None else [f"B-{kind}", *[f"I-{kind}"] * chance.randint(0, 2)]
    return tags


def test_bio2_comes_back_from_iob1_and_is_measured_alike() -> None:
    chance = random.Random(3)
    rows = [bio2(chance) for _ in range(2000)]
    assert not tag_order([" ".join(tags) for tags in rows]).mask.any()
    old = [" ".join(iob1(tags)) for tags in rows]
    assert tag_order(old).mask.sum() == sum(any(tag != "O" for tag in tags) for tags in rows) > 1000
    assert [with_begins(label).split() for label in old] == rows
    assert all(get_entities(label.split()) == get_entities(tags) for label, tags in zip(old, rows, strict=True))
