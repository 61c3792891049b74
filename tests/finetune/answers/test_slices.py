import pandas as pd

from finetune.answers.slices import slices
from finetune.data.manifest import DatasetManifest


def manifest(*columns: str, task: str = "text-classification", labels: tuple[str, ...] = ()) -> DatasetManifest:
    return DatasetManifest(task, columns, labels, {}, "tiny", "e" * 64, 32, "made up", "as-is", 1)


def test_slices_are_the_labels_and_thirds_of_length() -> None:
    frame = pd.DataFrame({"text": ["x" * i for i in range(1, 10)], "label": list("aaabbbbbc")})
    masks = slices(frame, manifest("text"))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "label: a": 3,
        "label: b": 5,
        "label: c": 1,
        "length: short": 3,
        "length: medium": 3,
        "length: long": 3,
    }
    assert frame["text"][masks["length: long"]].str.len().min() == 7
    assert set(slices(frame.assign(text="same"), manifest("text"))) == {"label: a", "label: b", "label: c"}
    pairs = frame.assign(other=["y" * (20 - i) for i in range(9)])
    assert set(slices(pairs, manifest("text", "other"))) >= {"label: a"}


def test_slices_are_the_values_of_the_columns_that_prep_kept_too() -> None:
    shops = ["north"] * 5 + ["south"] * 3 + ["missing"]
    frame = pd.DataFrame({"text": "same", "label": "a", "slice:shop": shops, "seen_in_train": "no"})
    masks = slices(frame, manifest("text"))
    assert {name: int(mask.sum()) for name, mask in masks.items() if name != "label: a"} == {
        **{"shop: north": 5, "shop: south": 3, "shop: missing": 1},
    }
    many = pd.DataFrame({"text": "same", "label": "a", "slice:shop": [f"{i % 25:02d}" for i in range(60)]})
    named = [name for name in slices(many, manifest("text")) if name.startswith("shop: ")]
    assert named == [*(f"shop: {i:02d}" for i in range(20)), "shop: all other values"]
    assert sum(int(mask.sum()) for name, mask in slices(many, manifest("text")).items() if name in named) == 60


def test_slices_of_the_other_problems() -> None:
    rows = pd.DataFrame({"text": ["a b", "b c", "c d"]})
    several = rows.assign(label=['["joy"]', "[]", '["fear", "joy"]'])
    masks = slices(several, manifest("text", task="multi-label-classification", labels=("anger", "fear", "joy")))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "label: fear": [False, False, True],
        "label: joy": [True, False, True],
        "no label": [False, True, False],
    }
    tagged = rows.assign(label=["O B-PER", "O O", "B-LOC B-PER"])
    masks = slices(tagged, manifest("text", task="token-classification", labels=("B-LOC", "B-MISC", "B-PER", "O")))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "label: LOC": [False, False, True],
        "label: PER": [True, False, True],
    }
    numbers = rows.assign(label=["1.0", "2.0", "3.0"], **{"slice:shop": "north"})
    assert set(slices(numbers, manifest("text", task="text-regression"))) == {"shop: north"}
