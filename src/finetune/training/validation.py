"""Measuring a model on the validation split."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetune.data.manifest import DatasetManifest
from finetune.errors import InputError
from finetune.tasks import Task
from finetune.training.batches import Padding, TokenRows, collate, tensors_to
from finetune.training.contents import SCORE
from finetune.training.network import autocast
from finetune.training.problems import head_of
from finetune.training.processes import Processes


@dataclass(frozen=True)
class Validation:
    """How to measure: the rows, the task's metrics, and in which format."""

    rows: TokenRows
    task: Task
    manifest: DatasetManifest
    padding: Padding
    batch_size: int
    precision: str

    def measure(
        self, model: nn.Module, processes: Processes, interrupted: Callable[[], bool]
    ) -> dict[str, float] | None:
        """Return loss, the task's metrics and `score`; None when it was interrupted.

        Every process answers its share of the rows; all get the metrics of all rows.

        Raises:
            InputError: an answer is no finite number.
        """
        mine = np.argsort(self.rows.lengths, kind="stable")[processes.rank :: processes.count]
        training = model.training
        model.eval()
        answers: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        loss = 0.0
        stopped = False
        with torch.inference_mode(), autocast(self.precision, processes.device):
            for start in range(0, len(mine), self.batch_size):
                stopped = interrupted()
                if stopped:
                    break
                chosen = mine[start : start + self.batch_size]
                batch = collate(self.rows, chosen, self.padding, pin=False)
                output = model(**tensors_to(batch, processes.device))
                loss += float(output.loss) * len(chosen)
                answers.append(output.logits.float().cpu().numpy())
                labels.append(batch["labels"].numpy())
        model.train(training)
        parts = processes.gather((stopped, mine, answers, labels, loss))
        if any(part[0] for part in parts):
            return None
        order = np.argsort(np.concatenate([part[1] for part in parts]))
        logits = np.concatenate([array for part in parts for array in part[2]])[order]
        true = np.concatenate([array for part in parts for array in part[3]])[order]
        if not np.isfinite(logits).all():
            raise InputError(
                "training diverged: the model's answers on validation are not finite numbers; lower --learning_rate or "
                "use --precision fp32"
            )
        metrics = head_of(self.task).measure(self.task, self.manifest.labels, true, logits)
        return {"loss": sum(part[4] for part in parts) / len(self.rows), **metrics, SCORE: self.task.score(metrics)}
