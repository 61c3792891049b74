import pandas as pd
import pytest

from finetune.data.columns import select_examples
from finetune.data.labels import parse_label_mapping
from finetune.data.sources import SourceTable
from finetune.errors import InputError


def table(**columns: list) -> SourceTable:
    return SourceTable("train.csv", pd.DataFrame(columns), first_line=2)


def select(source: SourceTable, mapping: str = "as-is", pair: bool = False):
    columns = {"text": "body", "text_pair": "title"} if pair else {"text": "body"}
    examples, _ = select_examples(source, columns, "stars", parse_label_mapping(mapping))
    return examples


def test_columns_take_the_tasks_names_in_its_order() -> None:
    examples = select(table(stars=["x"], title=["t"], other=[1], body=["b"]), pair=True)
    assert examples.frame.to_dict(orient="records") == [{"text": "b", "text_pair": "t", "label": "x"}]


def test_rows_without_text_and_between_thresholds_are_left_out_and_counted() -> None:
    examples = select(table(body=["a", " ", None, "d", "e"], stars=[1, 1, 5, 3, 5]), "<=2:bad,>=4:good")
    assert examples.frame["text"].tolist() == ["a", "e"]
    assert examples.frame["label"].tolist() == ["bad", "good"]
    assert examples.dropped == {"empty text": 2, "no threshold covers the rating": 1}


@pytest.mark.parametrize(
    ("source", "mapping", "message"),
    [
        (table(text=["a"], stars=[1]), "as-is", "no column 'body'; found text, stars"),
        (table(body=["a"], label=[1]), "as-is", "no column 'stars'; found body, label"),
        (table(body=["", " "], stars=[1, 2]), "as-is", "column 'body' is empty in all 2 rows"),
        (table(body=["a", 7], stars=[1, 2]), "as-is", r"train\.csv:3: column 'body' holds 7 \(int\); expected text"),
        (table(body=["a", "b"], stars=["1", ""]), "as-is", r"train\.csv:3: the label is missing"),
        (table(body=["a", "b"], stars=[1.0, None]), "as-is", r"train\.csv:3: the label is missing"),
        (table(body=["a", "b"], stars=[1, 9]), "1:one", r"train\.csv:3: label 9 is not in --label_mapping"),
        (table(body=["a", "b"], stars=[1, "x"]), "<=2:a,>=4:b", r"train\.csv:3: label 'x' is not a number"),
        (table(body=["a"], stars=[3]), "<=2:a,>=4:b", "all 1 rows are left out by the label mapping"),
        (table(body=[], stars=[]), "as-is", "no rows"),
        (table(), "as-is", "no rows"),
        (table(body=["a", "b"], stars=[1, [2]]), "as-is", r"train\.csv:3: the label is \[2\]; expected a name"),
        (table(body=["a", "\ud800"], stars=[1, 2]), "as-is", r"train\.csv:3: .* holds half a character"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(source: SourceTable, mapping: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select(source, mapping)


def test_a_column_cannot_be_text_and_label() -> None:
    with pytest.raises(InputError, match="the columns of text and label are stars, stars; expected different ones"):
        select_examples(table(stars=["a"]), {"text": "stars"}, "stars", parse_label_mapping("as-is"))
