"""Made-up data of every problem, with rules that a tiny model learns in seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from support import WORDS, load_component, track_in

TASKS_OF = {
    "single_label": "text-classification",
    "multi_label": "multi-label-classification",
    "regression": "text-regression",
    "token_labels": "token-classification",
    "answer_spans": "question-answering",
}
"""A task of each problem that has no data set of its own."""
PAIRS = "pairs"
"""Beside the problems: one label for two texts."""
_TASKS = {**TASKS_OF, PAIRS: "text-pair-classification"}
_RUNS = {
    "multi_label": ("--num_train_epochs", "12", "--learning_rate", "0.02"),
    "regression": ("--num_train_epochs", "12", "--learning_rate", "0.01"),
    "token_labels": ("--num_train_epochs", "12", "--learning_rate", "0.02"),
    "answer_spans": ("--num_train_epochs", "2", "--learning_rate", "0.01", "--eval_steps", "4"),
    PAIRS: ("--num_train_epochs", "12", "--learning_rate", "0.01"),
}
"""What teaches `tiny_checkpoint` the rule of the data."""
_TAGS = {"parcel": "B-THING", "order": "B-THING", "card": "B-PAY", "money": "B-PAY"}
_ANSWERS = ("parcel", "invoice", "password")
_OTHERS = [word for word in WORDS if word not in _ANSWERS]


def rows_of(problem: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows under the task's own column names."""
    chance = np.random.default_rng(seed)
    return [_ROWS[problem](chance) for _ in range(count)]


def _words(chance: np.random.Generator, count: int = 8) -> list[str]:
    return [str(word) for word in chance.choice(WORDS, count)]


def _single(chance: np.random.Generator) -> dict[str, Any]:
    label = str(chance.choice(["billing", "account"]))
    words = [word for word in _words(chance) if word not in ("money", "login")]
    return {"text": " ".join([*words, {"billing": "money", "account": "login"}[label]]), "label": label}


def _pair(chance: np.random.Generator) -> dict[str, Any]:
    label = str(chance.choice(["billing", "account"]))
    words = _single(chance)["text"].split()[:-1]
    return {
        "text": " ".join(words[:4]),
        "text_pair": " ".join([*words[4:], {"billing": "money", "account": "login"}[label]]),
        "label": label,
    }


def _multi(chance: np.random.Generator) -> dict[str, Any]:
    words = _words(chance, 6)
    names = {"money": "billing", "card": "billing", "login": "account", "account": "account", "parcel": "delivery"}
    return {"text": " ".join(words), "label": sorted({names[word] for word in words if word in names})}


def _number(chance: np.random.Generator) -> dict[str, Any]:
    words = [str(word) for word in chance.choice(["late", "day", "my", "is"], 8)]
    return {"text": " ".join(words), "label": words.count("late") / 2}


def _tags(chance: np.random.Generator) -> dict[str, Any]:
    words = _words(chance)
    tags = [_TAGS.get(word, "O") for word in words]
    for place in range(1, len(words)):
        if words[place] == "broken" and tags[place - 1].endswith("THING"):
            tags[place] = "I-THING"
    return {"text": words, "label": tags}


def _answer(chance: np.random.Generator) -> dict[str, Any]:
    words = [str(word) for word in chance.choice(_OTHERS, 40)]
    place, answer = int(chance.integers(40)), str(chance.choice(_ANSWERS))
    words[place] = answer
    start = len(" ".join(words[:place])) + (place > 0)
    answers = {"text": [answer], "answer_start": [start]}
    return {"question": "is my order late", "context": " ".join(words), "answers": answers}


_ROWS = {
    "single_label": _single,
    "multi_label": _multi,
    "regression": _number,
    "token_labels": _tags,
    "answer_spans": _answer,
    PAIRS: _pair,
}


def write_problem(folder: Path, problem: str, train: int = 64, others: int = 24) -> Path:
    """Write train, validation and test as jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate({"train": train, "validation": others, "test": others}.items()):
        lines = [json.dumps(row) + "\n" for row in rows_of(problem, count, seed)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def prepare_problem(folder: Path, problem: str, checkpoint: Path, **changes: Any) -> Path:
    """Run prep on such data; return the data set's folder."""
    from finetune.data.defaults import AUTO, Asked, settle_source
    from finetune.data.prepare import PrepareRequest, prepare
    from finetune.tasks import task_named

    task = task_named(_TASKS[problem])
    data = write_problem(folder / "data", problem)
    found = settle_source(Asked(str(data), AUTO, None, None, AUTO, AUTO, AUTO, AUTO), task)
    request = {
        "task": task.name,
        "source": found.source,
        "source_columns": found.columns,
        "label_column": found.label_column,
        "label_mapping": "as-is",
        "checkpoint": str(checkpoint),
        "max_length": None,
        "validation_share": 0.2,
        "test_share": 0.2,
        "seed": 1,
        **changes,
    }
    prepare(PrepareRequest(**request), folder / "dataset")
    return folder / "dataset"


def train_problem(folder: Path, problem: str, checkpoint: Path) -> Path:
    """Run prep and train on such data, until the rule is learnt; return the folder, which has dataset and model."""
    dataset = prepare_problem(folder, problem, checkpoint)
    track_in(folder)
    load_component("train").main(
        [
            *("--dataset", str(dataset), "--checkpoint", str(checkpoint), "--precision", "fp32"),
            *("--model", str(folder / "model"), "--checkpoints", str(folder / "checkpoints")),
            *("--per_device_train_batch_size", "8", "--keep_weights", "last", *_RUNS[problem]),
        ]
    )
    return folder
