"""Made-up test rows of each problem, answers to them that are right more or less often, and models that give these."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune.data.manifest import (
    DatasetManifest,
    SplitSummary,
    annotations_sha256,
    examples_sha256,
    write_manifest,
)
from finetune.tasks import Problem, task_named

TASK_OF: dict[Problem, str] = {
    "single_label": "text-classification",
    "multi_label": "multi-label-classification",
    "regression": "text-pair-regression",
    "token_labels": "token-classification",
    "answer_spans": "question-answering",
}
PRIMARY: dict[Problem, str] = {problem: task_named(name).primary_metric for problem, name in TASK_OF.items()}
LABELS: dict[Problem, tuple[str, ...]] = {
    "single_label": ("account", "billing", "delivery"),
    "multi_label": ("anger", "fear", "joy", "trust"),
    "regression": (),
    "token_labels": ("B-LOC", "B-PER", "I-LOC", "I-PER", "O"),
    "answer_spans": (),
}
_WORDS = ("parcel", "refund", "late", "the", "invoice", "from", "to", "and", "went", "paid")
_ENTITIES = (("PER", ("Anna", "Smith")), ("PER", ("Bob",)), ("LOC", ("New", "York")), ("LOC", ("Oslo",)))


def made_up(problem: Problem, rows: int = 120, seed: int = 1) -> tuple[DatasetManifest, pd.DataFrame]:
    """Return a manifest and test rows as prep writes them."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame([_row(problem, number, chance) for number in range(rows)])
    frame["seen_in_train"] = "no"
    frame["slice:shop"] = np.where(np.arange(rows) % 3, "north", "south")
    labels = LABELS[problem]
    counts = {label: 20 + place for place, label in enumerate(labels)}
    train = SplitSummary("train.csv", 300, counts, {}, "a" * 64, label_mean=2.5 if problem == "regression" else None)
    test = SplitSummary("test.csv", rows, {}, {}, examples_sha256(frame))
    task = task_named(TASK_OF[problem])
    manifest = DatasetManifest(
        task=task.name,
        text_columns=task.text_columns,
        labels=labels,
        splits={"train": train, "validation": train, "test": test},
        checkpoint="tiny",
        tokenizer_sha256="e" * 64,
        max_length=64,
        source="made up",
        label_mapping="as-is",
        seed=1,
        slice_columns=("shop",),
        annotations_sha256=annotations_sha256(frame),
    )
    return manifest, frame


def _row(problem: Problem, number: int, chance: np.random.Generator) -> dict[str, str]:
    words = [f"n{number}", *chance.choice(_WORDS, chance.integers(3, 9))]
    if problem == "single_label":
        return {"text": " ".join(words), "label": LABELS[problem][number % 3]}
    if problem == "multi_label":
        names = [name for name in LABELS[problem] if chance.random() < 0.35]
        return {"text": " ".join(words), "label": json.dumps(names)}
    if problem == "regression":
        return {"text": " ".join(words), "text_pair": words[0], "label": repr(round(float(chance.uniform(0, 5)), 1))}
    if problem == "token_labels":
        tags = ["O"] * len(words)
        for _ in range(chance.integers(0, 3)):
            kind, named = _ENTITIES[chance.integers(len(_ENTITIES))]
            words += [*named, "and"]
            tags += [f"B-{kind}", *[f"I-{kind}"] * (len(named) - 1), "O"]
        return {"text": " ".join(words), "label": " ".join(tags)}
    asks = ("Who", "When", "Where", "How many")[number % 4]
    words[2] = words[2].replace("the", "Porto")  # SQuAD's script takes no account of articles
    context = " ".join([*words, *chance.choice(_WORDS, chance.integers(5, 60))])
    start = context.index(words[2])
    accepted = [{"text": words[2], "start": start}, {"text": context[start:], "start": start}]
    return {"question": f"{asks} {words[1]}?", "context": context, "label": json.dumps(accepted)}


def answers(manifest: DatasetManifest, frame: pd.DataFrame, skill: float, seed: int = 2) -> pd.DataFrame:
    """Return what a model's predict returns: each part of it is right with the probability `skill`."""
    chance = np.random.default_rng(seed)
    problem = task_named(manifest.task).problem
    return pd.DataFrame([_answer(problem, row, skill, chance) for row in frame.to_dict("records")])


def _answer(problem: Problem, row: dict[str, str], skill: float, chance: np.random.Generator) -> dict[str, Any]:
    right = chance.random() < skill
    if problem == "single_label":
        place = (LABELS[problem].index(row["label"]) + (0 if right else 1)) % 3
        probabilities = np.full(3, 0.1)
        probabilities[place] = 0.6 + 0.3 * chance.random()
        probabilities /= probabilities.sum()
        return {"label": LABELS[problem][place], "score": probabilities[place], "probabilities": probabilities.tolist()}
    if problem == "multi_label":
        there = [name in json.loads(row["label"]) for name in LABELS[problem]]
        given = [hit == (chance.random() < skill) for hit in there]
        probabilities = [0.5 + 0.5 * chance.random() if hit else 0.49 * chance.random() for hit in given]
        names = [name for name, hit in zip(LABELS[problem], given, strict=True) if hit]
        return {"labels": names, "probabilities": probabilities}
    if problem == "regression":
        return {"value": float(row["label"]) + float(chance.normal(0, 1.05 - skill))}
    if problem == "token_labels":
        tags = [tag if chance.random() < skill else str(chance.choice(LABELS[problem])) for tag in row["label"].split()]
        return {"tags": tags, "entities": []}
    context, wanted = row["context"], json.loads(row["label"])[0]
    start = wanted["start"] if right else 0
    end = start + len(wanted["text"]) if right else len(context.split()[0])
    return {"answer": context[start:end], "score": float(chance.random()), "start": start, "end": end}


_MODEL = """
import json
import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class ByHeart(PythonModel):
    def load_context(self, context):
        with open(context.artifacts["answers"]) as stream:
            self.answers = json.load(stream)

    def predict(self, context, model_input: pd.DataFrame, params=None):
        rows = model_input.to_dict("records")
        return pd.DataFrame([self.answers["\\n".join(row[name] for name in sorted(row))] for row in rows])


mlflow.models.set_model(ByHeart())
"""


def write_model(folder: Path, manifest: DatasetManifest, frame: pd.DataFrame, given: pd.DataFrame, **said: Any) -> Path:
    """Write an MLflow model that knows these answers by heart; `said` goes into its metadata."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    folder.mkdir(parents=True)
    texts = frame[sorted(manifest.text_columns)].agg("\n".join, axis=1)
    known = dict(zip(texts, json.loads(given.to_json(orient="records", double_precision=15)), strict=True))
    (folder / "answers.json").write_text(json.dumps(known))
    (folder / "by_heart.py").write_text(_MODEL)
    metadata = {
        "task": manifest.task,
        "problem": task_named(manifest.task).problem,
        "labels": list(manifest.labels),
        "train_sha256": manifest.splits["train"].sha256,
    }
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=str(folder / "by_heart.py"),
        artifacts={"answers": str(folder / "answers.json")},
        signature=ModelSignature(Schema([ColSpec("string", name) for name in manifest.text_columns])),
        metadata={**metadata, **said},
        pip_requirements=[],
    )
    return folder / "model"


def write_dataset(folder: Path, manifest: DatasetManifest, frame: pd.DataFrame) -> Path:
    """Write what evaluate and register read of a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "test.parquet", index=False)
    write_manifest(folder, manifest)
    return folder
