"""Prep on labels of every problem: what a label becomes, and what is refused with its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from problem_data import TASKS_OF, prepare_problem, write_problem

from finetune.data.checks.policy import DEFAULT_CHECKS, DataChecks
from finetune.data.columns import select_examples
from finetune.data.encoders import encode_spans
from finetune.data.examples import Examples
from finetune.data.label_texts import Span, names_text, read_names, read_spans, spans_text
from finetune.data.labels import parse_label_mapping
from finetune.data.manifest import read_manifest
from finetune.data.problems import LABEL_KINDS, check_mapping
from finetune.data.sources import SourceTable
from finetune.data.splits import check_labels, complete_splits
from finetune.data.tokenise import TokenCounter, load_tokenizer
from finetune.errors import InputError
from finetune.tasks import PROBLEMS, Problem
from finetune.training.batches import TokenRows

KINDS = LABEL_KINDS


def select(
    problem: Problem,
    rows: list[dict[str, Any]],
    mapping: str = "as-is",
    label: str = "label",
    policy: DataChecks = DEFAULT_CHECKS,
) -> Examples:
    columns = ("question", "context") if problem == "answer_spans" else ("text",)
    table = SourceTable("train.jsonl", pd.DataFrame(rows), first_line=1)
    parsed = parse_label_mapping(mapping)
    return select_examples(
        table, {name: name for name in columns}, label, parsed, "train", policy, kind=KINDS[problem]
    )[0]


def asked(context: str, **answers: Any) -> dict[str, Any]:
    return {"question": "When?", "context": context, "label": answers}


def test_every_problem_has_a_row() -> None:
    assert set(LABEL_KINDS) == set(PROBLEMS)


@pytest.mark.parametrize(
    ("problem", "value", "mapping", "text"),
    [
        ("multi_label", ["joy", "anger", "joy"], "as-is", '["anger", "joy"]'),
        ("multi_label", np.array([1, 0]), "0:no,1:yes", '["no", "yes"]'),
        ("multi_label", "joy | anger", "as-is", '["anger", "joy"]'),
        ("multi_label", [], "as-is", "[]"),
        ("multi_label", "|", "as-is", "[]"),
        ("multi_label", ["Über"], "as-is", '["Über"]'),
        ("regression", "3.80", "as-is", "3.8"),
        ("regression", 4, "as-is", "4.0"),
        ("token_labels", ["B-PER", "O"], "as-is", "B-PER O"),
        ("token_labels", "B-PER O", "as-is", "B-PER O"),
        ("token_labels", np.array([1, 0]), "0:O,1:B-PER", "B-PER O"),
    ],
)
def test_a_value_becomes_the_labels_text(problem: Problem, value: Any, mapping: str, text: str) -> None:
    assert select(problem, [{"text": "two words", "label": value}], mapping).frame["label"].tolist() == [text]


def test_answers_are_read_in_all_the_forms_that_squad_has() -> None:
    context = "It came on Monday, late."
    one = {"text": ["Monday", "on Monday", "Monday"], "answer_start": np.array([11, 8, 11])}
    each = [{"text": "Monday", "answer_start": 11}, {"text": " on Monday", "answer_start": 7}]
    rows = [{"question": "When?", "context": context, "label": label} for label in (one, each, json.dumps(each))]
    expected = [Span("Monday", 11), Span("on Monday", 8)]
    assert [read_spans(text) for text in select("answer_spans", rows).frame["label"]] == [expected] * 3


def test_labels_may_be_columns_of_0_and_1() -> None:
    rows = [{"text": "a", "joy": 1, "anger": "0"}, {"text": "b", "joy": False, "anger": 1.0}]
    frame = select("multi_label", rows, label="joy,anger").frame
    assert frame["label"].tolist() == ['["joy"]', '["anger"]']


@pytest.mark.parametrize(
    ("text", "kept"), [(["EU", "rejects"], "EU rejects"), (np.array(["EU"]), "EU"), (" EU  rejects\n", "EU rejects")]
)
def test_words_come_as_lists_or_as_text(text: Any, kept: str) -> None:
    tags = ["O"] * len(kept.split())
    assert select("token_labels", [{"text": text, "label": tags}]).frame["text"].tolist() == [kept]


@pytest.mark.parametrize(
    ("problem", "row", "message"),
    [
        ("multi_label", {"text": "b", "label": 3}, r"train\.jsonl:2: the label is 3; expected a list of names"),
        ("multi_label", {"text": "b", "label": ["x", None]}, r"train\.jsonl:2: the label holds None"),
        ("multi_label", {"text": "b", "label": None}, r"train\.jsonl:2: the label is missing"),
        (
            "regression",
            {"text": "b", "label": "good"},
            r"train\.jsonl:2: the label is 'good'; expected a finite number",
        ),
        ("regression", {"text": "b", "label": float("inf")}, r"train\.jsonl:2: the label is inf; expected a finite"),
        ("regression", {"text": "b", "label": [1]}, r"train\.jsonl:2: the label is \[1\]; expected a finite number"),
        (
            "token_labels",
            {"text": ["b", "c"], "label": ["O"]},
            r"train\.jsonl:2: 2 words and 1 tags; expected a tag for",
        ),
        (
            "token_labels",
            {"text": ["b c"], "label": ["O"]},
            r"train\.jsonl:2: column 'text' holds 'b c' among the words",
        ),
        ("token_labels", {"text": ["b", ""], "label": ["O"] * 2}, r"train\.jsonl:2: column 'text' holds '' among"),
        (
            "token_labels",
            {"text": "b", "label": [3]},
            r"train\.jsonl:2: the tag '3'; expected O, or B- or I- with a type",
        ),
        ("token_labels", {"text": "b", "label": 3}, r"train\.jsonl:2: the label is 3; expected a list of tags"),
        ("answer_spans", asked("b", text=["b"], answer_start=[1]), r"jsonl:2: the answer 'b' is not at character 1 of"),
        ("answer_spans", asked("b", text=["b"], answer_start=[]), r"jsonl:2: 1 answers and 0 places"),
        (
            "answer_spans",
            asked("b", text=["b"], answer_start=["0"]),
            r"jsonl:2: the answer 'b' is at '0'; expected the",
        ),
        ("answer_spans", asked("b", text=["b"]), r"jsonl:2: the answers are .*; expected \{\"text\": "),
        ("answer_spans", asked("b", text=[], answer_start=[]), r"jsonl:2: the label is missing"),
        ("answer_spans", {**asked("b"), "label": "{b"}, r"jsonl:2: the answers are not JSON"),
        ("answer_spans", {**asked("b"), "label": None}, r"jsonl:2: the label is missing"),
    ],
)
def test_what_is_no_label_is_refused_with_its_row(problem: Problem, row: dict[str, Any], message: str) -> None:
    fine = {
        "multi_label": {"text": "a", "label": ["x"]},
        "regression": {"text": "a", "label": 1},
        "token_labels": {"text": ["a"], "label": ["O"]},
        "answer_spans": asked("a", text=["a"], answer_start=[0]),
    }[problem]
    with pytest.raises(InputError, match=message):
        select(problem, [fine, row])


def test_a_flag_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.jsonl:1: column 'joy' holds 2; expected 0 or 1"):
        select("multi_label", [{"text": "a", "joy": 2, "anger": 1}], label="joy,anger")


def test_questions_without_an_answer_go_the_way_of_the_policy() -> None:
    rows = [asked("a", text=["a"], answer_start=[0]), asked("b", text=[], answer_start=[])]
    examples = select("answer_spans", rows, policy=DataChecks(missing_label="drop"))
    assert examples.frame["context"].tolist() == ["a"]
    assert examples.dropped == {"missing label": 1}


@pytest.mark.parametrize(
    ("problem", "mapping"),
    [("regression", "0:a"), ("answer_spans", "0:a"), ("multi_label", "<=2:a,>=3:b"), ("token_labels", "<=2:a,>=3:b")],
)
def test_a_mapping_that_says_nothing_about_such_labels_is_refused(problem: Problem, mapping: str) -> None:
    with pytest.raises(InputError, match=r"--label_mapping '.*': th"):
        check_mapping(KINDS[problem], parse_label_mapping(mapping), mapping)


def labelled(labels: list[str], **columns: list[str]) -> Examples:
    frame = pd.DataFrame({"text": [f"row {i}" for i in range(len(labels))], **columns, "label": labels})
    return Examples(frame, "train.jsonl", {})


def test_a_cut_at_random_leaves_train_a_row_of_every_name() -> None:
    rare = [names_text(["common", f"rare {i}"]) for i in range(10)]
    given = {"train": labelled([*rare, *[names_text(["common"])] * 40])}
    splits = complete_splits(given, 0.2, 0.2, 1, KINDS["multi_label"])
    assert {split: len(part.frame) for split, part in splits.items()} == {"train": 30, "validation": 10, "test": 10}
    assert splits["test"].origin == "train.jsonl, cut at random with seed 1"
    assert check_labels(splits, KINDS["multi_label"]) == ("common", *sorted(f"rare {i}" for i in range(10)))
    again = complete_splits(given, 0.2, 0.2, 1, KINDS["multi_label"])
    assert again["test"].frame.equals(splits["test"].frame)


def test_questions_on_one_context_stay_in_one_split() -> None:
    contexts = [f"context {i // 4}" for i in range(80)]
    given = {"train": labelled([spans_text([Span("context", 0)])] * 80, context=contexts)}
    splits = complete_splits(given, 0.25, 0.25, 1, KINDS["answer_spans"])
    found = [set(part.frame["context"]) for part in splits.values()]
    assert sum(map(len, found)) == 20
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    assert [len(part.frame) for part in splits.values()] == [40, 20, 20]


def test_rows_too_few_to_cut_are_refused() -> None:
    with pytest.raises(InputError, match=r"cannot cut a test split of 0 rows from 3"):
        complete_splits({"train": labelled(["1.0"] * 3)}, 0.1, 0.1, 1, KINDS["regression"])


@pytest.mark.parametrize(
    ("problem", "train", "test", "message"),
    [
        ("multi_label", "[]", "[]", "no row has a label; expected at least one"),
        ("multi_label", '["a"]', '["a", "b"]', r"label 'b' \(1 rows of the test split, first: row 1\) does not occur"),
        ("token_labels", "O O", "O O", "the only label is 'O'; expected at least two"),
        ("token_labels", "O B-X", "O I-X", r"label 'I-X' \(1 rows of the test split"),
    ],
)
def test_names_that_train_lacks_are_refused(problem: Problem, train: str, test: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_labels({"train": labelled([train]), "test": labelled([test])}, KINDS[problem])


@pytest.mark.parametrize("problem", ["multi_label", "regression", "token_labels"])
def test_arrow_columns_hold_the_labels(problem: Problem, tiny_checkpoint: Path, tmp_path: Path) -> None:
    manifest = read_manifest(prepare_problem(tmp_path, problem, tiny_checkpoint))
    assert manifest.task == TASKS_OF[problem]
    rows = TokenRows(tmp_path / "dataset" / "validation.arrow")
    source = [json.loads(line) for line in (tmp_path / "data" / "validation.jsonl").read_text().splitlines()]
    for index, row in enumerate(source):
        labels = rows.row(index)["labels"]
        if problem == "multi_label":
            assert labels.dtype == np.float32
            assert [manifest.labels[i] for i in np.flatnonzero(labels)] == row["label"]
        elif problem == "regression":
            assert labels == np.float32(row["label"])
        else:
            # A token a word, between [CLS] and [SEP].
            assert [manifest.labels[i] for i in labels[1:-1]] == row["label"]
            assert labels[0] == labels[-1] == -100
            assert rows.read_back(index)["word_tokens"].tolist() == list(range(1, len(row["text"]) + 1))
    assert set(rows.columns) == {"input_ids", "attention_mask", "labels"}
    summary = manifest.splits["validation"]
    if problem == "regression":
        assert summary.labels == {}
        assert manifest.labels == ()
        assert summary.label_mean == pytest.approx(np.mean([row["label"] for row in source]))
    elif problem == "multi_label":
        assert summary.labels["billing"] == sum("billing" in row["label"] for row in source)
    else:
        assert sum(summary.labels.values()) == sum(len(row["label"]) for row in source)


def test_long_contexts_become_windows_that_know_their_places(tiny_checkpoint: Path, tmp_path: Path) -> None:
    manifest = read_manifest(prepare_problem(tmp_path, "answer_spans", tiny_checkpoint, doc_stride=8))
    assert (manifest.max_length, manifest.window_overlap, manifest.labels) == (32, 8, ())
    texts = pd.read_parquet(tmp_path / "dataset" / "validation.parquet")
    rows = TokenRows(tmp_path / "dataset" / "validation.arrow")
    assert len(rows) > len(texts) == 24
    found, examples = set(), []
    for index in range(len(rows)):
        row, back = rows.row(index), rows.read_back(index)
        example = int(back["example"])
        examples.append(example)
        span = read_spans(texts["label"][example])[0]
        first, last = int(row["start_positions"]), int(row["end_positions"])
        if first:
            assert (back["offset_start"][first], back["offset_end"][last]) == (span.start, span.end)
            found.add(example)
        else:
            inside = back["offset_start"] >= 0
            whole = back["offset_start"][inside].min() <= span.start and back["offset_end"].max() >= span.end
            assert last == 0
            assert not whole
    assert found == set(range(24)) == set(examples)
    assert manifest.splits["validation"].truncated_share == 0.0
    assert manifest.splits["validation"].tokens_longest > 40
    assert "offset_start" not in rows.columns
    assert "example" not in rows.columns
    train = TokenRows(tmp_path / "dataset" / "train.arrow")
    assert train.read_back(0) == {}


def test_an_answer_is_the_tokens_it_is_made_of_also_without_spaces(tiny_checkpoint: Path) -> None:
    counter = TokenCounter(load_tokenizer(tiny_checkpoint), max_length=32, overlap=8)
    rows = pd.DataFrame(
        {"question": ["is late"], "context": ["my parcel,order!day"], "label": [spans_text([Span("order!", 10)])]}
    )
    columns = encode_spans(rows, 5, ("question", "context"), (), counter)
    places = [columns[name][0].as_py() for name in ("offset_start", "offset_end")]
    first, last = (columns[name][0].as_py() for name in ("start_positions", "end_positions"))
    assert (places[0][first], places[1][last]) == (10, 16)
    assert columns["example"].to_pylist() == [5]


def test_repairs_would_move_answers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--repair html: answers are places in the text as it is"):
        prepare_problem(tmp_path, "answer_spans", tiny_checkpoint, repairs=("html",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"doc_stride": 0}, "--doc_stride 0: expected"), ({"max_length": 16}, "--max_length 16: expected at least 32")],
)
def test_windows_that_cannot_be_are_refused(
    changes: dict[str, Any], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        prepare_problem(tmp_path, "answer_spans", tiny_checkpoint, **changes)


def test_names_are_read_back_as_written() -> None:
    assert read_names(names_text(["b", "a", "b"])) == ["a", "b"]


def test_a_background_tag_makes_no_imbalance(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_problem(tmp_path / "data", "token_labels")
    assert folder.is_dir()
    manifest = read_manifest(prepare_problem(tmp_path, "token_labels", tiny_checkpoint))
    said = [finding.detail for finding in manifest.findings if finding.check == "imbalance"]
    assert not [detail for detail in said if detail.startswith("O ")]
