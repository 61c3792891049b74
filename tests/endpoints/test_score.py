import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCORE = Path(__file__).parents[2] / "endpoints" / "text-classifier" / "score.py"


@pytest.fixture(scope="module")
def score():
    spec = importlib.util.spec_from_file_location("score", SCORE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ready(score, trained_model: Path):
    import os

    before = os.environ.get("AZUREML_MODEL_DIR")
    os.environ["AZUREML_MODEL_DIR"] = str(trained_model.parent)
    try:
        score.init()
    finally:
        os.environ.pop("AZUREML_MODEL_DIR")
        if before is not None:
            os.environ["AZUREML_MODEL_DIR"] = before
    return score


@pytest.mark.parametrize(
    "data",
    [
        ["my password is broken", "the parcel is late"],
        [{"text": "my password is broken"}, {"text": "the parcel is late"}],
        {"columns": ["text"], "data": [["my password is broken"], ["the parcel is late"]]},
        {"columns": ["text"], "index": [0, 1], "data": [["my password is broken"], ["the parcel is late"]]},
    ],
)
def test_every_form_of_request_gets_the_same_answer(ready, data: object) -> None:
    answer = ready.run(json.dumps({"input_data": data}))
    assert [row["label"] for row in answer] == ["account", "delivery"]
    for row in answer:
        assert row["score"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    json.dumps(answer, allow_nan=False)


def test_unusual_texts_are_answered(ready) -> None:
    texts = ["", "🙂", "a" * 50_000, "\x00", "<script>", "مرحبا"]
    assert len(ready.run(json.dumps({"input_data": texts}))) == len(texts)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        ("[]", 'expected a JSON object with the key "input_data"'),
        ('{"data": []}', 'the key "input_data"'),
        ('{"input_data": []}', "found 0 rows; expected 1 to"),
        ('{"input_data": "text"}', "neither a list of rows nor"),
        ('{"input_data": [1]}', "row 1: found int; expected exactly the columns text"),
        ('{"input_data": ["a", {"text": 1}]}', "row 2: text is not a string"),
        ('{"input_data": [{"text": "a", "more": "b"}]}', "row 1: found text, more; expected exactly the columns text"),
        ('{"input_data": {"columns": ["text"]}}', 'needs the lists "columns" and "data"'),
        ('{"input_data": {"columns": ["text"], "data": [["a", "b"]]}}', 'each entry of "data" needs 1 values'),
        ('{"input_data": {"columns": ["body"], "data": [["a"]]}}', "expected exactly the columns text"),
        (json.dumps({"input_data": ["x" * 100_001]}), "text has 100001 characters"),
        (json.dumps({"input_data": ["x"] * 1001}), "found 1001 rows"),
        ('{"input_data": ["a \\ud800"]}', "row 1: text holds half a character"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5_000, "the body is not JSON"),
    ],
)
def test_a_bad_request_is_status_400_with_the_reason(ready, body: str | bytes, message: str) -> None:
    answer = ready.run(body)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"value": np.float64(3.5)}, {"value": 3.5}),
        (
            {"labels": np.array(["a"], dtype=object), "probabilities": np.array([0.9, 0.1])},
            {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.1}},
        ),
        (
            {
                "tags": ["B-PER"],
                "entities": [{"label": "PER", "start": np.int64(0), "end": 4, "score": np.float32(0.5)}],
            },
            {"tags": ["B-PER"], "entities": [{"label": "PER", "start": 0, "end": 4, "score": 0.5}]},
        ),
        ({"answer": "on Monday", "start": np.int64(3)}, {"answer": "on Monday", "start": 3}),
    ],
)
def test_answers_of_every_kind_become_plain_json(score, row: dict, answer: dict) -> None:
    found = score.served(row, ["a", "b"])
    assert found == answer
    assert json.loads(json.dumps(found)) == answer


def test_pairs_need_both_columns(score) -> None:
    columns = ["text", "text_pair"]
    frame = score.parse_request('{"input_data": [{"text_pair": "b", "text": "a"}]}', columns)
    assert frame.to_dict(orient="records") == [{"text": "a", "text_pair": "b"}]
    with pytest.raises(score.RequestError, match="row 1: found str; expected exactly the columns text, text_pair"):
        score.parse_request('{"input_data": ["a"]}', columns)


def test_workers_share_the_cores(score, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score.os, "sched_getaffinity", lambda _: set(range(8)))
    assert score.threads({}) == 8
    assert score.threads({"WORKER_COUNT": "4"}) == 2
    assert score.threads({"WORKER_COUNT": "16"}) == 1
    assert score.threads({"OMP_NUM_THREADS": "3"}) == 3
    assert score.threads({"OMP_NUM_THREADS": "8", "WORKER_COUNT": "4"}) == 2


def test_it_answers_its_own_example_before_it_serves(
    score, trained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Model:
        def predict(self, frame: object) -> None:
            asked.append(frame.to_dict("records"))

    monkeypatch.setattr(score.mlflow.pyfunc, "load_model", lambda folder: Model())
    monkeypatch.setattr(score, "model", None)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(trained_model.parent))
    score.init()
    assert asked == [json.loads((trained_model / "example_prediction.json").read_text())["input"]]


def test_a_folder_without_a_model_stops_the_server(score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match="0 files named MLmodel; expected 1"):
        score.init()
