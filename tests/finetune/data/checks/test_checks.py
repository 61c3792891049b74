"""Each oddity of public data sets in small, found by the whole of prep."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from finetune.data.checks.policy import DEFAULT_CHECKS
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.data.prepare import PrepareRequest, prepare
from finetune.errors import InputError

Rows = list[dict[str, object]]


def rows(split: str, number: int = 12) -> Rows:
    """Rows of two labels, none like another of any split."""
    return [{"text": f"{split} parcel {i}", "label": "ab"[i % 2], "product": f"{split} {i}"} for i in range(number)]


@pytest.fixture
def run(prepare_request: PrepareRequest, tmp_path: Path):
    """Write splits, run prep, and return what is in the manifest."""

    def run(train: Rows, more: Rows | None = None, test: Rows | None = None, **change: object) -> DatasetManifest:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        splits = {"train": train, "validation": more or rows("validation"), "test": test or rows("test")}
        for split, content in splits.items():
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
            # Half characters stand for bytes that are no UTF-8, as in reading.
            (source / f"{split}.jsonl").write_bytes(lines.encode("utf-8", "surrogateescape"))
        checks = replace(DEFAULT_CHECKS, **{name: change.pop(name) for name in list(change) if name in POLICY})
        request = replace(prepare_request, source=source, checks=checks, **change)
        written = prepare(request, tmp_path / "out")
        assert read_manifest(tmp_path / "out") == written
        return written

    return run


POLICY = {name for name in vars(DEFAULT_CHECKS) if not name.startswith("_")}


def found(manifest: DatasetManifest) -> dict[tuple[str, str], tuple[str, int, tuple[str, ...]]]:
    return {(f.check, f.split): (f.action, f.rows, f.examples) for f in manifest.findings}


def test_nothing_is_found_where_nothing_is_odd(run) -> None:
    assert run(rows("train")).findings == ()


def test_texts_with_two_labels_as_in_emotion(run) -> None:
    train = [*rows("train"), {"text": "train parcel 3", "label": "a"}, {"text": "train parcel 0", "label": "b"}]
    manifest = run(train)
    assert found(manifest) == {
        ("conflicting_labels", "train"): ("warn", 4, ("1", "4", "13 = train 4", "14 = train 1")),
    }
    assert manifest.findings[0].detail == "2 texts with more than one label"
    assert manifest.splits["train"].rows == 14
    dropped = run(train, conflicting_labels="drop")
    assert (dropped.splits["train"].rows, dropped.splits["train"].dropped) == (10, {"conflicting labels": 4})
    with pytest.raises(InputError, match=r"train\.jsonl: conflicting_labels: .* 4 rows of 14, first: row 1, 4,"):
        run(train, conflicting_labels="fail")


def test_texts_that_recur_in_other_splits_as_in_emotion_and_cola(run) -> None:
    test = [*rows("test"), {"text": "train parcel 2", "label": "a"}, {"text": "TRAIN parcel 5!", "label": "b"}]
    manifest = run(rows("train"), test=test)
    assert found(manifest) == {
        ("leakage", "test"): ("warn", 1, ("13 = train 3",)),
        ("normalised_leakage", "test"): ("warn", 1, ("14 = train 6",)),
    }
    assert (manifest.splits["test"].seen_in_train, manifest.splits["test"].nearly_seen_in_train) == (1, 1)
    dropped = run(rows("train"), test=test, leakage="drop")
    assert (dropped.splits["train"].rows, dropped.splits["train"].dropped) == (11, {"leakage": 1})
    assert (dropped.splits["test"].rows, dropped.splits["test"].seen_in_train) == (14, 0)
    assert dropped.splits["test"].nearly_seen_in_train == 1
    both = run(rows("train"), test=test, leakage="drop", normalised_leakage="drop")
    assert both.splits["train"].dropped == {"leakage": 1, "normalised leakage": 1}
    with pytest.raises(InputError, match=r"leakage: the texts of a row of train \(1 different\): 1 row of 14, first"):
        run(rows("train"), test=test, leakage="fail")


def test_repeats_as_in_sst2(run) -> None:
    train = [*rows("train"), rows("train")[4], rows("train")[4], {"text": "train parcel 7", "label": "a"}]
    manifest = run(train)
    assert found(manifest)["duplicates", "train"] == ("warn", 2, ("13 = train 5", "14 = train 5"))
    assert found(manifest)["conflicting_labels", "train"][1] == 2
    clean = run(train, duplicates="drop", conflicting_labels="drop")
    assert clean.splits["train"].dropped == {"conflicting labels": 2, "duplicates": 2}
    assert clean.splits["train"].rows == 11


def test_repeats_do_not_cross_a_cut_when_they_are_dropped_before(
    prepare_request: PrepareRequest, tmp_path: Path
) -> None:
    doubled = [row for row in rows("train", 40) for _ in range(2)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in doubled))
    request = replace(prepare_request, source=tmp_path)
    assert prepare(request, tmp_path / "kept").splits["test"].seen_in_train > 0
    dropping = replace(request, checks=replace(DEFAULT_CHECKS, duplicates="drop"))
    manifest = prepare(dropping, tmp_path / "dropped")
    assert manifest.splits["test"].seen_in_train == 0
    assert sum(summary.rows for summary in manifest.splits.values()) == 40


def test_empty_texts_entities_skew_and_groups_as_in_amazon(run) -> None:
    train = [{"text": f"good parcel {i}", "label": "a", "product": f"p{i % 7}"} for i in range(50)]
    train += [{"text": "bad&#34;", "label": "b", "product": "p1"}, {"text": "bad one", "label": "b", "product": "p2"}]
    train += [{"text": " ", "label": "b", "product": "p3"}, {"text": None, "label": "b", "product": "p3"}]
    test = [{**row, "product": "p3" if i == 4 else None} for i, row in enumerate(rows("test"))]
    manifest = run(train, test=test, group_column="product", slice_columns=("product",))
    assert found(manifest) == {
        ("empty_text", "train"): ("drop", 2, ("53", "54")),
        ("html_entities", "train"): ("warn", 1, ("51",)),
        ("group_leakage", "test"): ("warn", 1, ("5",)),
        ("imbalance", "train"): ("warn", 2, ()),
    }
    assert manifest.findings[-1].detail == "a has 50 rows and b 2, 25.0 to 1; the limit is 10"
    assert manifest.splits["train"].dropped == {"empty text": 2}
    with pytest.raises(InputError, match=r"imbalance: a has 50 rows and b 2, 25\.0 to 1"):
        run(train, imbalance="fail")
    apart = run(train, test=test, group_column="product", group_leakage="drop")
    assert apart.splits["train"].dropped == {"empty text": 2, "group leakage": 7}


def test_bare_quotation_marks_as_in_mrpc(run) -> None:
    train = [*rows("train"), {"text": 'the parcel is "late', "label": "a"}, {"text": 'my "order"', "label": "a"}]
    assert found(run(train)) == {("unbalanced_quotes", "train"): ("warn", 1, ("13",))}


def test_a_split_without_labels_as_in_cola_is_not_used(run) -> None:
    bare = [{"text": row["text"], "label": None} for row in rows("test")]
    with pytest.raises(InputError, match=r"test\.jsonl:1: the label is missing"):
        run(rows("train", 60), test=bare)
    manifest = run(rows("train", 60), test=bare, missing_label="drop")
    assert manifest.findings[0].detail == "no label, so the split is not used"
    assert manifest.splits["test"].origin == "train.jsonl, cut with seed 1"
    some = [*rows("train"), {"text": "no label", "label": ""}]
    assert run(some, missing_label="drop").splits["train"].dropped == {"missing label": 1}


def test_bytes_that_are_no_utf8_fail_or_go_or_are_repaired(run) -> None:
    train = [*rows("train"), {"text": "M\udcfcnchen", "label": "a"}, {"text": "cafÃ© &amp; bar", "label": "a"}]
    with pytest.raises(InputError, match=r"train\.jsonl:13: not UTF-8 \(1 rows in all\); --repair encoding"):
        run(train)
    dropped = run(train, not_utf8="drop")
    assert found(dropped)["not_utf8", "train"] == ("drop", 1, ("13",))
    assert {("mojibake", "train"), ("html_entities", "train")} < set(found(dropped))
    repaired = run(train, repairs=("encoding", "html"))
    assert found(repaired) == {("repair", "train"): ("repaired", 2, ("13", "14"))}
    assert repaired.repairs == ("encoding", "html")


def test_labels_that_train_lacks_fail_or_go(run) -> None:
    test = [*rows("test"), {"text": "odd", "label": "z"}]
    with pytest.raises(InputError, match=r"label 'z' \(1 rows of the test split, first: row 13\)"):
        run(rows("train"), test=test)
    assert found(run(rows("train"), test=test, unknown_label="drop")) == {
        ("unknown_label", "test"): ("drop", 1, ("13",))
    }


def test_long_texts_are_counted_by_length_and_against_the_limit(run) -> None:
    train = [*rows("train"), *({"text": "parcel " * 40 + str(i), "label": "ab"[i % 2]} for i in range(2))]
    manifest = run(train)
    summary = manifest.splits["train"]
    assert (summary.token_lengths, summary.tokens_longest) == ({"8": 12, "64": 2}, 43)
    assert summary.truncated_share == pytest.approx(2 / 14)
    assert manifest.splits["test"].token_lengths == {"8": 12}
    (finding,) = manifest.findings
    assert (finding.check, finding.rows) == ("truncated", 2)
    assert finding.detail == "14.3% are longer than 32 tokens, the longest 43; the limit is 5.0%"
    with pytest.raises(InputError, match=r"truncated: .* the data checks say fail"):
        run(train, truncated="fail")


def test_nothing_is_dropped_to_the_last_row(run) -> None:
    train = [{"text": "the same", "label": "ab"[i % 2]} for i in range(6)]
    with pytest.raises(InputError, match="all 6 rows would be dropped: conflicting labels"):
        run(train, conflicting_labels="drop")


def test_test_rows_keep_the_values_to_slice_by(run, tmp_path: Path) -> None:
    test = [{**row, "product": 3.0 if i < 4 else None} for i, row in enumerate(rows("test"))]
    manifest = run(rows("train"), test=test, slice_columns=("product",))
    frame = pd.read_parquet(tmp_path / "out" / "test.parquet")
    assert list(frame.columns) == ["text", "label", "slice:product", "seen_in_train"]
    assert frame["slice:product"].value_counts().to_dict() == {"missing": 8, "3": 4}
    bare = run(rows("train"), test=test)
    assert bare.annotations_sha256 != manifest.annotations_sha256
    assert bare.splits["test"].sha256 == manifest.splits["test"].sha256
    with pytest.raises(InputError, match=r"no column 'colour'; found text, label, product"):
        run(rows("train"), slice_columns=("colour",))


def tagged(split: str, *more: str) -> Rows:
    """Rows of four words with a tag each, none like another of any split."""
    tags = ["B-PER I-PER O B-LOC", "O O B-PER O", *more]
    return [{"text": f"{split} parcel is {i}".split(), "label": row.split()} for i, row in enumerate(tags)]


def test_tags_that_go_on_with_nothing_as_in_iob1(run) -> None:
    asked = {"task": "token-classification", "imbalance_limit": 100.0}
    others = {"more": tagged("more"), "test": tagged("test", "O O I-PER I-PER")}
    train = tagged("train", "I-PER I-PER O I-PER", "B-LOC I-PER O O", "B-PER B-PER I-PER O")
    manifest = run(train, **others, **asked)
    assert found(manifest) == {
        ("tag_order", "train"): ("warn", 2, ("3", "4")),
        ("tag_order", "test"): ("warn", 1, ("3",)),
    }
    assert {finding.detail for finding in manifest.findings} == {
        f"{found}; --repair tags makes these B- and S-"
        for found in (
            "3 entities begin with I- or E-, as I-PER at the start",
            "1 entities begin with I- or E-, as I-PER after O",
        )
    }
    with pytest.raises(InputError, match=r"test\.jsonl: tag_order: .* 1 row of 3, first: row 3; the data checks say"):
        run(train, **others, **asked, tag_order="fail")
    assert run(train, **others, **asked, tag_order="drop").splits["train"].dropped == {"tag order": 2}

    repaired = run(train, **others, **asked, tag_order="fail", repairs=("tags",))
    assert found(repaired) == {
        ("repair", "train"): ("repaired", 2, ("3", "4")),
        ("repair", "test"): ("repaired", 1, ("3",)),
    }
    assert {finding.detail for finding in repaired.findings} == {"tags"}
    assert repaired.splits["train"].labels == {"B-LOC": 2, "B-PER": 7, "I-PER": 3, "O": 8}
    with pytest.raises(InputError, match="--repair tags: the labels of text-classification are no tags"):
        run(rows("train"), repairs=("tags",))
