"""AutoML's model in the form of ours: asked as evaluate asks, and refused where it cannot be trusted."""

import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from finetune.automl.adapt import adapt
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.data.prepare import PrepareRequest, prepare
from finetune.data.tables import read_table
from finetune.errors import InputError
from finetune.evaluation import check_trained_on, predict


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, prepare_request: PrepareRequest) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(prepare_request, folder / "dataset", {"train": folder / "train_table"})
    return folder


@pytest.fixture(scope="module")
def manifest(prepared: Path) -> DatasetManifest:
    return read_manifest(prepared / "dataset")


@pytest.fixture(scope="module")
def classifier(prepared: Path) -> Pipeline:
    rows = read_table(prepared / "train_table")
    features = ColumnTransformer([("words", TfidfVectorizer(), "text")])
    return Pipeline([("features", features), ("classifier", LogisticRegression(C=10))]).fit(rows, rows["label"])


@pytest.fixture(scope="module")
def automl_model(tmp_path_factory: pytest.TempPathFactory, classifier: Pipeline) -> Path:
    folder = tmp_path_factory.mktemp("automl") / "best_model"
    mlflow.sklearn.save_model(classifier, folder, pip_requirements=["scikit-learn"], metadata={"learner": "linear"})
    return folder


def test_it_answers_as_our_models_do_and_as_automls_own(
    prepared: Path, manifest: DatasetManifest, automl_model: Path, classifier: Pipeline, tmp_path: Path
) -> None:
    adapt(automl_model, prepared / "train_table", manifest, tmp_path / "model", "refuse")

    check_trained_on(tmp_path / "model", manifest)
    rows = pd.read_parquet(prepared / "dataset" / "test.parquet")
    found = predict(tmp_path / "model", rows, manifest)
    order = [list(classifier.classes_).index(label) for label in manifest.labels]
    probabilities = np.column_stack([found.columns[f":{label}"] for label in manifest.labels])
    np.testing.assert_allclose(probabilities, classifier.predict_proba(rows[["text"]])[:, order], atol=1e-9)
    assert list(found.columns[""]) == list(classifier.predict(rows[["text"]]))
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    assert described["metadata"]["base_checkpoint"] == "AutoML: linear"
    example = json.loads((tmp_path / "model" / "example_prediction.json").read_text())
    answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame(example["input"]))
    assert answer["probabilities"][0] == pytest.approx(example["output"][0]["probabilities"])
    assert answer["label"][0] == example["output"][0]["label"]


def test_the_folder_holds_no_pickle(
    prepared: Path, manifest: DatasetManifest, automl_model: Path, tmp_path: Path
) -> None:
    adapt(automl_model, prepared / "train_table", manifest, tmp_path / "model", "refuse")

    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} <= {
        *("", ".yaml", ".txt", ".py", ".json", ".skops"),
    }


def test_rows_that_it_was_not_trained_on_are_refused(
    prepared: Path, manifest: DatasetManifest, automl_model: Path, tmp_path: Path
) -> None:
    table = shutil.copytree(prepared / "train_table", tmp_path / "table")
    rows = pd.read_parquet(table / "rows.parquet")
    rows.head(10).to_parquet(table / "rows.parquet", index=False)

    with pytest.raises(InputError, match=r"rows.parquet: its rows' sha256 is .*; the train split's is"):
        adapt(automl_model, table, manifest, tmp_path / "model", "refuse")
    assert not (tmp_path / "model").exists()


def test_other_labels_are_refused(
    prepared: Path, manifest: DatasetManifest, automl_model: Path, tmp_path: Path
) -> None:
    other = replace(manifest, labels=("account", "billing", "praise"))

    with pytest.raises(InputError, match=r"its labels are \['account', 'billing', 'delivery'\]; the data set's are"):
        adapt(automl_model, prepared / "train_table", other, tmp_path / "model", "refuse")


