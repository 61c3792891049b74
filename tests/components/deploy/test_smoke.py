"""A model's own example: which answers pass for it, whatever the model answers with."""

from typing import Any

import pytest

ANSWERS: dict[str, Any] = {
    "labels": {"labels": ["a"], "probabilities": [0.9, 0.2]},
    "value": {"value": 250.0},
    "tags": {
        "tags": ["B-PER", "O"],
        "entities": [{"label": "PER", "text": "Anna", "start": 0, "end": 4, "score": 0.98}],
    },
    "answer": {"answer": "on Monday", "score": 0.7, "start": 3, "end": 12},
}
SERVED = {**ANSWERS, "labels": {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.2}}}


def problem(deploy: Any, kind: str, served: Any) -> str | None:
    example = deploy.smoke.OwnExample([{"text": "t"}], [ANSWERS[kind]], ["a", "b"])
    return deploy.smoke.difference([served], example)


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_same_answer_passes(deploy: Any, kind: str) -> None:
    assert problem(deploy, kind, SERVED[kind]) is None


def test_a_scoring_script_may_say_more_of_a_row_but_not_less(deploy: Any) -> None:
    assert problem(deploy, "value", {**SERVED["value"], "unit": "days"}) is None
    assert problem(deploy, "value", {"unit": "days"}) == "row 1: found {'unit': 'days'}; expected an object with value"


def test_numbers_may_differ_by_a_hundredth_and_by_a_percent(deploy: Any) -> None:
    assert problem(deploy, "answer", {**SERVED["answer"], "score": 0.705}) is None
    assert problem(deploy, "value", {"value": 252.0}) is None


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("labels", {"labels": []}, "row 1: labels is []; the model itself answered ['a']"),
        ("labels", {"probabilities": {"a": 0.9, "b": 0.5}}, "row 1: probabilities.b is 0.5"),
        ("value", {"value": 260.0}, "row 1: value is 260.0; the model itself answered 250.0"),
        ("value", {"value": True}, "row 1: value is True"),
        ("value", {"value": "250.0"}, "row 1: value is '250.0'"),
        ("tags", {"tags": ["O", "O"]}, "row 1: tags[0] is 'O'; the model itself answered 'B-PER'"),
        ("tags", {"entities": []}, "row 1: entities is []"),
        (
            "tags",
            {"entities": [{**ANSWERS["tags"]["entities"][0], "label": "LOC"}]},
            "row 1: entities[0].label is 'LOC'",
        ),
        ("answer", {"answer": "Monday"}, "row 1: answer is 'Monday'"),
        ("answer", {"start": 4}, "row 1: start is 4"),
        ("labels", {"probabilities": {"a": 0.9, "b": 0.2, "c": 0.1}}, "row 1: probabilities {'a'"),
    ],
)
def test_another_answer_fails(deploy: Any, kind: str, change: dict[str, Any], said: str) -> None:
    found = problem(deploy, kind, {**SERVED[kind], **change})
    assert found is not None
    assert found.startswith(said)
