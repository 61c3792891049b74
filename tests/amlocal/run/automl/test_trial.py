"""What a trial does, in this process: its learners, its metrics, the model that it saves."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from support import track_in

from amlocal.reader import automl

FIXTURES = Path(__file__).parents[2] / "fixtures" / "automl"


@pytest.fixture(scope="module")
def scripts():
    """Import the trial's scripts as they import each other: by name, from their folder."""
    sys.path.insert(0, str(automl._TRIAL))
    names = ("learners", "metrics", "trial")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(automl._TRIAL))
    for name in names:
        del sys.modules[name]


def run(trial: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, learner: str, target: str = "label") -> Path:
    track_in(folder)
    start = automl.read_branches(automl._TRIAL / "search_space.yml")[learner].start
    given = {name: str(value) for name, value in start.items()} | {"learner": learner, "target_column_name": target}
    for split in ("training", "validation"):
        rows = pd.read_csv(FIXTURES / split.replace("training", "train") / "rows.csv")
        rows["code"] = rows["label"].map({"billing": 3, "account": 1, "delivery": 2})
        rows[["text", target]].to_parquet(folder / split)
        given[f"{split}_data"] = str(folder / split)
    given |= {"primary_metric": "auc_weighted", "best_model": str(folder / "model")}
    monkeypatch.setattr(
        sys, "argv", ["trial.py", *(word for pair in given.items() for word in (f"--{pair[0]}", pair[1]))]
    )
    trial.main()
    return folder / "model"


@pytest.mark.parametrize("learner", ["naive_bayes", "logistic_regression", "linear_svm", "linear_sgd"])
def test_every_learner_learns_and_its_model_loads_without_trust(scripts, monkeypatch, tmp_path, learner):
    import mlflow

    folder = run(scripts["trial"], monkeypatch, tmp_path, learner)

    described = mlflow.models.Model.load(str(folder))
    assert described.flavors["sklearn"]["serialization_format"] == "skops"
    trusted = set(described.flavors["sklearn"].get("skops_trusted_types") or ())
    assert trusted <= {"sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration"}
    assert described.metadata["learner"] == learner
    model = mlflow.pyfunc.load_model(str(folder))
    rows = pd.read_csv(FIXTURES / "validation" / "rows.csv")
    answers = model.predict(rows[["text"]])
    assert (np.asarray(answers) == rows["label"]).mean() > 0.9
    (tracked,) = mlflow.search_runs(output_format="list")
    assert set(tracked.data.metrics) == set(scripts["metrics"].NAMES.values())
    assert tracked.data.metrics["AUC_weighted"] > 0.9
    assert tracked.data.params["learner"] == learner


def test_labels_keep_their_type(scripts, monkeypatch, tmp_path):
    import mlflow

    folder = run(scripts["trial"], monkeypatch, tmp_path, "naive_bayes", target="code")

    assert json.loads(json.dumps(mlflow.models.Model.load(str(folder)).metadata["classes"])) == [1, 2, 3]


def test_the_metrics_are_azures(scripts):
    measure = scripts["metrics"].primary_metrics
    true = np.array([0, 0, 1, 1, 2, 2, 2, 0])
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], len(true))
    found = measure(["a", "b", "c"], true, probabilities)

    weighted = roc_auc_score(true, probabilities, multi_class="ovr", average="weighted")
    assert found["AUC_weighted"] == pytest.approx(weighted)
    assert found["accuracy"] == (probabilities.argmax(axis=1) == true).mean()
    perfect, constant = np.eye(3)[true], np.tile([0.6, 0.3, 0.1], (len(true), 1))
    assert measure(["a", "b", "c"], true, perfect) == dict.fromkeys(found, pytest.approx(1.0))
    assert measure(["a", "b", "c"], true, constant)["norm_macro_recall"] == pytest.approx(0.0)
    assert measure(["a", "b", "c"], true, constant)["AUC_weighted"] == pytest.approx(0.5)


def test_a_label_that_validation_lacks_counts_for_nothing(scripts):
    found = scripts["metrics"].primary_metrics(["a", "b", "c"], np.array([0, 1]), np.eye(3)[[0, 1]])

    assert found["AUC_weighted"] == 1.0


def test_each_text_column_has_features_of_its_own(scripts):
    frame = pd.DataFrame({"one": ["up", "down"] * 5, "two": ["same", "other"] * 5})
    parameters = {"learner": "naive_bayes", "features": "words", "min_rows": 1, "smoothing": 1.0}
    pipeline = scripts["learners"].make_pipeline(["one", "two"], {**parameters, "seed": 1, "class_weight": None})
    pipeline.fit(frame, ["x", "y"] * 5)

    assert sorted(pipeline.named_steps["features"].get_feature_names_out()) == [
        *("one_0__down", "one_0__up", "two_0__other", "two_0__same"),
    ]
