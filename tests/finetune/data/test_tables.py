from pathlib import Path

import pandas as pd
import pytest

from amlocal.reader.mltable import read_table as read_mltable
from finetune.data.manifest import examples_sha256
from finetune.data.prepare import PrepareRequest, prepare
from finetune.data.tables import read_table, write_table
from finetune.errors import InputError


def test_the_tables_hold_the_rows_that_the_sweep_trains_and_validates_on(
    prepare_request: PrepareRequest, tmp_path: Path
) -> None:
    folders = {split: tmp_path / split for split in ("train", "validation")}
    manifest = prepare(prepare_request, tmp_path / "dataset", folders)

    for split, folder in folders.items():
        frame = read_table(folder)
        assert list(frame.columns) == ["text", "label"]
        assert examples_sha256(frame) == manifest.splits[split].sha256
        table = read_mltable(folder)
        assert (table.reader, table.files) == ("read_parquet", (folder / "rows.parquet",))
    test = pd.read_parquet(tmp_path / "dataset" / "test.parquet")
    assert not set(test["text"]) & {*read_table(folders["train"])["text"], *read_table(folders["validation"])["text"]}


def test_without_being_asked_prep_writes_none(prepare_request: PrepareRequest, tmp_path: Path) -> None:
    prepare(prepare_request, tmp_path / "dataset")

    assert not list(tmp_path.rglob("MLTable"))


def test_labels_and_texts_stay_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["1", 'a "b",\nc'], "label": ["1", "0"], "slice:source": ["x", "y"]})
    write_table(tmp_path, frame)

    assert read_table(tmp_path).to_dict("list") == {"text": ["1", 'a "b",\nc'], "label": ["1", "0"]}


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rows.parquet: not readable: .*expected the table that prep writes"):
        read_table(tmp_path)
