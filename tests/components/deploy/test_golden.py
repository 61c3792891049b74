"""Golden requests: what smoke.jsonl may say, and which answers it takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from rollout_support import FakeWorkspace, answer

from finetune.errors import InputError

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "endpoints" / "text-classifier" / "answer.schema.json"
LINE = {
    "request": {"input_data": ["t"]},
    "expect": {"schema": "answer.schema.json", "labels": ["a"], "latency_ms": 100},
}


def read(deploy: Any, folder: Path, *lines: Any, model: str = "m") -> Any:
    (folder / "answer.schema.json").write_text(SCHEMA.read_text())
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "smoke.jsonl").write_text("\n".join(texts) + "\n")
    return deploy.golden.read_golden_requests(folder, model)


def expecting(**change: Any) -> dict:
    return {**LINE, "expect": {**LINE["expect"], **change}}


def test_the_projects_requests_are_read(deploy: Any) -> None:
    folder = ROOT / "endpoints" / "text-classifier"
    golden = deploy.golden.read_golden_requests(folder, "customer-messages")
    assert {label for request in golden for row in request.labels for label in row} == {
        *("account", "billing", "delivery", "product", "returns", "technical")
    }
    assert deploy.golden.read_golden_requests(folder, "mrpc") == ()


def test_a_line_for_some_models_is_not_for_others(deploy: Any, tmp_path: Path) -> None:
    lines = (LINE, {**LINE, "models": ["other"]})
    assert [len(read(deploy, tmp_path, *lines, model=model)) for model in ("m", "other")] == [1, 2]
    assert read(deploy, tmp_path, "", LINE)[0].where == f"{tmp_path / 'smoke.jsonl'}:2"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"smoke.jsonl:2: not JSON"),
        ([1], r"smoke.jsonl:2: expected an object with request, expect and"),
        ({**LINE, "request ": 1}, r"smoke.jsonl:2: expected an object with request"),
        ({"request": 1}, r"smoke.jsonl:2: expected an object with request"),
        ({**LINE, "expect": {}}, r"smoke.jsonl:2: expect: expected an object with latency_ms, schema and"),
        (expecting(labels=[]), r"smoke.jsonl:2: labels is \[\]; expected for each row a label"),
        (expecting(labels="a"), r"smoke.jsonl:2: labels is 'a'"),
        (expecting(labels=[[]]), r"smoke.jsonl:2: labels is \[\[\]\]"),
        (expecting(latency_ms=0), r"smoke.jsonl:2: latency_ms is 0; expected a number above 0"),
        (expecting(latency_ms="1"), r"smoke.jsonl:2: latency_ms is '1'"),
        (
            expecting(schema="no.json"),
            r"smoke.jsonl:2: schema is 'no.json'; expected a JSON Schema, or the name of a file",
        ),
        ({**LINE, "models": "m"}, r"smoke.jsonl:2: models is 'm'; expected a list"),
    ],
)
def test_a_line_that_cannot_be_used_is_said(deploy: Any, tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(deploy, tmp_path, LINE, line)


def test_no_requests_and_a_broken_schema_are_said(deploy: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected golden requests"):
        deploy.golden.read_golden_requests(tmp_path, "m")
    with pytest.raises(InputError, match="holds no request; a smoke test without requests passes everything"):
        read(deploy, tmp_path, "")
    (tmp_path / "other.json").write_text('{"type": "nothing"}')
    with pytest.raises(InputError, match=r"other.json: no JSON Schema"):
        read(deploy, tmp_path, expecting(schema="other.json"))


@pytest.mark.parametrize(
    ("given", "milliseconds", "problem"),
    [
        (answer(), 100.0, None),
        (answer(), 101.0, "answered after 101 ms; expected at most 100"),
        (answer(label="b"), 1.0, "row 1: label 'b'; expected 'a'"),
        ([*answer(), *answer()], 1.0, "expected a list of 1 rows"),
        ([], 1.0, "expected a list of 1 rows"),
        (answer(score=1.5), 1.0, "does not fulfil the schema at $[0].score: 1.5 is greater"),
        (answer(probabilities={"a": 1}), 1.0, "does not fulfil the schema at $[0].probabilities"),
        ([{"label": "a"}], 1.0, "does not fulfil the schema at $[0]: 'score' is a required property"),
        ({"label": "a"}, 1.0, "does not fulfil the schema at $: "),
        (None, 1.0, "does not fulfil the schema"),
    ],
)
def test_an_answer_is_held_to_schema_labels_and_time(
    deploy: Any, tmp_path: Path, given: Any, milliseconds: float, problem: str | None
) -> None:
    (golden,) = read(deploy, tmp_path, LINE)
    found = deploy.golden.find_problem(golden, given, milliseconds)
    assert found == problem or (problem is not None and problem in found)


def test_a_schema_in_place_may_say_all_that_is_expected(deploy: Any, tmp_path: Path) -> None:
    value = {"type": "array", "items": {"properties": {"value": {"minimum": 2, "maximum": 4}}, "required": ["value"]}}
    (golden,) = read(deploy, tmp_path, {"request": 1, "expect": {"schema": value, "latency_ms": 100}})
    assert deploy.golden.find_problem(golden, [{"value": 3.0}], 1) is None
    assert "5.0 is greater than the maximum" in deploy.golden.find_problem(golden, [{"value": 5.0}], 1)
    broken = {"request": 1, "expect": {"schema": {"type": "nothing"}, "latency_ms": 100}}
    with pytest.raises(InputError, match=r"smoke.jsonl:1: no JSON Schema"):
        read(deploy, tmp_path, broken)


def test_one_of_several_labels_is_enough(deploy: Any, tmp_path: Path) -> None:
    (golden,) = read(deploy, tmp_path, expecting(labels=[["c", "a"]]))
    assert deploy.golden.find_problem(golden, answer(), 1) is None
    assert deploy.golden.find_problem(golden, answer(label="b"), 1) == "row 1: label 'b'; expected 'a' or 'c'"


@pytest.mark.parametrize(("labels", "latency"), [(["b"], 100), (["a"], 5)])
def test_a_colour_that_fails_a_golden_request_never_gets_traffic(
    deploy: Any, roll_out: Any, tmp_path: Path, labels: list[str], latency: float
) -> None:
    golden = read(deploy, tmp_path, LINE, expecting(labels=labels, latency_ms=latency))
    workspace = FakeWorkspace().serve(blue="m:1")
    with pytest.raises(InputError, match=r"^smoke: golden request .*smoke.jsonl:2: "):
        roll_out(workspace, golden=golden)
    assert workspace.live == {"m:1": 100}
    assert not any(call.startswith("put traffic") for call in workspace.calls)


def test_golden_requests_are_probed_in_turn_and_asked_again_under_all_traffic(
    deploy: Any, roll_out: Any, tmp_path: Path
) -> None:
    golden = read(deploy, tmp_path, LINE)
    journal = roll_out(FakeWorkspace().serve(blue="m:1"), golden=golden)
    named = {step["step"]: [check["name"] for check in step.get("checks", ())] for step in journal["steps"]}
    assert named["smoke checked"] == ["the model's own example", f"golden request {golden[0].where}"]
    assert named["hold checked"][-2:] == named["smoke checked"]
