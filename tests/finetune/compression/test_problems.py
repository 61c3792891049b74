"""Every problem of the task table, compressed: made, measured on validation, chosen or refused, and served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from problem_data import PAIRS
from support import load_score

from finetune.compression import compress as module
from finetune.compression.choice import PLAIN
from finetune.compression.compress import AUTO, FORMS, CompressRequest, compress
from finetune.compression.export import export_onnx
from finetune.data.manifest import TEST_FILE, read_manifest
from finetune.tasks import PROBLEMS, task_named
from finetune.training.contents import SCORE
from finetune.training.network import load_model
from finetune.training.problems import HEADS

KINDS = (*(problem for problem in PROBLEMS if problem != "single_label"), PAIRS)
"""`test_compress.py` has the other."""


def request_of(folder: Path, **changes: Any) -> CompressRequest:
    given = {"method": AUTO, "maximum_loss": 0.2, "calibration_rows": 16, "timed_rows": 4, **changes}
    return CompressRequest(folder / "dataset", folder / "model", **given)


@pytest.fixture(autouse=True)
def _dynamic_is_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model this small is as fast in any form."""

    def times(runners: dict, *ignored: object) -> dict[str, float]:
        return {name: 1.0 if name == "dynamic" else 5.0 if name in FORMS else 10.0 for name in runners}

    monkeypatch.setattr(module, "_times", times)


def plain_json(value: Any) -> Any:
    """Return what JSON has of an answer, numbers to nine places."""
    if isinstance(value, float | np.floating):
        return round(float(value), 9)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, dict):
        return {name: plain_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_json(each) for each in value]
    return value


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the share of rows, or of their words, that two models answer alike."""
    if "value" in one:
        return float(np.mean(np.abs(one["value"] - other["value"]) < 0.2))
    name = next(name for name in ("label", "labels", "tags", "answer") if name in one)
    pairs = zip(one[name], other[name], strict=True)
    if name == "tags":
        return float(np.mean([a == b for x, y in pairs for a, b in zip(x, y, strict=True)]))
    return float(np.mean([list(a) == list(b) for a, b in pairs]))


@pytest.mark.parametrize("kind", KINDS)
def test_all_forms_are_measured_on_validation_and_score_py_serves_the_chosen_one(
    kind: str, trained_problem: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = trained_problem(kind)
    record = compress(request_of(folder), tmp_path / "out")
    forms = {form["name"]: form for form in record["forms"]}
    assert (record["chosen"], list(forms)) == ("dynamic", [PLAIN, *FORMS]), record
    trained = json.loads((folder / "model" / "training.json").read_text())
    assert forms[PLAIN]["score"] == pytest.approx(trained["validation"][SCORE], abs=1e-6)
    assert forms["onnx"]["score"] == pytest.approx(forms[PLAIN]["score"], abs=1e-3)
    assert all(form["problem"] is None for form in forms.values())

    manifest = read_manifest(folder / "dataset")
    rows = pd.read_parquet(folder / "dataset" / TEST_FILE)[list(manifest.text_columns)]
    served = load_score(tmp_path / "out").run(json.dumps({"input_data": rows.to_dict("records")}))
    own = mlflow.pyfunc.load_model(str(tmp_path / "out")).predict(rows)
    expected = own.to_dict("records")
    for row in expected:
        if "probabilities" in row:
            row["probabilities"] = dict(zip(manifest.labels, row["probabilities"], strict=True))
    assert plain_json(served) == plain_json(expected)
    assert json.loads(json.dumps(served, allow_nan=False)) == served
    # Not the trained model's answers, which would mean that the graph is not asked, but nearly.
    plain = mlflow.pyfunc.load_model(str(folder / "model")).predict(rows)
    assert agreement(own, plain) > 0.9
    assert plain_json(own.to_dict("records")) != plain_json(plain.to_dict("records"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_that_has_lost_what_was_learnt_is_refused_by_its_score_on_validation(
    kind: str,
    trained_problem: Callable[[str], Path],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = trained_problem(kind)

    def spoil(source: Path, target: Path) -> None:
        """Write the graph of a model that has learnt nothing."""
        manifest = read_manifest(folder / "dataset")
        task = task_named(manifest.task)
        untrained = load_model(tiny_checkpoint, "", task, manifest, "eager")
        export_onnx(untrained, batches, target)

    def export(model: Any, given: Any, path: Path) -> None:
        batches.extend(given)
        path.write_bytes(b"replaced by spoil")

    batches: list[Any] = []
    monkeypatch.setattr(module, "export_onnx", export)
    monkeypatch.setattr(module, "quantise_dynamic", spoil)
    record = compress(request_of(folder, method="dynamic"), tmp_path / "out")
    assert record["chosen"] == PLAIN
    assert "more than the 20.00% allowed" in record["forms"][1]["reason"]
    rows = pd.read_parquet(folder / "dataset" / TEST_FILE)
    found, expected = (
        mlflow.pyfunc.load_model(str(path)).predict(rows[list(read_manifest(folder / "dataset").text_columns)])
        for path in (tmp_path / "out", folder / "model")
    )
    assert plain_json(found.to_dict("records")) == plain_json(expected.to_dict("records"))


def test_no_problem_is_left_out() -> None:
    assert set(HEADS) - {"single_label"} == set(KINDS) - {PAIRS}
