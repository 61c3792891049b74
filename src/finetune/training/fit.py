"""One training run: data set and checkpoint in, model folder and record out."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import mlflow
import numpy as np
import transformers
from transformers import DataCollatorWithPadding, EvalPrediction, Trainer, TrainingArguments

from finetune.checkpoints import resolve_checkpoint
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.data.tokenise import load_tokenizer, tokenizer_sha256
from finetune.errors import InputError
from finetune.files import write_json
from finetune.tasks import Task, task_named
from finetune.tracking import MetricsCallback, log_parameters
from finetune.training.contents import SCORE, TRAINING_RECORD
from finetune.training.hardware import describe_hardware, package_versions
from finetune.training.model_folder import save_model_folder
from finetune.training.precision import Precision

LOGGER = logging.getLogger(__name__)

LOGGED_ARGUMENTS = (
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "label_smoothing_factor",
    "max_grad_norm",
    "optim",
    "bf16",
    "fp16",
    "train_sampling_strategy",
    "seed",
)


@dataclass(frozen=True)
class FitRequest:
    """What one training run needs besides `TrainingArguments`."""

    dataset: Path
    checkpoint: str
    model: Path
    precision: Precision


def fit(request: FitRequest, arguments: TrainingArguments) -> dict[str, Any]:
    """Fine-tune a checkpoint and save the best epoch's model.

    Validation runs as `arguments.eval_strategy` says; each run logs `score`. The model folder and `training.json` in
    it are written only after training ended well.

    Returns:
        The contents of `training.json`.

    Raises:
        InputError: the data set or the checkpoint cannot be used, they do not belong together, or the loss became NaN.
    """
    started = time.perf_counter()
    manifest = read_manifest(request.dataset)
    task = task_named(manifest.task)
    transformers.set_seed(arguments.seed)
    tokenizer, model = _load(request.checkpoint, task, manifest)
    train, validation = (_open_split(request.dataset, split) for split in ("train", "validation"))
    LOGGER.info("precision %s: %s", request.precision.name, request.precision.reason)
    loaded = time.perf_counter()

    with mlflow.start_run() as run:
        log_parameters(
            {
                "checkpoint": request.checkpoint,
                "task": task.name,
                "precision": request.precision.name,
                **{name: getattr(arguments, name) for name in LOGGED_ARGUMENTS},
            }
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda prediction: _validation_metrics(task, manifest, prediction),
            callbacks=[_ScoreCallback(), MetricsCallback()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        result = trainer.train()
        trained = time.perf_counter()
        if trainer.state.global_step == 0:
            raise InputError(f"no training step was taken: {len(train)} rows, {arguments.num_train_epochs} epochs")
        validation_metrics = _kept_metrics(trainer)

        if trainer.is_world_process_zero():
            save_model_folder(request.model, trainer.model, tokenizer, task, manifest)
    saved = time.perf_counter()
    record = {
        "checkpoint": request.checkpoint,
        "task": task.name,
        "mlflow_run": run.info.run_id,
        "arguments": {name: _plain(getattr(arguments, name)) for name in LOGGED_ARGUMENTS},
        "precision": {"name": request.precision.name, "reason": request.precision.reason},
        "validation": validation_metrics,
        "best_checkpoint_step": trainer.state.best_global_step,
        "steps": trainer.state.global_step,
        "samples_per_second": result.metrics["train_samples_per_second"],
        "seconds": {
            "load": round(loaded - started, 2),
            "train": round(trained - loaded, 2),
            "save": round(saved - trained, 2),
        },
        "data": {split: summary.sha256 for split, summary in manifest.splits.items()},
        "hardware": describe_hardware(),
        "versions": package_versions(),
    }
    if trainer.is_world_process_zero():
        write_json(request.model / TRAINING_RECORD, record)
    return record


class _ScoreCallback(transformers.TrainerCallback):
    """Logs `score` at every validation, so that a sweep can compare trials while they run."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        if state.is_world_process_zero:
            mlflow.log_metric(SCORE, metrics[f"eval_{SCORE}"], step=state.global_step)


def _load(checkpoint: str, task: Task, manifest: DatasetManifest) -> tuple[Any, Any]:
    folder = resolve_checkpoint(checkpoint).folder
    tokenizer = load_tokenizer(folder)
    if (found := tokenizer_sha256(tokenizer)) != manifest.tokenizer_sha256:
        raise InputError(
            f"--checkpoint {checkpoint}: its tokenizer ({found[:12]}) is not the one the data set was tokenised with "
            f"({manifest.tokenizer_sha256[:12]}, {manifest.checkpoint}); give prep and train the same checkpoint"
        )
    auto_model = getattr(transformers, task.auto_model)
    try:
        model = auto_model.from_pretrained(
            folder,
            num_labels=len(manifest.labels),
            id2label=dict(enumerate(manifest.labels)),
            label2id={label: i for i, label in enumerate(manifest.labels)},
            trust_remote_code=False,
            use_safetensors=True,
            # A checkpoint that was fine-tuned for other labels keeps its encoder and gets a new head.
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"--checkpoint {checkpoint}: cannot be loaded as {task.auto_model}: {error}") from None
    return tokenizer, model


def _open_split(dataset: Path, split: str) -> datasets.Dataset:
    path = dataset / f"{split}.arrow"
    if not path.is_file():
        raise InputError(f"{path}: missing; expected the tokenised split that prep writes")
    return datasets.Dataset.from_file(str(path))


def _validation_metrics(task: Task, manifest: DatasetManifest, prediction: EvalPrediction) -> dict[str, float]:
    if not np.isfinite(prediction.predictions).all():
        raise InputError(
            "training diverged: the model's answers on validation are not finite numbers; lower --learning_rate or use "
            "--precision fp32"
        )
    metrics = task.metrics(manifest.labels, prediction.label_ids, prediction.predictions)
    return {**metrics, SCORE: task.score(metrics)}


def _kept_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the validation metrics of the weights that the trainer now holds: the best checkpoint's, or the last."""
    state = trainer.state
    if not any(f"eval_{SCORE}" in entry for entry in state.log_history):
        trainer.evaluate()
    evaluations = {entry["step"]: entry for entry in state.log_history if f"eval_{SCORE}" in entry}
    kept = state.best_global_step if trainer.args.load_best_model_at_end else max(evaluations)
    return {
        name.removeprefix("eval_"): value
        for name, value in evaluations[kept].items()
        if name.startswith("eval_") and not name.endswith(("per_second", "runtime"))
    }


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)
