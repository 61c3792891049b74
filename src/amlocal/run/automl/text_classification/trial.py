"""One trial of AutoML: fit a text classifier, score it on validation, save it as an MLflow model.

It runs by itself, in the environment that component.yml names. What it logs goes to the MLflow run that it finds in
its environment variables: the five metrics that Azure's AutoML compares text classifiers by, and its parameters.
"""

import argparse
import logging
import os
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from learners import make_pipeline
from metrics import NAMES, primary_metrics
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

LOGGER = logging.getLogger("automl")
_PACKAGES = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")
_TRUSTED = {"linear_svm": ["sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration"]}
"""What skops loads besides the types that it knows to be safe: classes of plain Python that hold arrays."""


def main() -> None:
    """Run the trial."""
    parameters = vars(_parser().parse_args())
    training, validation = (_read(parameters.pop(f"{split}_data")) for split in ("training", "validation"))
    target, output = parameters.pop("target_column_name"), Path(parameters.pop("best_model"))
    texts = [column for column in training.columns if column != target]

    started = time.perf_counter()
    pipeline = make_pipeline(texts, parameters)
    pipeline.fit(training[texts], training[target])
    fitted = time.perf_counter()
    probabilities = pipeline.predict_proba(validation[texts])
    positions = {label: place for place, label in enumerate(pipeline.classes_.tolist())}
    true = validation[target].map(positions).to_numpy()
    metrics = primary_metrics(list(positions), true, probabilities)
    chosen = NAMES[parameters["primary_metric"]]
    LOGGER.info(
        "%s: %s %.5f; fitted %d rows in %.1f s, answered %d in %.1f s",
        *(parameters["learner"], chosen, metrics[chosen], len(training), fitted - started),
        *(len(validation), time.perf_counter() - fitted),
    )
    with mlflow.start_run():
        mlflow.log_params({name: value for name, value in parameters.items() if value is not None})
        mlflow.log_metrics(metrics)
        _save(pipeline, texts, parameters, output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for name in ("training_data", "validation_data", "target_column_name", "primary_metric", "learner"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--best_model", required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--min_rows", type=int, required=True)
    parser.add_argument("--class_weight")
    parser.add_argument("--loss")
    parser.add_argument("--seed", type=int, default=42)
    for name in ("inverse_regularisation", "regularisation", "smoothing"):
        parser.add_argument(f"--{name}", type=float)
    return parser


def _read(path: str) -> pd.DataFrame:
    return pd.read_parquet(path)


def _save(pipeline: Any, texts: list[str], parameters: dict[str, Any], output: Path) -> None:
    """Save the classifier as Azure's AutoML does: an MLflow model that answers rows of texts with their labels."""
    classes = pipeline.classes_
    kinds = {"i": DataType.long, "f": DataType.double, "b": DataType.boolean}
    answers = Schema([ColSpec(kinds.get(classes.dtype.kind, DataType.string))])
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model"
        mlflow.sklearn.save_model(
            pipeline,
            saved,
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType.string, name) for name in texts]), outputs=answers
            ),
            pip_requirements=[f"{name}=={version(name)}" for name in _PACKAGES],
            skops_trusted_types=_TRUSTED.get(parameters["learner"]),
            metadata={"learner": parameters["learner"], "classes": classes.tolist()},
        )
        output.mkdir(parents=True, exist_ok=True)
        shutil.copytree(saved, output, dirs_exist_ok=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    np.seterr(all="warn")
    main()
