"""Fine-tune by this project's recipe in one cold process, for the benchmark of quality; beside it: seed_recipe.py."""

import argparse
import json
import time
from pathlib import Path

import mlflow
import torch

from finetune.training.arguments import TrainArguments
from finetune.training.fit import fit


def main() -> None:
    """Train once, with the train component's defaults, and write score and CPU-seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="folder that prep wrote")
    parser.add_argument("--folder", type=Path, required=True, help="for checkpoints, tracking and model")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--learning_rate", type=float, required=True)
    parser.add_argument("--num_train_epochs", type=float, required=True)
    parser.add_argument("--per_device_train_batch_size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    mlflow.set_tracking_uri(f"sqlite:///{given.folder}/mlflow.db")
    mlflow.set_experiment("Default")
    arguments = TrainArguments(
        given.dataset,
        str(given.folder / "model"),
        str(given.folder / "checkpoints"),
        learning_rate=given.learning_rate,
        num_train_epochs=given.num_train_epochs,
        per_device_train_batch_size=given.per_device_train_batch_size,
        seed=given.seed,
    )
    began = time.process_time()
    record = fit(arguments)
    seconds = time.process_time() - began
    assert record is not None  # noqa: S101 - there is one process
    told = {
        "score": record["validation"]["score"],
        "training_cpu_seconds": seconds,
        "threads": torch.get_num_threads(),
        "settings": record["settings"],
    }
    given.result.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
