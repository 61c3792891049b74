import gzip
import json
from pathlib import Path

import datasets
import pandas as pd
import pytest

from finetune.data.sources import HubDataset, read_hub, read_path
from finetune.errors import InputError

ROWS = [{"text": 'a "quoted" word', "label": "x"}, {"text": "zwei, Wörter", "label": "y"}]


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            stream.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def write_format(path: Path) -> None:
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        write(path, "".join(json.dumps(row) + "\n" for row in ROWS))
    elif name.endswith(".csv"):
        write(path, 'text,label\n"a ""quoted"" word",x\n"zwei, Wörter",y\n')
    elif name.endswith(".tsv"):
        write(path, 'text\tlabel\na "quoted" word\tx\nzwei, Wörter\ty\n')
    else:
        pd.DataFrame(ROWS).to_parquet(path)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    write_format(tmp_path / f"anything.{ending}")
    for source in (tmp_path, tmp_path / f"anything.{ending}"):
        tables = read_path(source)
        assert list(tables) == ["train"]
        assert tables["train"].frame.to_dict(orient="records") == ROWS


def test_split_files_are_found_by_name(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.jsonl", "test.parquet"):
        write_format(tmp_path / name)
    write(tmp_path / "README.md", "no data")
    assert set(read_path(tmp_path)) == {"train", "validation", "test"}


def test_a_datasets_folder_gives_label_names(tmp_path: Path) -> None:
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["no", "yes"]))
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    datasets.DatasetDict(train=split, test=split).save_to_disk(str(tmp_path / "d"))
    tables = read_path(tmp_path / "d")
    assert set(tables) == {"train", "test"}
    assert tables["train"].frame["label"].tolist() == ["yes", "no"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", '{"text": "a"}\n{"text": \n', r"train\.jsonl:2: not JSON"),
        ("train.jsonl", '{"text": "a"}\n[1]\n', r"train\.jsonl:2: found a list; expected a JSON object"),
        ("train.jsonl", '{"text": "a"}\n\n{"text": "b"}\n', r"train\.jsonl:2: empty line"),
        ("train.csv", "text,label\na,x\nb\n", r"train\.csv:3: found 1 fields; expected 2"),
        ("train.csv", 'text,label\na,x\n"b,y\n', r"train\.csv:3: unexpected end of data"),
        ("train.csv", "", r"train\.csv: empty file"),
        ("train.csv", "text,label,label\na,x,y\n", r"train\.csv:1: a column is named twice: text, label, label"),
        ("train.csv", "text,label\na,x\n\nb,y\n", r"train\.csv:3: empty line; expected 2 fields"),
        ("train.parquet", "PAR?", r"train\.parquet: not readable as parquet"),
        ("train.xml", "<a/>", r"found no data file; expected train"),
        ("other.csv", None, r"no such file or folder"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        read_path(tmp_path if content is not None else tmp_path / name)


def test_bytes_that_are_no_utf8_are_kept_for_the_check_of_rows(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes("text,label\nfine,x\nMünchen,y\n".encode("latin-1"))
    assert read_path(tmp_path)["train"].frame["text"].tolist() == ["fine", "M\udcfcnchen"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [("train.csv", "tëxt,label\na,x\n", 1), ("train.jsonl", '{"text": "a"}\n{"tëxt\n', 2)],
)
def test_a_file_that_is_not_utf8_where_it_matters_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, line: int
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"{name}:{line}: not UTF-8"):
        read_path(tmp_path)


@pytest.mark.parametrize("ending", ["jsonl", "csv.gz", "tsv", "parquet"])
def test_only_what_is_wanted_is_kept_in_memory(tmp_path: Path, ending: str) -> None:
    write_format(tmp_path / f"train.{ending}")
    table = read_path(tmp_path, {"label", "absent"})["train"]
    assert table.frame.to_dict(orient="records") == [{"label": "x"}, {"label": "y"}]
    assert table.names == ("text", "label")


def test_rows_without_a_key_hold_nothing_there(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", '{"a": 1}\n{"b": "x"}\n{"a": 2, "b": "y"}\n')
    frame = read_path(tmp_path)["train"].frame
    assert frame["b"].tolist() == [None, "x", "y"]
    assert frame["a"].isna().tolist() == [False, True, False]


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: broken gzip"):
        read_path(tmp_path)


def test_a_gzip_file_with_a_corrupt_body_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b'{"text": "a", "label": "x"}\n' * 500))
    content[20:40] = b"\xff" * 20
    (tmp_path / "train.jsonl.gz").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: broken gzip"):
        read_path(tmp_path)


def test_data_files_that_are_no_split_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train.csv", "tests.csv"):
        write_format(tmp_path / name)
    assert set(read_path(tmp_path)) == {"train"}
    assert "left out, as their names are no split's: tests.csv" in caplog.text


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    write_format(tmp_path / "train.csv")
    write_format(tmp_path / "train.jsonl")
    with pytest.raises(InputError, match="a second file for the split 'train'"):
        read_path(tmp_path)


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    write_format(tmp_path / "test.csv")
    write_format(tmp_path / "validation.csv")
    with pytest.raises(InputError, match=r"found test\.csv, validation\.csv; expected train"):
        read_path(tmp_path)


def test_a_hub_data_set_that_cannot_be_reached_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="--hub_dataset no-such-owner/nothing: cannot be loaded"):
        read_hub(HubDataset("no-such-owner/nothing"))


def test_places_count_lines_only_where_a_row_is_a_line(tmp_path: Path) -> None:
    one_line = read_path(write(tmp_path / "a.csv", "text,label\na,x\nb,y\n"))["train"]
    assert one_line.place(1).endswith("a.csv:3")
    broken = read_path(write(tmp_path / "b.csv", 'text,label\n"a\nb",x\nc,y\n'))["train"]
    assert broken.place(1).endswith("b.csv: row 2")


@pytest.mark.parametrize(
    ("name", "text"), [("train.csv", "text,label\na,x\n\n"), ("train.jsonl", '{"text": "a", "label": "x"}\n\n')]
)
def test_an_empty_line_at_the_end_is_no_row(tmp_path: Path, name: str, text: str) -> None:
    table = read_path(write(tmp_path / name, text))["train"]
    assert table.frame.to_dict(orient="records") == [{"text": "a", "label": "x"}]
    assert table.place(0).endswith(f"{name}:{2 if name.endswith('csv') else 1}")
