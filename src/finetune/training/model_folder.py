"""The MLflow model folder that a trial leaves behind."""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from finetune.data.manifest import DatasetManifest
from finetune.files import write_json
from finetune.tasks import Task
from finetune.training.contents import EXAMPLE_PREDICTION

_SERVING_PACKAGES = ("mlflow", "torch", "transformers", "numpy", "pandas", "safetensors")
_SERVING_BATCH_ROWS = 32


def save_model_folder(folder: Path, model: Any, tokenizer: Any, task: Task, manifest: DatasetManifest) -> None:
    """Save a fine-tuned model so that `mlflow.pyfunc.load_model(folder)` opens it without this project.

    The saved folder is loaded once and asked for its example; a model that does not open fails its trial, not its
    deployment. `example_prediction.json` keeps the answer.

    Args:
        folder: the output folder; whatever is in it is replaced.
        model: a `transformers` model with `id2label` set.
        tokenizer: its tokenizer.
        task: the task's row.
        manifest: the data set it was trained on.
    """
    example = pd.DataFrame([dict(task.example)])
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / "checkpoint"
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        saved = Path(temporary) / "model"
        mlflow.pyfunc.save_model(
            saved,
            python_model=str(task.model_script),
            artifacts={"checkpoint": str(checkpoint)},
            model_config={
                "text_columns": list(task.text_columns),
                "max_length": manifest.max_length,
                "batch_size": _SERVING_BATCH_ROWS,
            },
            signature=signature(task),
            input_example=example,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _SERVING_PACKAGES],
            metadata={
                "task": task.name,
                "labels": list(manifest.labels),
                "base_checkpoint": manifest.checkpoint,
                "train_sha256": manifest.splits["train"].sha256,
            },
        )
        prediction = mlflow.pyfunc.load_model(str(saved)).predict(example)
        write_json(
            saved / EXAMPLE_PREDICTION,
            {
                "input": example.to_dict(orient="records"),
                "output": json.loads(prediction.to_json(orient="records", double_precision=15)),
            },
        )
        replace_contents(folder, saved)


def signature(task: Task) -> ModelSignature:
    """Return what a model of a task takes and answers: texts in, label, score and probabilities out."""
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, name) for name in task.text_columns]),
        outputs=Schema(
            [
                ColSpec(DataType.string, "label"),
                ColSpec(DataType.double, "score"),
                ColSpec(Array(DataType.double), "probabilities"),
            ]
        ),
    )


def replace_contents(folder: Path, source: Path) -> None:
    """Fill an output folder that may be a mount point and so cannot be renamed over."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.copytree(source, folder, dirs_exist_ok=True)
