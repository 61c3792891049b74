import csv
import filecmp
import sys
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def make_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DATA))
    module = __import__("make_sample")
    assert module.__file__.startswith(str(DATA))
    yield module
    sys.modules.pop("make_sample")


def rows(split: str) -> list[dict[str, str]]:
    with (DATA / "customer_messages" / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_shipped_files_are_what_the_script_makes(make_sample, tmp_path: Path) -> None:
    make_sample.write_sample(tmp_path, make_sample.SEED)
    names = [f"{split}.csv" for split in make_sample.ROWS]
    assert filecmp.cmpfiles(DATA / "customer_messages", tmp_path, names, shallow=False) == (names, [], [])


def test_size_and_balance() -> None:
    everything = [row for split in ("train", "validation", "test") for row in rows(split)]
    counts = Counter(row["intent"] for row in everything)
    assert len(everything) >= 1500
    assert len(counts) >= 5
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_no_message_occurs_twice_or_in_two_splits() -> None:
    messages = [row["message"].lower() for split in ("train", "validation", "test") for row in rows(split)]
    assert len(set(messages)) == len(messages)


def test_some_phrasings_and_labels_cannot_be_learnt_by_heart(make_sample) -> None:
    """Validation and test hold phrasings that train lacks, and every split some wrong labels."""
    generator = make_sample.random.Random(0)
    unseen = "something else was billed"
    make_sample.PHRASES["billing"][-1] = unseen
    train = {make_sample._message(generator, "billing", "train") for _ in range(400)}
    test = {make_sample._message(generator, "billing", "test") for _ in range(400)}
    assert not any(unseen in message for message in train)
    assert any(unseen in message for message in test)
    assert 0 < make_sample.LABEL_NOISE < 0.1
