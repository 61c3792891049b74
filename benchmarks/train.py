r"""What training costs: this project's recipe against the seed recipe, in CPU-seconds per row, interleaved in one run.

The seed recipe is what public fine-tuning samples do: Hugging Face's Trainer, every text padded to the maximum length,
fp32, rows in random order. Beside the whole recipe, each switch's own part: what a row costs when that switch alone is
put back.

Batches of the recipe are taken from an epoch's own at evenly spaced lengths, so that few steps stand for all; costs
are per token computed, times the tokens that the epoch computes per row. It fails where a target is missed.

Example:
    python benchmarks/train.py --data ../shared/data --datasets mrpc --models minilm --steps 6
"""

import argparse
import gzip
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset

from finetune.checkpoints import EMBEDDED_NAME, resolve_checkpoint
from finetune.data.manifest import DatasetManifest
from finetune.data.prepare import PrepareRequest, prepare
from finetune.tasks import task_named
from finetune.training.arguments import TrainArguments
from finetune.training.batches import Padding, TokenRows, epoch_order
from finetune.training.choices import choose, detect_hardware
from finetune.training.memory import keep_freed_memory
from finetune.training.network import load_model, set_up
from finetune.training.optimisation import make_optimizer
from finetune.training.problems import head_of
from finetune.training.processes import Processes
from finetune.training.step import Stepper

ROWS = 2000
"""Rows of a data set that are prepared: what is measured is the cost of a step."""
SEED_STEPS = 1
"""Measured steps of the seed recipe in a run: all of its batches have one shape, and cost the same."""


@dataclass(frozen=True)
class Source:
    """A data set in the folder of real data."""

    folder: str
    task: str
    columns: Mapping[str, str]
    max_length: int


