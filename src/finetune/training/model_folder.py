"""The MLflow model folder that a trial leaves behind."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Object, Property

from finetune.data.manifest import DatasetManifest
from finetune.files import write_json
from finetune.tasks import Problem, Task
from finetune.training.contents import EXAMPLE_PREDICTION
from finetune.training.problems import head_of

_SERVING_PACKAGES = ("mlflow", "torch", "transformers", "numpy", "pandas", "safetensors")
_SERVING_BATCH_ROWS = 32
_STRING, _DOUBLE, _LONG = DataType.string, DataType.double, DataType.long
_ENTITY = Object(
    [
        Property("label", _STRING),
        Property("text", _STRING),
        Property("start", _LONG),
        Property("end", _LONG),
        Property("score", _DOUBLE),
    ]
)
ANSWERS: Mapping[Problem, Mapping[str, Any]] = MappingProxyType(
    {
        "single_label": {"label": _STRING, "score": _DOUBLE, "probabilities": Array(_DOUBLE)},
        "multi_label": {"labels": Array(_STRING), "probabilities": Array(_DOUBLE)},
        "regression": {"value": _DOUBLE},
        "token_labels": {"tags": Array(_STRING), "entities": Array(_ENTITY)},
        "answer_spans": {"answer": _STRING, "score": _DOUBLE, "start": _LONG, "end": _LONG},
    }
)
"""The columns that a model answers with, as its signature has them."""


def save_model_folder(
    folder: Path,
    write_checkpoint: Callable[[Path], None],
    task: Task,
    manifest: DatasetManifest,
    packages: Sequence[str] = (),
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Save a fine-tuned model so that `mlflow.pyfunc.load_model(folder)` opens it without this project.

    The saved folder is loaded once and asked for its example; a model that does not open fails its trial, not its
    deployment. `example_prediction.json` keeps the answer.

    Args:
        folder: the output folder; whatever is in it is replaced.
        write_checkpoint: makes the checkpoint's folder: configuration, tokenizer, weights in safetensors or as a graph.
        task: the task's row.
        manifest: the data set it was trained on.
        packages: what it takes to load it besides the packages of every model.
        metadata: what else MLmodel says.
    """
    example = pd.DataFrame([dict(task.example)])
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / "checkpoint"
        write_checkpoint(checkpoint)
        saved = Path(temporary) / "model"
        mlflow.pyfunc.save_model(
            saved,
            python_model=str(head_of(task).model_script),
            artifacts={"checkpoint": str(checkpoint)},
            model_config=_model_config(task, manifest),
            signature=signature(task),
            input_example=example,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in (*_SERVING_PACKAGES, *packages)],
            metadata={
                "task": task.name,
                "problem": task.problem,
                "labels": list(manifest.labels),
                "base_checkpoint": manifest.checkpoint,
                "train_sha256": manifest.splits["train"].sha256,
                **metadata,
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
        fill_folder(folder, saved)


def checkpoint_writer(model: Any, tokenizer: Any) -> Callable[[Path], None]:
    """Return what writes a model and its tokenizer as a checkpoint.

    Args:
        model: a `transformers` model with `id2label` set.
        tokenizer: its tokenizer.
    """

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return write


def _model_config(task: Task, manifest: DatasetManifest) -> dict[str, Any]:
    config = {
        "problem": task.problem,
        "text_columns": list(task.text_columns),
        "max_length": manifest.max_length,
        "batch_size": _SERVING_BATCH_ROWS,
    }
    return config if manifest.window_overlap is None else {**config, "window_overlap": manifest.window_overlap}


def signature(task: Task) -> ModelSignature:
    """Return what a model of a task takes and answers: texts in, label, score and probabilities out."""
    return ModelSignature(
        inputs=Schema([ColSpec(_STRING, name) for name in task.text_columns]),
        outputs=Schema([ColSpec(kind, name) for name, kind in ANSWERS[task.problem].items()]),
    )


def fill_folder(folder: Path, source: Path) -> None:
    """Put a folder's contents in the place of an output folder's, which may be a mount point that cannot be renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.copytree(source, folder, dirs_exist_ok=True)
