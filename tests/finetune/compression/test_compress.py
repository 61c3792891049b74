"""From a trained model to the form of it that is handed on."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import transformers

from finetune.compression import compress as module
from finetune.compression.choice import PLAIN
from finetune.compression.compress import AUTO, FORMS, CompressRequest, compress
from finetune.data.manifest import TEST_FILE, read_manifest
from finetune.errors import InputError
from finetune.evaluation import check_trained_on


@pytest.fixture
def request_of(message_dataset: Path, trained_model: Path) -> CompressRequest:
    return CompressRequest(message_dataset, trained_model, AUTO, 0.1, 16, 4)


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let forms take given times: a model this small is as fast in any form."""

    def give(**milliseconds: float) -> None:
        def times(runners: dict, *ignored: object) -> dict[str, float]:
            return {name: milliseconds.get(name, 10.0) for name in runners}

        monkeypatch.setattr(module, "_times", times)

    return give


def answers(folder: Path, dataset: Path) -> np.ndarray:
    rows = pd.read_parquet(dataset / TEST_FILE)[["text"]]
    return np.array(mlflow.pyfunc.load_model(str(folder)).predict(rows)["probabilities"].tolist())


def test_all_forms_are_measured_and_the_chosen_one_is_a_whole_model(
    request_of: CompressRequest, faster: Callable[..., None], tmp_path: Path
) -> None:
    faster(plain=10.0, onnx=5.0, dynamic=2.0, static=5.0)
    record = compress(request_of, tmp_path / "out")
    assert (record["chosen"], [form["name"] for form in record["forms"]]) == ("dynamic", [PLAIN, *FORMS])
    assert json.loads((tmp_path / "out" / "compression.json").read_text()) == record
    folder = tmp_path / "out" / "artifacts" / "checkpoint"
    assert (folder / "model.onnx").is_file()
    assert not list(folder.glob("*.safetensors"))
    check_trained_on(tmp_path / "out", read_manifest(request_of.dataset))
    metadata = mlflow.models.Model.load(str(tmp_path / "out")).metadata
    assert metadata["compression"] == "dynamic"
    for name in ("training.json", "example_prediction.json"):
        assert (tmp_path / "out" / name).is_file()
    assert "onnxruntime==" in (tmp_path / "out" / "requirements.txt").read_text()
    found, expected = (answers(path, request_of.dataset) for path in (tmp_path / "out", request_of.model))
    assert np.abs(found - expected).max() < 0.1
    assert not np.array_equal(found, expected)


def test_the_graph_in_fp32_answers_as_the_model_does_in_a_process_without_this_project(
    request_of: CompressRequest, faster: Callable[..., None], tmp_path: Path
) -> None:
    faster(onnx=1.0)
    compress(replace(request_of, method="onnx"), tmp_path / "out")
    example = json.loads((tmp_path / "out" / "example_prediction.json").read_text())
    code = (
        "import sys, json, mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({str(tmp_path / 'out')!r})\n"
        f"print(json.dumps(model.predict(pd.DataFrame({example['input']!r}))['probabilities'].tolist()))\n"
        "assert 'finetune' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = np.array(json.loads(done.stdout.strip().splitlines()[-1]))
    plain = json.loads((request_of.model / "example_prediction.json").read_text())
    assert found == pytest.approx(np.array([row["probabilities"] for row in example["output"]]), abs=1e-5)
    assert found == pytest.approx(np.array([row["probabilities"] for row in plain["output"]]), abs=1e-3)


def test_a_form_that_loses_too_much_is_not_taken(
    request_of: CompressRequest, faster: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster(dynamic=1.0)
    scores = iter([0.9, 0.8])
    monkeypatch.setattr(module._Bench, "score", lambda self, model: next(scores))
    record = compress(replace(request_of, method="dynamic"), tmp_path / "out")
    assert record["chosen"] == PLAIN
    assert "loses 11.11%, more than the 10.00% allowed" in record["forms"][1]["reason"]
    assert list((tmp_path / "out" / "artifacts" / "checkpoint").glob("*.safetensors"))
    assert np.array_equal(*(answers(path, request_of.dataset) for path in (tmp_path / "out", request_of.model)))


def test_a_model_that_cannot_be_exported_is_handed_on_as_it_is(
    request_of: CompressRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*ignored: object) -> None:
        raise InputError("Odd cannot be exported as ONNX: no such operator")

    monkeypatch.setattr(module, "export_onnx", export)
    record = compress(request_of, tmp_path / "out")
    assert record["chosen"] == PLAIN
    assert {form["reason"] for form in record["forms"][1:]} == {"Odd cannot be exported as ONNX: no such operator"}


def test_none_hands_the_model_on(request_of: CompressRequest, tmp_path: Path) -> None:
    record = compress(replace(request_of, method="none"), tmp_path / "out")
    assert [form["name"] for form in record["forms"]] == [PLAIN]


def test_what_is_compressed_already_and_other_folders_are_refused(
    request_of: CompressRequest, faster: Callable[..., None], tmp_path: Path
) -> None:
    faster(onnx=1.0)
    compress(replace(request_of, method="onnx"), tmp_path / "out")
    with pytest.raises(InputError, match="is compressed already"):
        compress(replace(request_of, model=tmp_path / "out"), tmp_path / "again")
    with pytest.raises(InputError, match="does not load as an MLflow model"):
        compress(replace(request_of, model=tmp_path), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_graph_leaves_out_what_the_head_does_not_read_and_the_plain_model_stays_as_it_was(
    request_of: CompressRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_shorter(model: transformers.PreTrainedModel) -> bool:
        return "forward" in vars(model.base_model.encoder.layer[-1])

    seen = []

    def export(model: transformers.PreTrainedModel, *ignored: object) -> None:
        seen.append((model, is_shorter(model)))
        raise InputError("not today")

    monkeypatch.setattr(module, "export_onnx", export)
    compress(request_of, tmp_path / "out")
    ((model, shorter),) = seen
    assert (shorter, is_shorter(model)) == (True, False)
