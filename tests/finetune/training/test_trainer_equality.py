"""The loop trains as Hugging Face's Trainer does: same losses, norms, rates and weights, given the same order."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from support import track_in

from finetune.data.manifest import read_manifest
from finetune.tasks import task_named
from finetune.training.arguments import TrainArguments
from finetune.training.batches import TokenRows, epoch_order
from finetune.training.fit import fit
from finetune.training.network import load_model
from finetune.training.optimisation import learning_rate_at

EPOCHS, BATCH = 2, 8


class _OursFirst(transformers.Trainer):
    """The Trainer, in the loop's order of rows."""

    rounds = 0

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        lengths = np.array(self.train_dataset["length"])
        return _Orders([epoch_order(lengths, BATCH, True, 42, epoch).tolist() for epoch in range(EPOCHS)])


class _Orders(torch.utils.data.Sampler):
    def __init__(self, orders: list[list[int]]) -> None:
        self._orders = orders
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._orders[0])

    def __iter__(self) -> Any:
        self._epoch += 1
        return iter(self._orders[self._epoch - 1])


def test_losses_norms_and_rates_are_the_trainers(message_dataset: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    track_in(tmp_path)
    fit(
        TrainArguments(
            *(str(message_dataset), str(tmp_path / "model"), str(tmp_path / "checkpoints"), str(tiny_checkpoint)),
            learning_rate=0.005,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            precision="fp32",
            keep_weights="last",
            lr_scheduler_type="linear",
            matmul_precision="highest",
        )
    )
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    client = mlflow.MlflowClient()
    ours = {
        name: [point.value for point in sorted(client.get_metric_history(run.info.run_id, name), key=lambda p: p.step)]
        for name in ("loss", "grad_norm", "learning_rate")
    }

    manifest = read_manifest(message_dataset)
    transformers.set_seed(42)
    task = task_named(manifest.task)
    model = load_model(tiny_checkpoint, "tiny", task, manifest, "sdpa")
    trainer = _OursFirst(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path / "trainer"),
            learning_rate=0.005,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            weight_decay=0.01,
            warmup_steps=0.1,
            lr_scheduler_type="linear",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_file(str(message_dataset / "train.arrow")),
        data_collator=transformers.DataCollatorWithPadding(transformers.AutoTokenizer.from_pretrained(tiny_checkpoint)),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    theirs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(ours["loss"]) == len(theirs) == 10
    for name, values in ours.items():
        # The Trainer rounds what it logs.
        assert values == pytest.approx([entry[name] for entry in theirs], rel=2e-3, abs=2e-4), name
    saved = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model" / "artifacts" / "checkpoint"
    ).state_dict()
    for name, tensor in model.state_dict().items():
        # A key's bias does not change a softmax: its gradient is rounding noise, which Adam makes a step of.
        if not name.endswith("key.bias"):
            assert torch.allclose(saved[name], tensor, atol=1e-3), name


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0.1, 7.0, 0.0])
def test_learning_rates_are_those_of_transformers_schedulers(kind: str, warmup: float) -> None:
    arguments = TrainArguments("d", "m", "c", learning_rate=0.3, lr_scheduler_type=kind, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    settings = transformers.TrainingArguments(output_dir="unused", warmup_steps=warmup, report_to=[], use_cpu=True)
    theirs = transformers.get_scheduler(
        kind, optimizer, num_warmup_steps=settings.get_warmup_steps(40), num_training_steps=40
    )
    for step in range(40):
        assert learning_rate_at(step, 40, arguments) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_the_order_is_a_permutation_of_like_lengths(message_dataset: Path) -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 1000).astype(np.int32)
    grouped, again, next_epoch = (epoch_order(lengths, 16, True, 1, epoch) for epoch in (0, 0, 1))
    assert sorted(grouped) == list(range(1000))
    assert (grouped == again).all()
    assert (grouped != next_epoch).any()

    def padding(order: np.ndarray) -> float:
        pieces = [lengths[order[at : at + 16]] for at in range(0, 1000, 16)]
        return 1 - lengths.sum() / sum(len(piece) * piece.max() for piece in pieces)

    assert padding(grouped) < 0.07 < 0.3 < padding(epoch_order(lengths, 16, False, 1, 0))
    assert lengths[grouped[:16]].max() == lengths.max()
    rows = TokenRows(message_dataset / "train.arrow")
    split = Dataset.from_file(str(message_dataset / "train.arrow"))
    assert [rows.row(i)["input_ids"].tolist() for i in range(len(rows))] == split["input_ids"][:]