SOURCES = {
    "mrpc": Source("mrpc", "text-pair-classification", {"text": "sentence1", "text_pair": "sentence2"}, 128),
    "amazon": Source("amazon_musical_instruments_5core", "text-classification", {"text": "reviewText"}, 256),
}
MODELS = ("minilm", "bert-base")
BATCH = {("mrpc", "minilm"): 32, ("amazon", "minilm"): 16, ("mrpc", "bert-base"): 16, ("amazon", "bert-base"): 8}
"""Rows in a step: as many as the seed recipe trains in about 5 GiB."""
SEED_RECIPE, RECIPE, WITHOUT_BF16 = "seed recipe", "recipe", "fp32"
TARGETS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("mrpc", "minilm"): {RECIPE: 6.0, WITHOUT_BF16: 3.0},
    ("mrpc", "bert-base"): {RECIPE: 5.0},
}
"""How many times less than the seed recipe a variant has to cost."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    RECIPE: {},
    "random order": {"batching": "random"},
    WITHOUT_BF16: {"precision": "fp32"},
    "fp32, torch's own products": {"precision": "fp32", "matmul_precision": "highest"},
    "native dropout": {"dropout": "native"},
    "last layer for all tokens": {"last_layer": "all_tokens"},
    "AdamW tensor by tensor": {"optimizer": "foreach"},
    "LoRA, rank 8": {"lora_rank": 8},
}


@dataclass(frozen=True)
class Bench:
    """One data set and model, ready to be measured."""

    dataset: Path
    manifest: DatasetManifest
    checkpoint: Path
    batch: int
    steps: int


def main() -> None:
    """Measure and print a table for each data set and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real data")
    parser.add_argument("--datasets", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--steps", type=int, default=4, help="measured steps of the recipe in a run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each variant; the median counts")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    problems = []
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.models:
            checkpoint = checkpoint_of(model, Path(temporary))
            for name in arguments.datasets:
                dataset = Path(temporary) / f"{name}-{model}"
                manifest = prepared(SOURCES[name], arguments.data, checkpoint, dataset)
                batch = BATCH[name, model]
                bench = Bench(dataset, manifest, checkpoint, batch, arguments.steps)
                costs = measure(bench, [RECIPE, *arguments.variants], arguments.repeats)
                print(table(f"{name}, {model}, batch {batch}: {padding_of(bench)}", costs), flush=True)
                problems += [f"{name}, {model}: {each}" for each in failures(TARGETS.get((name, model), {}), costs)]
    if problems:
        sys.exit("error: " + "; ".join(problems))


def checkpoint_of(model: str, folder: Path) -> Path:
    """Return a checkpoint's folder: the embedded one, or random weights of BERT-base's size with its tokenizer."""
    embedded = resolve_checkpoint(EMBEDDED_NAME).folder
    if model == "minilm":
        return embedded
    made = folder / model
    transformers.set_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(embedded)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer))).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def prepared(source: Source, data: Path, checkpoint: Path, folder: Path) -> DatasetManifest:
    """Prepare the first rows of a data set."""
    with gzip.open(data / source.folder / "train.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    rows = [row for row in rows if all(row[column] for column in source.columns.values())][:ROWS]
    plain = folder.with_suffix(".jsonl")
    with plain.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            texts = {name: row[column] for name, column in source.columns.items()}
            # Which label a row has does not change what it costs.
            stream.write(json.dumps({**texts, "label": "odd" if number % 2 else "even"}) + "\n")
    request = PrepareRequest(
        task=source.task,
        source=plain,
        source_columns={"text": "text", "text_pair": "text_pair"},
        label_column="label",
        label_mapping="as-is",
        checkpoint=str(checkpoint),
        max_length=source.max_length,
        validation_share=0.05,
        test_share=0.05,
        seed=1,
    )
    return prepare(request, folder)


def measure(bench: Bench, variants: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Return variant → CPU-seconds per row, a figure for each repeat; all variants take turns."""
    runs: dict[str, Callable[[bool], float]] = {SEED_RECIPE: lambda first: seed_cost(bench)}
    for name in dict.fromkeys(variants):
        runs[name] = lambda first, name=name: recipe_cost(bench, VARIANTS[name], first)  # type: ignore[misc]
    costs: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats):
        for name, run in runs.items():
            costs[name].append(run(number == 0))
            print(f"{name}: {1000 * costs[name][-1]:.1f} CPU-ms per row", file=sys.stderr, flush=True)
    return costs


def seed_cost(bench: Bench) -> float:
    """Return CPU-seconds per row of Hugging Face's Trainer, padding to the maximum, fp32."""
    torch.set_float32_matmul_precision("highest")
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.checkpoint)
    warm = 1
    marks: list[float] = []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *ignored: Any, **more: Any) -> None:
            marks.append(time.process_time())

    trainer = transformers.Trainer(
        model=network(bench, "sdpa"),
        args=transformers.TrainingArguments(
            output_dir=str(bench.dataset / "trainer"),
            max_steps=SEED_STEPS + warm,
            per_device_train_batch_size=bench.batch,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            logging_strategy="no",
        ),
        train_dataset=Dataset.from_file(str(bench.dataset / "train.arrow")),
        data_collator=transformers.DataCollatorWithPadding(
            tokenizer, padding="max_length", max_length=bench.manifest.max_length
        ),
        callbacks=[Clock()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return (marks[-1] - marks[warm - 1]) / (SEED_STEPS * bench.batch)


def recipe_cost(bench: Bench, switches: Mapping[str, Any], first: bool) -> float:
    """Return CPU-seconds per row of this project's step with some switches put back.

    Args:
        bench: what to measure on.
        switches: arguments of train that differ from its defaults.
        first: nothing of this variant was measured in this process before.
    """
    given = TrainArguments(
        str(bench.dataset), "", "", str(bench.checkpoint), per_device_train_batch_size=bench.batch, **switches
    )
    choices = choose(given, detect_hardware())
    if choices.freed_memory.value == "kept":
        keep_freed_memory()
    torch.set_float32_matmul_precision(choices.matmul_precision.value)
    model, _ = set_up(network(bench, choices.attention.value), given, choices)
    rows = TokenRows(bench.dataset / "train.arrow")
    padding = Padding.of(transformers.AutoTokenizer.from_pretrained(bench.checkpoint))
    optimizer = make_optimizer(model, given, fused=choices.optimizer.value == "fused")
    alone = Processes(0, 1, torch.device("cpu"))
    head = head_of(task_named(bench.manifest.task))
    stepper = Stepper(model.train(), optimizer, rows, padding, given, choices.precision.value, alone, head)
    order = epoch_order(rows.lengths, bench.batch, given.batching == "length_grouped", 1, 0)
    epoch = [order[at : at + bench.batch] for at in range(0, len(order), bench.batch)]
    batches = spread(epoch, rows.lengths, bench)
    # Each length once before: what is compiled for a shape is compiled once in a run of thousands of steps.
    for step, batch in enumerate(batches if first else batches[:1]):
        stepper.take(batch, step, 1e-5)
    began = time.process_time()
    for step, batch in enumerate(batches):
        stepper.take(batch, step, 1e-5)
    seconds = time.process_time() - began
    return seconds / computed(batches, rows.lengths) * computed(epoch, rows.lengths) / len(order)


def padding_of(bench: Bench) -> str:
    """Say how long rows are, and how much padding grouping by length leaves: what padding-free batches could save."""
    lengths = TokenRows(bench.dataset / "train.arrow").lengths
    order = epoch_order(lengths, bench.batch, True, 1, 0)
    epoch = [order[at : at + bench.batch] for at in range(0, len(order), bench.batch)]
    share = 1 - lengths.sum() / computed(epoch, lengths)
    return f"{lengths.mean():.0f} tokens a row of at most {bench.manifest.max_length}; {share:.1%} padding when grouped"


def computed(batches: Sequence[np.ndarray], lengths: np.ndarray) -> int:
    """Return the tokens that batches compute, padding included."""
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


def spread(batches: Sequence[np.ndarray], lengths: np.ndarray, bench: Bench) -> list[np.ndarray]:
    """Return so many whole batches at evenly spaced lengths that they stand for all of them."""
    whole = sorted(
        (batch for batch in batches if len(batch) == bench.batch), key=lambda batch: int(lengths[batch].max())
    )
    return [whole[int((at + 0.5) * len(whole) / bench.steps)] for at in range(bench.steps)]


def network(bench: Bench, attention: str) -> transformers.PreTrainedModel:
    """Load the model anew."""
    transformers.set_seed(0)
    task = task_named(bench.manifest.task)
    return load_model(bench.checkpoint, str(bench.checkpoint), task, bench.manifest, attention)


def failures(targets: Mapping[str, float], costs: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the targets that were missed, or not measured."""
    missed = []
    for name, least in targets.items():
        if name not in costs:
            missed.append(f"{name}: not measured; expected {least:g} times less than the seed recipe")
        elif not (times := statistics.median(costs[SEED_RECIPE]) / statistics.median(costs[name])) >= least:
            missed.append(f"{name}: {times:.2f} times less than the seed recipe; expected {least:g}")
    return missed


def table(title: str, costs: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table: medians, what the recipe gains on the seed recipe, and each switch's own part."""
    medians = {name: statistics.median(values) for name, values in costs.items()}
    lines = [
        f"\n{title}\n",
        "| | CPU-ms per row: median (all) | times less than the seed recipe | the recipe is … times less |",
        "|---|---|---|---|",
    ]
    for name, median in medians.items():
        each = ", ".join(f"{1000 * value:.1f}" for value in costs[name])
        against, own = medians[SEED_RECIPE] / median, median / medians[RECIPE]
        lines.append(f"| {name} | {1000 * median:.1f} ({each}) | {against:.2f} | {own:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
