"""From the MLflow model that AutoML hands on to one that evaluate, register and deploy take.

AutoML's model answers with labels alone; the gate needs probabilities, and what it was trained on. Two kinds are known:

- amlocal's: a scikit-learn pipeline in the skops format. Our code is put around it.
- the service's: an object with `model`, `tokenizer` and `classes_`, pickled (azureml-automl-dnn-nlp's ModelWrapper).
  The transformer is taken out and saved as train saves its own, in safetensors; the pickle goes no further.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import mlflow
import pandas as pd
import yaml
from mlflow.models import Model

from finetune.data.manifest import DatasetManifest, examples_sha256
from finetune.data.tables import ROWS_FILE, read_table
from finetune.errors import InputError
from finetune.evaluation import FAILURES_OF_MODEL_CODE
from finetune.files import write_json
from finetune.tasks import Task, task_named
from finetune.training.contents import EXAMPLE_PREDICTION
from finetune.training.model_folder import checkpoint_writer, fill_folder, save_model_folder, signature

LOGGER = logging.getLogger(__name__)

Pickled = Literal["refuse", "load"]
_MODEL_SCRIPT = Path(__file__).with_name("answering.py")
_PACKAGES = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")
_TRUSTED = frozenset({"sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration"})
"""Types that a skops file may name besides those that skops takes for safe: plain Python that holds arrays."""


def adapt(automl: Path, training_table: Path, manifest: DatasetManifest, folder: Path, pickled: Pickled) -> None:
    """Write AutoML's model as a model folder of ours.

    Args:
        automl: the MLflow model that AutoML handed on.
        training_table: what it was trained on.
        manifest: of the data set.
        folder: the output folder; whatever is in it is replaced.
        pickled: whether a pickled model is opened, which runs whatever code its file holds.

    Raises:
        InputError: the table is not the data set's train split; the model does not load, is pickled and not to be
            opened, is of no kind that is known, or has other labels.
    """
    _check_table(training_table, manifest)
    description = _describe(automl)
    safe = _is_safe(description)
    if not safe and pickled == "refuse":
        raise InputError(
            f"{automl}: is not in the skops format, so opening it runs whatever code it holds; give "
            "--pickled_model load for a model that your own workspace's AutoML service made"
        )
    try:
        found = mlflow.pyfunc.load_model(str(automl))
    except (mlflow.MlflowException, *FAILURES_OF_MODEL_CODE) as error:
        raise InputError(f"{automl}: does not load as an MLflow model: {error}") from error
    classifier = _classifier(automl, found)
    labels = _labels(automl, classifier, manifest)
    task = task_named(manifest.task)
    if safe:
        _wrap(automl, description, labels, task, manifest, folder)
    elif hasattr(classifier, "tokenizer") and hasattr(getattr(classifier, "model", None), "save_pretrained"):
        classifier.model.config.id2label = dict(enumerate(labels))
        classifier.model.config.label2id = {label: i for i, label in enumerate(labels)}
        # Its own order, which the model's metadata then name; evaluate brings probabilities into the data set's.
        of_the_model = replace(manifest, labels=tuple(labels))
        save_model_folder(folder, checkpoint_writer(classifier.model, classifier.tokenizer), task, of_the_model)
    else:
        raise InputError(
            f"{automl}: its {type(classifier).__name__} is neither a scikit-learn pipeline in the skops format nor a "
            "transformer with its tokenizer; such a model cannot be served without its pickle"
        )
    LOGGER.info("AutoML's model, with the labels %s, is at %s", ", ".join(labels), folder)


def _check_table(folder: Path, manifest: DatasetManifest) -> None:
    expected = manifest.splits["train"].sha256
    if (found := examples_sha256(read_table(folder))) != expected:
        raise InputError(f"{folder / ROWS_FILE}: its rows' sha256 is {found}; the train split's is {expected}")


def _describe(folder: Path) -> Model:
    try:
        return Model.load(str(folder))
    except (mlflow.MlflowException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{folder}: does not load as an MLflow model: {error}") from None


def _is_safe(description: Model) -> bool:
    """Tell whether loading runs none but known code: scikit-learn's classes, from a skops file."""
    python, sklearn = (description.flavors.get(name) or {} for name in ("python_function", "sklearn"))
    return (
        python.get("loader_module") == "mlflow.sklearn"
        and not python.get("code")
        and not sklearn.get("code")
        and sklearn.get("serialization_format") == "skops"
        and set(sklearn.get("skops_trusted_types") or ()) <= _TRUSTED
    )


def _classifier(folder: Path, model: Any) -> Any:
    """Find what gives probabilities: pyfunc's own answers are labels alone."""
    inner = model._model_impl  # mlflow has no public way to the object that a loader module of others gave
    for found in (getattr(inner, "sklearn_model", None), getattr(inner, "python_model", None), inner):
        if hasattr(found, "predict_proba") and hasattr(found, "classes_"):
            return found
    raise InputError(
        f"{folder}: its {type(inner).__name__} gives no probabilities; expected predict_proba and classes_"
    )


def _labels(folder: Path, classifier: Any, manifest: DatasetManifest) -> list[str]:
    """Return the model's labels as texts, in the order of its probabilities."""
    labels = [str(label) for label in classifier.classes_]
    if sorted(labels) != sorted(manifest.labels):
        raise InputError(f"{folder}: its labels are {labels}; the data set's are {list(manifest.labels)}")
    return labels


def _wrap(
    automl: Path, description: Model, labels: Sequence[str], task: Task, manifest: DatasetManifest, folder: Path
) -> None:
    example = pd.DataFrame([dict(task.example)])
    learner = (description.metadata or {}).get("learner", "unknown")
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model"
        # Copied by name: MLflow would keep a name such as "best_model" that differs from run to run.
        source = shutil.copytree(automl, Path(temporary) / "automl")
        mlflow.pyfunc.save_model(
            saved,
            python_model=str(_MODEL_SCRIPT),
            artifacts={"automl": str(source)},
            model_config={"text_columns": list(task.text_columns), "labels": list(labels)},
            signature=signature(task),
            pip_requirements=[f"{name}=={version(name)}" for name in _PACKAGES],
            metadata={
                "task": task.name,
                "problem": task.problem,
                "labels": list(labels),
                "base_checkpoint": f"AutoML: {learner}",
                "train_sha256": manifest.splits["train"].sha256,
            },
        )
        answer = mlflow.pyfunc.load_model(str(saved)).predict(example)
        write_json(saved / EXAMPLE_PREDICTION, _example(example, answer))
        fill_folder(folder, saved)


def _example(example: pd.DataFrame, answer: pd.DataFrame) -> Mapping[str, Any]:
    output = json.loads(answer.to_json(orient="records", double_precision=15))
    return {"input": example.to_dict(orient="records"), "output": output}
