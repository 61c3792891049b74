"""What prep takes where it is not told, and the hub's data sets of benchmark tasks."""

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from support import load_component

from finetune.data.defaults import AUTO, Asked, settle_source
from finetune.data.manifest import read_manifest
from finetune.data.sources import HubDataset
from finetune.errors import InputError
from finetune.tasks import task_named


def asked(**given: Any) -> Asked:
    names = ("hub_dataset", "text_column", "text_pair_column", "label_column", "test_splits")
    return Asked(**{"data": None, "hub_config": None, "hub_revision": None, **dict.fromkeys(names, AUTO), **given})


def test_a_benchmark_gives_what_is_left_open() -> None:
    found = settle_source(asked(), task_named("mnli"))
    assert found.source == HubDataset("nyu-mll/glue", "mnli", None)
    assert found.columns == {"text": "premise", "text_pair": "hypothesis"}
    assert found.label_column == "label"
    assert found.test_splits == ("validation_matched", "validation_mismatched")


def test_what_is_given_comes_before() -> None:
    found = settle_source(
        asked(hub_revision="abc", text_column="a", label_column="b", test_splits="x, y"), task_named("mnli")
    )
    assert found.source == HubDataset("nyu-mll/glue", "mnli", "abc")
    assert found.columns == {"text": "a", "text_pair": "hypothesis"}
    assert (found.label_column, found.test_splits) == ("b", ("x", "y"))


def test_own_data_keeps_its_own_splits() -> None:
    found = settle_source(asked(data="files"), task_named("cola"))
    assert found.source == Path("files")
    assert (found.columns, found.test_splits) == ({"text": "sentence"}, ())
    question = settle_source(asked(data="files", text_pair_column="passage"), task_named("question-answering"))
    assert question.columns == {"question": "question", "context": "passage"}
    assert question.label_column == "answers"


def test_another_hub_data_set_keeps_its_own_splits() -> None:
    found = settle_source(asked(data="files", hub_dataset="owner/name"), task_named("cola"))
    assert (found.source, found.test_splits) == (HubDataset("owner/name"), ())


@pytest.mark.parametrize(
    ("given", "task", "message"),
    [
        ({}, "text-classification", "neither --data nor --hub_dataset is given"),
        ({"hub_dataset": "none"}, "cola", "neither --data nor --hub_dataset is given"),
        ({"data": "d", "hub_dataset": "benchmark"}, "text-regression", "text-regression has no data set of its own"),
        ({"test_splits": "a,a"}, "cola", "--test_splits 'a,a': expected different names"),
        ({"test_splits": ","}, "cola", "--test_splits ',': expected different names"),
    ],
)
def test_what_cannot_be_settled(given: dict[str, Any], task: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        settle_source(asked(**given), task_named(task))


@pytest.fixture
def mnli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """MNLI as the hub gives it, small; returns what the hub was asked for."""
    names = ["entailment", "neutral", "contradiction"]
    features = datasets.Features(
        premise=datasets.Value("string"), hypothesis=datasets.Value("string"), label=datasets.ClassLabel(names=names)
    )

    def split(name: str, rows: int, labelled: bool = True) -> datasets.Dataset:
        labels = [row % 3 if labelled else -1 for row in range(rows)]
        columns = {"premise": [f"{name} {row}" for row in range(rows)], "hypothesis": ["the parcel"] * rows}
        return datasets.Dataset.from_dict({**columns, "label": labels}, features=features)

    datasets.DatasetDict(
        train=split("train", 60),
        validation_matched=split("matched", 9),
        validation_mismatched=split("mismatched", 12),
        test_matched=split("hidden", 9, labelled=False),
    ).save_to_disk(str(tmp_path / "hub"))
    calls = []

    def load_dataset(*given: Any, **more: Any) -> Any:
        calls.append((*given, more))
        return datasets.load_from_disk(str(tmp_path / "hub"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_mnli_by_name_is_tested_on_both_of_its_splits(
    mnli: list[tuple[Any, ...]], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    load_component("prep").main(
        ["--task", "mnli", "--dataset", str(tmp_path / "out"), "--checkpoint", str(tiny_checkpoint)]
    )
    assert mnli == [("nyu-mll/glue", "mnli", {"revision": None})]
    test = pd.read_parquet(tmp_path / "out" / "test.parquet")
    assert test["slice:split"].value_counts().to_dict() == {"validation_mismatched": 12, "validation_matched": 9}
    manifest = read_manifest(tmp_path / "out")
    assert manifest.slice_columns == ("split",)
    assert manifest.labels == ("contradiction", "entailment", "neutral")
    assert {split: summary.rows for split, summary in manifest.splits.items()} == {
        **{"train": 54, "validation": 6, "test": 21}
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--test_splits", "elsewhere"],
            "--test_splits elsewhere: not in nyu-mll/glue; found train, validation_matched",
        ),
        (["--slice_columns", "split"], "--slice_columns split: the test splits have this name already"),
        (["--label_mapping", "entailment:yes,neutral:no"], "label 'contradiction' is not in --label_mapping"),
    ],
)
def test_what_such_a_data_set_does_not_have(
    mnli: list[tuple[Any, ...]], arguments: list[str], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load_component("prep").main(
            [*("--task", "mnli", "--dataset", str(tmp_path / "out"), "--checkpoint", str(tiny_checkpoint)), *arguments]
        )
    assert not (tmp_path / "out").exists()


def test_a_positive_label_that_is_not_there_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    rows = [(f"order {i}", f"parcel {i}", "01"[i % 2]) for i in range(40)]
    pd.DataFrame(rows, columns=["sentence1", "sentence2", "label"]).to_parquet(tmp_path / "train.parquet")
    given = ["--task", "mrpc", "--data", str(tmp_path / "train.parquet"), "--checkpoint", str(tiny_checkpoint)]
    with pytest.raises(InputError, match="--task mrpc: its f1 is that of the label 'equivalent'; train has 0, 1"):
        load_component("prep").main([*given, "--dataset", str(tmp_path / "out")])
    mapped = [*given, "--label_mapping", "0:different,1:equivalent", "--dataset", str(tmp_path / "out")]
    load_component("prep").main(mapped)
    assert read_manifest(tmp_path / "out").labels == ("different", "equivalent")


def test_lists_of_class_labels_get_their_names(tmp_path: Path) -> None:
    from finetune.data.sources import read_path

    features = datasets.Features(
        tokens=datasets.Sequence(datasets.Value("string")),
        tags=datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER"])),
    )
    split = datasets.Dataset.from_dict({"tokens": [["Anna", "came"]], "tags": [[1, 0]]}, features=features)
    split.save_to_disk(str(tmp_path / "d"))
    frame = read_path(tmp_path / "d")["train"].frame
    assert frame["tags"].tolist() == [["B-PER", "O"]]
    assert list(frame["tokens"][0]) == ["Anna", "came"]
