import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from support import load_score

SCORE = Path(__file__).parents[2] / "endpoints" / "text-classifier" / "score.py"


@pytest.fixture(scope="module")
def score() -> ModuleType:
    return load_score()


@pytest.fixture(scope="module")
def ready(trained_model: Path) -> ModuleType:
    return load_score(trained_model.parent)


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
        (
            json.dumps({"input_data": ["x" * 100_000] * 11}),
            "the rows have 1100000 characters; expected at most 1000000",
        ),
        ('{"input_data": {"columns": ["text", "text"], "data": [["a", "b"]]}}', "needs names, each of them once"),
        ('{"input_data": {"columns": [["text"]], "data": [["a"]]}}', "needs names, each of them once"),
        (json.dumps({"input_data": [{"x" * 10_000: "a"}]}), f"found {'x' * 200}; expected exactly"),
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
    rows = score.parse_request('{"input_data": [{"text_pair": "b", "text": "a"}]}', columns)
    assert rows == [{"text": "a", "text_pair": "b"}]
    with pytest.raises(score.RequestError, match="row 1: found str; expected exactly the columns text, text_pair"):
        score.parse_request('{"input_data": ["a"]}', columns)


def test_workers_share_the_cores(score) -> None:
    assert score.threads({}, 8) == 8
    assert score.threads({"WORKER_COUNT": "4"}, 8) == 2
    assert score.threads({"WORKER_COUNT": "16"}, 8) == 1
    # What amlocal gives each process of several is already its share; the server sets WORKER_COUNT where nobody did.
    assert score.threads({"OMP_NUM_THREADS": "3", "WORKER_COUNT": "1"}, 8) == 3


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", 8), ("400000 100000\n", 4), ("150000 100000\n", 1), ("50000 100000\n", 1), ("1600000 100000", 8)],
)
def test_a_container_has_the_cores_that_its_quota_leaves(
    score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(score.os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu.max").write_text(quota)
    assert score.cores(tmp_path / "cpu.max") == cores
    assert score.cores(tmp_path / "missing") == 8


def test_the_deployment_has_a_worker_for_each_core_and_a_place_for_each_workers_request(score) -> None:
    deployment = yaml.safe_load((SCORE.parent / "deployment.yml").read_text())
    cores = {"Standard_DS3_v2": 4}[deployment["instance_type"]]
    workers = deployment["environment_variables"]["WORKER_COUNT"]
    assert workers == str(cores)
    assert deployment["request_settings"]["max_concurrent_requests_per_instance"] == cores
    assert score.threads({"WORKER_COUNT": workers}, cores) == 1


def test_it_answers_its_own_example_before_it_serves(
    score, trained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(score.Model, "answer", lambda self, rows: asked.append(rows))
    monkeypatch.setattr(score, "model", None)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(trained_model.parent))
    score.init()
    assert asked == [json.loads((trained_model / "example_prediction.json").read_text())["input"]]


def test_a_model_whose_code_knows_frames_alone_answers_alike(ready, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"input_data": ["my password is broken", "the parcel is late"]})
    rows = ready.run(body)
    monkeypatch.setattr(ready.model, "_answer_rows", None)
    assert ready.run(body) == rows


def test_a_folder_without_a_model_stops_the_server(score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match="0 files named MLmodel; expected 1"):
        score.init()
