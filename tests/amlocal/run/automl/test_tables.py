from pathlib import Path

import pandas as pd
import pytest

from amlocal.errors import AmlocalError
from amlocal.run.automl.tables import write_tables
from amlocal.run.services import Given

READ = {
    "csv": "read_delimited: {delimiter: ',', encoding: utf8}",
    "jsonl": "read_json_lines: {encoding: utf8}",
    "parquet": "read_parquet: {}",
}


def rows(count: int = 60, labels: tuple[object, ...] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"text {i}" for i in range(count)], "label": [labels[i % len(labels)] for i in range(count)]}
    )


def table(folder: Path, frame: pd.DataFrame, kind: str = "parquet", more: str = "") -> Path:
    folder.mkdir()
    if kind == "csv":
        frame.to_csv(folder / "rows.csv", index=False)
    elif kind == "jsonl":
        frame.to_json(folder / "rows.jsonl", orient="records", lines=True)
    else:
        frame.to_parquet(folder / "rows.parquet", index=False)
    (folder / "MLTable").write_text(f"paths:\n  - file: ./rows.{kind}\ntransformations:\n  - {READ[kind]}\n{more}")
    return folder


@pytest.fixture
def given(tmp_path: Path):
    def make(train: Path, validation: Path, target: str = "label") -> dict[str, Given]:
        return write_tables(
            {
                "training_data": Given(str(train), "sha256:1"),
                "validation_data": Given(str(validation), "sha256:2"),
                "target_column_name": Given(target, target),
            },
            tmp_path / "out",
        )

    return make


@pytest.mark.parametrize("kind", READ)
def test_trials_get_files_of_texts_and_labels(given, tmp_path, kind):
    found = given(table(tmp_path / "t", rows(), kind), table(tmp_path / "v", rows(10), kind))

    assert found["training_data"].content == "sha256:1"
    pd.testing.assert_frame_equal(pd.read_parquet(found["training_data"].text), rows())
    pd.testing.assert_frame_equal(pd.read_parquet(found["validation_data"].text), rows(10))


def test_every_column_but_the_target_is_text(given, tmp_path):
    frame = rows(labels=(3, 5)).assign(price=1.5, note=None)
    found = given(table(tmp_path / "t", frame), table(tmp_path / "v", frame))

    written = pd.read_parquet(found["training_data"].text)
    assert list(written.loc[0, ["price", "note"]]) == ["1.5", ""]
    assert written["label"].tolist() == frame["label"].tolist()


@pytest.mark.parametrize(
    ("train", "validation", "target", "message"),
    [
        (rows(49), rows(10), "label", "training_data has 49 rows; AutoML needs at least 50"),
        (rows(), rows(10), "intent", "no column 'intent' in the tables; they have 'text', 'label'"),
        (rows(), rows(10)[["label", "text"]], "label", "validation_data has the columns 'label', 'text'; expected"),
        (rows(labels=("a",)), rows(10), "label", "training_data: the column label holds 1 label; expected at least 2"),
        (rows(), rows(10, ("a",)), "label", "validation_data: the column label holds 1 label"),
        (
            rows(),
            rows(9, ("a", "b", "c")),
            "label",
            "validation_data: labels 'c' (3 rows) do not occur in training_data",
        ),
        (rows(labels=("a", "b", None)), rows(9), "label", "training_data: 20 rows have no label, first: row 3"),
        (rows()[["label"]], rows()[["label"]], "label", "training_data has no column besides the target 'label'"),
    ],
)
def test_what_nothing_can_be_learnt_from(given, tmp_path, train, validation, target, message):
    with pytest.raises(AmlocalError) as caught:
        given(table(tmp_path / "t", train), table(tmp_path / "v", validation), target)

    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_table_of_files_is_no_table_of_rows(given, tmp_path):
    folder = table(tmp_path / "t", rows())
    (folder / "MLTable").write_text("paths:\n  - file: ./rows.parquet\n")

    with pytest.raises(AmlocalError, match="MLTable says nothing of how its files are read"):
        given(folder, folder)


def test_a_file_that_is_not_what_the_table_says(given, tmp_path):
    folder = table(tmp_path / "t", rows())
    (folder / "rows.parquet").write_text("text,label\n")

    with pytest.raises(AmlocalError, match=r"training_data: .*rows.parquet cannot be read by read_parquet"):
        given(folder, folder)


def test_columns_are_kept_as_the_table_says(given, tmp_path):
    more = "  - drop_columns: [price]\n"
    frame = rows().assign(price=2)
    found = given(table(tmp_path / "t", frame, "csv", more), table(tmp_path / "v", frame, "csv", more))

    assert list(pd.read_parquet(found["training_data"].text).columns) == ["text", "label"]
