"""Measuring a model on the validation split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetune.data.tokenise import IGNORED_LABEL
from finetune.errors import InputError
from finetune.training.batches import Padding, collate, tensors_to
from finetune.training.contents import SCORE
from finetune.training.network import autocast
from finetune.training.problems import Head, Validated, answered, head_of
from finetune.training.processes import Processes


@dataclass(frozen=True)
class Validation:
    """How to measure: what is true, the batches, and in which format."""

    truth: Validated
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
        task, rows = self.truth.task, self.truth.rows
        head = head_of(task)
        mine = np.argsort(rows.lengths, kind="stable")[processes.rank :: processes.count]
        training = model.training
        model.eval()
        answers: list[np.ndarray] = []
        loss, items, stopped = 0.0, 0, False
        with torch.inference_mode():
            for start in range(0, len(mine), self.batch_size):
                stopped = interrupted()
                if stopped:
                    break
                chosen = mine[start : start + self.batch_size]
                batch = tensors_to(collate(rows, chosen, self.padding, pin=False), processes.device)
                with autocast(self.precision, processes.device):
                    logits = answered(model, batch, head)
                loss += float(head.loss(logits, batch, 0.0))
                items += int((batch["labels"] != IGNORED_LABEL).sum()) if head.labelled_tokens else len(chosen)
                answers.extend(self._of_rows(logits, rows.lengths[chosen], head))
        model.train(training)
        parts = processes.gather((stopped, mine, answers, loss, items))
        if any(part[0] for part in parts):
            return None
        order = np.argsort(np.concatenate([part[1] for part in parts]))
        unordered = [answer for part in parts for answer in part[2]]
        if not all(np.isfinite(answer).all() for answer in unordered):
            raise InputError(
                "training diverged: the model's answers on validation are not finite numbers; lower --learning_rate or "
                "use --precision fp32"
            )
        metrics = head.measure(self.truth, [unordered[row] for row in order])
        total = sum(part[3] for part in parts) / max(1, sum(part[4] for part in parts))
        return {"loss": total, **metrics, SCORE: task.score(metrics)}

    def _of_rows(self, logits: Sequence[torch.Tensor], lengths: np.ndarray, head: Head) -> list[np.ndarray]:
        """Return each row's logits by themselves, without padding."""
        joined = logits[0] if len(logits) == 1 else torch.stack(list(logits), dim=-1)
        values = joined.cpu().numpy()
        if not head.per_token:
            return list(values)
        width = values.shape[1]
        if self.padding.left:
            return [values[row, width - length :] for row, length in enumerate(lengths)]
        return [values[row, :length] for row, length in enumerate(lengths)]
