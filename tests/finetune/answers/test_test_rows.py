import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from finetune.answers.test_rows import choose_test_rows, read_test_rows
from finetune.data.manifest import DatasetManifest, SplitSummary, annotations_sha256, read_manifest
from finetune.errors import InputError

SPLITS = {"test": SplitSummary("test.csv", 4, {}, {}, "sha")}
MANIFEST = DatasetManifest(
    "text-classification", ("text",), ("a", "b"), SPLITS, "tiny", "e" * 64, 32, "made up", "as-is", 1
)


def test_the_test_rows_are_proved_to_be_preps(message_dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(message_dataset, tmp_path / "d")
    manifest = read_manifest(folder)
    rows = read_test_rows(folder, manifest)
    assert len(rows) == manifest.splits["test"].rows
    rows.iloc[::-1].to_parquet(folder / "test.parquet", index=False)
    with pytest.raises(InputError, match="the test split was changed after prep"):
        read_test_rows(folder, manifest)
    rows.assign(seen_in_train="exact").to_parquet(folder / "test.parquet", index=False)
    with pytest.raises(InputError, match="its column seen_in_train counts"):
        read_test_rows(folder, manifest)
    rows.drop(columns="seen_in_train").to_parquet(folder / "test.parquet", index=False)
    with pytest.raises(InputError, match="its column seen_in_train counts"):
        read_test_rows(folder, manifest)
    (folder / "test.parquet").write_text("broken")
    with pytest.raises(InputError, match="not readable"):
        read_test_rows(folder, manifest)


def test_rows_that_occur_in_train_are_left_out_or_counted() -> None:
    frame = pd.DataFrame(
        {"text": list("wxyz"), "label": list("aabb"), "seen_in_train": ["exact", "no", "normalised", "no"]}
    )
    kept, rows = choose_test_rows(frame, MANIFEST, subtract=True)
    assert list(kept["text"]) == ["x", "z"]
    assert (rows.rows, rows.seen_in_train, rows.subtracted, rows.sha256) == (2, 0, 2, "sha")
    kept, rows = choose_test_rows(frame, MANIFEST, subtract=False)
    assert len(kept) == 4
    assert (rows.rows, rows.seen_in_train, rows.subtracted) == (4, 2, 0)
    kept, rows = choose_test_rows(frame.drop(1), MANIFEST, subtract=True)
    assert (list(kept["text"]), rows.labels_without_rows) == (["z"], ("a",))


def test_slices_that_lose_all_their_rows_are_counted_too() -> None:
    frame = pd.DataFrame({"text": ["a", "bb", "ccc", "dddd"], "label": list("aabb")})
    frame = frame.assign(seen_in_train=["no", "exact", "exact", "no"], **{"slice:shop": ["n", "n", "s", "w"]})
    _, rows = choose_test_rows(frame, MANIFEST, subtract=True)
    assert rows.slices["shop: s"] == 0
    assert {name: rows.slices[name] for name in ("shop: n", "shop: w", "label: a")} == {
        **{"shop: n": 1, "shop: w": 1, "label: a": 1}
    }
    _, rows = choose_test_rows(frame, MANIFEST, subtract=False)
    assert (rows.slices["shop: s"], rows.slices["label: b"]) == (1, 2)
    _, rows = choose_test_rows(frame.assign(seen_in_train="exact"), MANIFEST, subtract=True)
    assert set(rows.slices.values()) == {0}


def test_values_to_slice_by_are_proved_to_be_preps(message_dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(message_dataset, tmp_path / "d")
    rows = pd.read_parquet(folder / "test.parquet").assign(**{"slice:shop": "north"})
    rows.to_parquet(folder / "test.parquet", index=False)
    manifest = read_manifest(folder)
    with pytest.raises(InputError, match="or one to slice by was changed after prep"):
        read_test_rows(folder, manifest)
    kept = replace(manifest, annotations_sha256=annotations_sha256(rows))
    assert read_test_rows(folder, kept)["slice:shop"].unique().tolist() == ["north"]
    rows.loc[0, "slice:shop"] = "south"
    rows.to_parquet(folder / "test.parquet", index=False)
    with pytest.raises(InputError, match="or one to slice by was changed after prep"):
        read_test_rows(folder, kept)


def test_marks_that_moved_to_other_rows_are_not_preps(message_dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(message_dataset, tmp_path / "d")
    rows, manifest = pd.read_parquet(folder / "test.parquet"), read_manifest(folder)
    rows["seen_in_train"] = ["exact", *["no"] * (len(rows) - 1)]
    rows.to_parquet(folder / "test.parquet", index=False)
    summary = replace(manifest.splits["test"], seen_in_train=1, nearly_seen_in_train=0)
    marked = replace(manifest, splits={**manifest.splits, "test": summary}, annotations_sha256=annotations_sha256(rows))
    assert len(read_test_rows(folder, marked)) == len(rows)
    rows.assign(seen_in_train=rows["seen_in_train"].to_numpy()[::-1]).to_parquet(folder / "test.parquet", index=False)
    with pytest.raises(InputError, match="the column seen_in_train or one to slice by was changed after prep"):
        read_test_rows(folder, marked)