def spoil(folder: Path, tmp_path: Path, **changes: object) -> Path:
    copy = shutil.copytree(folder, tmp_path / "spoilt")
    described = yaml.safe_load((copy / "MLmodel").read_text())
    for flavour, change in changes.items():
        described["flavors"][flavour] |= change
    (copy / "MLmodel").write_text(yaml.safe_dump(described))
    return copy


@pytest.mark.parametrize(
    "changes",
    [
        {"sklearn": {"serialization_format": "cloudpickle"}},
        {"sklearn": {"skops_trusted_types": ["os.system"]}},
        {"sklearn": {"code": "code"}},
        {"python_function": {"loader_module": "evil"}},
        {"python_function": {"code": "code"}},
    ],
)
def test_what_could_run_code_is_not_opened(
    prepared: Path, manifest: DatasetManifest, automl_model: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    spoilt = spoil(automl_model, tmp_path, **changes)

    with pytest.raises(InputError, match="is not in the skops format, so opening it runs whatever code it holds; give"):
        adapt(spoilt, prepared / "train_table", manifest, tmp_path / "model", "refuse")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_model(prepared: Path, manifest: DatasetManifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not load as an MLflow model"):
        adapt(tmp_path, prepared / "train_table", manifest, tmp_path / "model", "refuse")


class Wrapper:
    """What the service pickles: a transformer, its tokenizer and the labels (azureml-automl-dnn-nlp's ModelWrapper)."""

    def __init__(self, model: object, tokenizer: object, classes: np.ndarray) -> None:
        self.model, self.tokenizer, self.classes_ = model, tokenizer, classes

    def predict(self, texts: pd.DataFrame) -> list[str]:
        return [self.classes_[i] for i in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: pd.DataFrame) -> np.ndarray:
        import torch

        encoded = self.tokenizer(texts["text"].tolist(), padding=True, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**encoded).logits.softmax(dim=-1).numpy()


@pytest.fixture
def service_model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Wrapper]:
    """A model folder as the service writes it: a pickle, and a loader module of its own."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    set_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=3).eval()
    wrapper = Wrapper(
        model, AutoTokenizer.from_pretrained(tiny_checkpoint), np.array(["delivery", "account", "billing"])
    )
    loader = ModuleType("service_loader")
    loader._load_pyfunc = lambda path: pickle.loads(Path(path).read_bytes())  # noqa: S301 - written above
    monkeypatch.setitem(sys.modules, "service_loader", loader)
    monkeypatch.setattr(sys.modules[__name__], "Wrapper", Wrapper)
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(wrapper))
    flavour = {"loader_module": "service_loader", "data": "model.pkl", "python_version": "3.11.0"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavour}}))
    return folder, wrapper


def test_the_services_transformer_is_taken_out_of_its_pickle(
    prepared: Path, manifest: DatasetManifest, service_model: tuple[Path, Wrapper], tmp_path: Path
) -> None:
    folder, wrapper = service_model
    with pytest.raises(InputError, match="give --pickled_model load"):
        adapt(folder, prepared / "train_table", manifest, tmp_path / "model", "refuse")

    adapt(folder, prepared / "train_table", manifest, tmp_path / "model", "load")

    rows = pd.read_parquet(prepared / "dataset" / "test.parquet")
    found = predict(tmp_path / "model", rows, manifest)
    order = [list(wrapper.classes_).index(label) for label in manifest.labels]
    probabilities = np.column_stack([found.columns[f":{label}"] for label in manifest.labels])
    np.testing.assert_allclose(probabilities, wrapper.predict_proba(rows)[:, order], atol=1e-5)
    check_trained_on(tmp_path / "model", manifest)
    assert not list((tmp_path / "model").rglob("*.pkl"))


def test_a_pickle_of_anything_else_is_refused(
    prepared: Path, manifest: DatasetManifest, classifier: Pipeline, tmp_path: Path
) -> None:
    mlflow.sklearn.save_model(
        classifier, tmp_path / "pickled", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
    )

    with pytest.raises(InputError, match="its Pipeline is neither a scikit-learn pipeline in the skops format nor"):
        adapt(tmp_path / "pickled", prepared / "train_table", manifest, tmp_path / "model", "load")
