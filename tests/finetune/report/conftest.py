"""A made-up evaluation, measured, compared and decided by the project's own functions."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from answers_support import PRIMARY, answers, made_up

from finetune.answers import KINDS, Columns
from finetune.answers.single_label import columns_of
from finetune.answers.slices import count_slices
from finetune.answers.test_rows import predictions_frame
from finetune.data.manifest import DatasetManifest, SplitSummary
from finetune.files import read_json, write_json
from finetune.gate import NoChampion, TestRows, UnusableChampion
from finetune.measurement import ModelFacts, measure
from finetune.metrics.classification import softmax
from finetune.policy import read_policy
from finetune.report.facts import Facts
from finetune.report.trials import Sweep, Trial
from finetune.tasks import Problem, task_named
from finetune.verdict import METRICS_FILE, PREDICTIONS_FILE, draft_verdict
from finetune.workspace import ModelVersion

POLICY = {
    "primary_metric": "accuracy",
    "minimum": {"accuracy": 0.5},
    "maximum": {"latency_p95_ms": 200},
    "required": "superior",
    "minimum_improvement": 0.01,
    "margin": 0.01,
    "confidence": 0.95,
    "slice_margin": 0.1,
    "slice_minimum_rows": 20,
    "required_slices": [],
    "empty_slices": "reject",
    "test_rows_seen_in_train": "subtract",
    "valid_days": 14,
    "without_champion": "promote",
}
NASTY = (
    '<script>document.title = "taken"</script><img src="http://example.invalid/x.png" onerror=alert(1)>',
    "</td></tr></table><h1>free</h1>",
    "`code` | pipes | **bold** [link](http://example.invalid) @someone #12 $x$ ~~gone~~",
    "emoji 😀, \u202eright to left\u202c, \x07bell, {{ 7 * 7 }}",
    "long " * 1000,
)
INTENTS = ("account", "billing", "delivery", "product", "returns", "technical")


def training_record() -> dict[str, Any]:
    return {
        "checkpoint": "all-MiniLM",
        "task": "text-classification",
        "arguments": {"learning_rate": 0.0001, "num_train_epochs": 3.0, "seed": 42, "bf16": False},
        "precision": {"name": "fp32", "reason": "the CPU has no bf16"},
        "validation": {"loss": 0.31, "accuracy": 0.91, "score": 0.9},
        "best_checkpoint_step": 264,
        "steps": 264,
        "samples_per_second": 101.489,
        "seconds": {"load": 0.23, "train": 41.83, "save": 0.54},
        "data": {},
        "hardware": {"machine": "x86_64", "cores": 2, "torch_threads": 1, "memory_gib": 23.5, "gpus": []},
        "versions": {"torch": "2.13.0"},
    }


def made_up_sweep(trials: int = 9) -> Sweep:
    """Trials whose score hangs on the learning rate; the third is ended early."""
    made = []
    for number in range(trials):
        rate, epochs = 1e-5 * 2**number, 2 + number % 2
        final = 0.9 - 0.05 * abs(number - 4)
        scores = [(1_000_000 + 60_000 * (number + epoch), final - 0.3 * 0.5**epoch) for epoch in range(epochs)]
        status = "KILLED" if number == 2 else "FINISHED"
        parameters = {"learning_rate": str(rate), "num_train_epochs": str(epochs), "optim": "adamw"}
        made.append(
            Trial(
                f"sweep-{number}",
                status,
                parameters,
                tuple(scores),
                f"run-{number}",
                95.0,
                "1 x NVIDIA H200",
                0.3 + 0.04 * abs(number - 4),
            )
        )
    losses = {
        "loss": tuple((step, 2 * 0.98**step) for step in range(10, 270, 10)),
        "validation/loss": ((88, 0.6), (176, 0.4), (264, 0.35)),
    }
    seconds = range(0, 90, 3)
    hardware = {
        "cpu_utilization_percentage": tuple((second, 40.0 + second % 7) for second in seconds),
        "system_memory_usage_megabytes": tuple((second, 3000.0 + second) for second in seconds),
        "gpu_0_utilization_percentage": tuple((second, 93.0 - second % 5) for second in seconds),
        "gpu_0_memory_usage_megabytes": tuple((second, 9000.0) for second in seconds),
        "gpu_0_temperature_celsius": tuple((second, 50.0 + second / 9) for second in seconds),
        "gpu_0_power_usage_watts": tuple((second, 350.0) for second in seconds),
    }
    return Sweep(tuple(made), "sweep-4", losses, hardware)


@pytest.fixture
def make_facts(tmp_path: Path) -> Callable[..., Facts]:
    """Return what makes facts: labels, rows, and "usable", "unusable" or no champion."""

    def make(
        labels: tuple[str, ...] = INTENTS,
        rows: int = 240,
        champion: str | None = "usable",
        pairs: bool = False,
        texts: tuple[str, ...] = NASTY,
        skill: float = 2.6,
        **more: Any,
    ) -> Facts:
        generator = np.random.default_rng(3)
        true = np.arange(rows) % len(labels)
        hits = np.eye(len(labels))[true]
        spread = generator.normal(size=(rows, len(labels)))
        new = softmax(skill * hits + 1.1 * spread)
        old = softmax(1.6 * hits + 1.1 * spread + 0.5 * generator.normal(size=spread.shape))
        # The nasty texts are those that the challenger is surest of, and wrong.
        for row in range(len(texts)):
            new[row] = 1e-4 / len(labels)
            new[row, (true[row] + 1) % len(labels)] += 1 - 1e-4 - 1e-4 * row
            new[row] /= new[row].sum()
        words = [*texts, *(f"message {row} " + "word " * (row % 17) for row in range(len(texts), rows))]
        columns = {"text": words} | ({"text_pair": words[::-1]} if pairs else {})
        frame = pd.DataFrame(columns | {"label": [labels[i] for i in true], "seen_in_train": "no"})
        train_counts = {label: 100 + i for i, label in enumerate(labels)}
        tested = {label: int((true == i).sum()) for i, label in enumerate(labels)}
        manifest = DatasetManifest(
            task="text-pair-classification" if pairs else "text-classification",
            text_columns=tuple(columns),
            labels=labels,
            splits={
                "train": SplitSummary(
                    "train.csv",
                    sum(train_counts.values()),
                    train_counts,
                    {"no label": 3},
                    "a" * 64,
                    0,
                    0,
                    17.2,
                    0.021,
                    {"16": 300, "32": 303, "256": 12},
                    201,
                ),
                "validation": SplitSummary("train.csv", rows, tested, {}, "b" * 64, 1, 0, 17.0, 0.0),
                "test": SplitSummary("test.csv", rows + 4, tested, {}, "t" * 64, 3, 1),
            },
            checkpoint="sentence-transformers/all-MiniLM-L6-v2",
            tokenizer_sha256="e" * 64,
            max_length=256,
            source="customer_messages",
            label_mapping="as-is",
            seed=1,
            findings=tuple(more.pop("findings", ())),
        )
        columns = {"challenger": columns_of(new, labels), "champion": columns_of(old, labels)}
        return finish(tmp_path, POLICY, manifest, frame, columns, champion, 4, **more)

    return make


def finish(
    folder: Path,
    stated: dict[str, Any],
    manifest: DatasetManifest,
    frame: pd.DataFrame,
    columns: dict[str, Columns],
    champion: str | None,
    subtracted: int = 0,
    **more: Any,
) -> Facts:
    """Measure answers, let the gate decide, and return what the report is made from."""
    policy_path = folder / "gate.yml"
    policy_path.write_text(yaml.safe_dump(stated))
    policy = read_policy(policy_path, task_named(manifest.task))
    sizes = count_slices(frame, np.ones(len(frame), dtype=bool), manifest)
    test_rows = TestRows(manifest.splits["test"].sha256, len(frame), 0, subtracted, slices=sizes)
    serving: Any = NoChampion("messages")
    if champion == "usable":
        serving = ModelVersion("messages", "2"), ModelFacts("c" * 64, 8.25, 91.4)
    elif champion == "unusable":
        serving = ModelVersion("messages", "2"), UnusableChampion("messages:2", "weights <broken> & gone")
    given = {name: found for name, found in columns.items() if name == "challenger" or champion == "usable"}
    answered = predictions_frame(frame, given)
    answered.to_parquet(folder / PREDICTIONS_FILE, index=False)
    challenger, when = ModelFacts("m" * 64, 8.25, 91.4), datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    write_json(folder / METRICS_FILE, measure(answered, test_rows, manifest, policy, challenger, serving, when))
    verdict = draft_verdict(folder, policy, policy_path)
    metrics = read_json(folder / METRICS_FILE, "metrics")
    lineage = {"commit": "0123abc", "job": "finetune-1", "step": "evaluate-1"}
    known = {"training": training_record(), "sweep": made_up_sweep(), "lineage": lineage, **more}
    return Facts(metrics, verdict, manifest, pd.read_parquet(folder / PREDICTIONS_FILE), **known)


@pytest.fixture
def make_problem_facts(tmp_path: Path) -> Callable[..., Facts]:
    """Return what makes facts of a problem's made-up answers: problem, champion, rows, skill, edit of the test rows."""

    def make(
        problem: Problem,
        champion: str | None = "usable",
        rows: int = 200,
        skill: float = 0.9,
        edit: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
        **more: Any,
    ) -> Facts:
        manifest, frame = made_up(problem, rows)
        frame = edit(frame)
        stated = {**POLICY, "primary_metric": PRIMARY[problem], "minimum": {PRIMARY[problem]: 0.3}}
        columns = {}
        for name, skilled, seed in (("challenger", skill, 2), ("champion", 0.7, 3)):
            given = answers(manifest, frame, skilled, seed)
            columns[name] = KINDS[problem].read(given, frame, manifest, manifest.labels)
        return finish(tmp_path, stated, manifest, frame, columns, champion, **more)

    return make
