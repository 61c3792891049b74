r"""Fine-tune as public samples do: one cold process, Hugging Face's Trainer, texts padded to the maximum, fp32.

What the benchmarks of quality and of sweeps compare with. Seed, learning rate, epochs, batch, weight decay, warm-up,
validation after each epoch and the choice of the best one are the train component's, so that only the recipe differs.

Example:
    python benchmarks/seed_recipe.py --dataset build/dataset --folder build/seed --result build/seed.json
"""

import argparse
import gzip
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset

from finetune.checkpoints import EMBEDDED_NAME, resolve_checkpoint
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.data.prepare import PrepareRequest, prepare
from finetune.metrics.classification import classification_metrics, softmax
from finetune.tasks import Task, task_named
from finetune.training.model_folder import save_model_folder
from finetune.training.network import load_model


@dataclass(frozen=True)
class Trial:
    """One training by the seed recipe."""

    dataset: Path
    """A folder that prep wrote."""
    texts: Path | None
    """Folder of train.jsonl.gz and validation.jsonl.gz with the task's columns: tokenised here, in place of prep's."""
    folder: Path
    """Where the Trainer writes, and the model as `model`."""
    learning_rate: float
    epochs: float
    batch: int
    seed: int


def main() -> None:
    """Train once and write scores and CPU-seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="folder that prep wrote")
    parser.add_argument("--texts", type=Path, help="folder of split files to tokenise here; default: prep's tokens")
    parser.add_argument("--folder", type=Path, required=True, help="what the Trainer writes; the model as model")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--num_train_epochs", type=float, default=3.0)
    parser.add_argument("--per_device_train_batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    trial = Trial(
        *(given.dataset, given.texts, given.folder, given.learning_rate, given.num_train_epochs),
        *(given.per_device_train_batch_size, given.seed),
    )
    given.result.write_text(json.dumps(train(trial)), encoding="utf-8")


def train(trial: Trial) -> dict[str, Any]:
    """Train; return `scores` (validation, one an epoch), `score` (the best), and `training_cpu_seconds`.

    The model of the best validation is saved as train saves it, so that both are measured by one path.
    """
    manifest = read_manifest(trial.dataset)
    task = task_named(manifest.task)
    checkpoint = resolve_checkpoint(EMBEDDED_NAME).folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    transformers.set_seed(trial.seed)
    model = load_model(checkpoint, str(checkpoint), task, manifest, "sdpa")
    train_rows, validation_rows = (
        Dataset.from_file(str(trial.dataset / f"{split}.arrow"))
        if trial.texts is None
        else tokenised(trial.texts, split, task, manifest, tokenizer)
        for split in ("train", "validation")
    )
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(trial.folder / "trainer"),
            learning_rate=trial.learning_rate,
            num_train_epochs=trial.epochs,
            per_device_train_batch_size=trial.batch,
            per_device_eval_batch_size=64,
            weight_decay=0.01,
            warmup_steps=0.1,
            lr_scheduler_type="linear",
            eval_strategy="epoch",
            save_strategy="epoch",
            save_only_model=True,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="score",
            greater_is_better=True,
            seed=trial.seed,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        data_collator=transformers.DataCollatorWithPadding(
            tokenizer, padding="max_length", max_length=manifest.max_length
        ),
        compute_metrics=lambda answers: scored(task, manifest, answers.label_ids, answers.predictions),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    began = time.process_time()
    trainer.train()
    seconds = time.process_time() - began
    scores = [entry["eval_score"] for entry in trainer.state.log_history if "eval_score" in entry]

    def write(folder: Path) -> None:
        trainer.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_model_folder(trial.folder / "model", write, task, manifest)
    return {"scores": scores, "score": max(scores), "training_cpu_seconds": seconds, "threads": torch.get_num_threads()}


def scored(task: Task, manifest: DatasetManifest, true: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Return `score` as the train component logs it."""
    return {"score": task.score(classification_metrics(manifest.labels, true, softmax(logits)))}


def tokenised(folder: Path, split: str, task: Task, manifest: DatasetManifest, tokenizer: Any) -> Dataset:
    """Read a split's texts and tokenise them."""
    rows = read_rows(folder / f"{split}.jsonl.gz")
    encoded = tokenizer(
        *([row[column] for row in rows] for column in task.text_columns),
        truncation=True,
        max_length=manifest.max_length,
    )
    return Dataset.from_dict({**encoded, "labels": [manifest.labels.index(row["label"]) for row in rows]})


def prepared_mrpc(texts: Path, folder: Path, max_length: int) -> DatasetManifest:
    """Prepare MRPC from split files with the columns text, text_pair and label, as prep does by default."""
    request = PrepareRequest(
        task="text-pair-classification",
        source=texts,
        source_columns={"text": "text", "text_pair": "text_pair"},
        label_column="label",
        label_mapping="as-is",
        checkpoint=EMBEDDED_NAME,
        max_length=max_length,
        validation_share=0.1,
        test_share=0.1,
        seed=1,
    )
    return prepare(request, folder)


def mrpc_texts(source: Path, limit: int | None, folder: Path) -> dict[str, int]:
    """Write MRPC's splits under the task's column names, train cut to its first rows; return the rows of each."""
    folder.mkdir()
    counts = {}
    for split in ("train", "validation", "test"):
        rows = [
            {"text": row["sentence1"], "text_pair": row["sentence2"], "label": row["label"]}
            for row in read_rows(source / f"{split}.jsonl.gz")
        ]
        chosen = rows[:limit] if split == "train" else rows
        write_rows(folder / f"{split}.jsonl.gz", chosen)
        counts[split] = len(chosen)
    return counts


def read_rows(path: Path) -> list[Mapping[str, str]]:
    """Read a gzip file of a JSON object a line."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write what `read_rows` reads."""
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
