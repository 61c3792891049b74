"""The task table: everything that differs between tasks, in one row each.

A new task joins as a row; no stage asks which task it runs. What a stage does differently for kinds of labels is in a
table of that stage, by the row's `problem`: `finetune.data.problems` (how labels are read and encoded),
`finetune.training.problems` (the head, and how its logits are measured), `finetune.answers` (how answers are read,
compared and shown).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from finetune.errors import InputError
from finetune.metrics import classification, entities, extraction, multi_label, regression

Problem = Literal["single_label", "multi_label", "regression", "token_labels", "answer_spans"]
"""What a label is: one of some names; any number of them; a number; a name for each word; a piece of the text."""
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

METRICS: Mapping[Problem, tuple[str, ...]] = MappingProxyType(
    {
        "single_label": classification.CLASSIFICATION_METRICS,
        "multi_label": multi_label.MULTI_LABEL_METRICS,
        "regression": regression.REGRESSION_METRICS,
        "token_labels": entities.ENTITY_METRICS,
        "answer_spans": extraction.EXTRACTION_METRICS,
    }
)
"""Every metric of a problem; those in `LESS_IS_BETTER` apart, more is better."""
LESS_IS_BETTER: frozenset[str] = frozenset(
    name
    for module in (classification, multi_label, regression, entities, extraction)
    for name in module.LOWER_IS_BETTER
)


@dataclass(frozen=True)
class Benchmark:
    """A public data set that a task's name stands for."""

    hub_dataset: str
    hub_config: str | None
    columns: Mapping[str, str]
    """The task's column → the data set's."""
    label_column: str
    test_splits: tuple[str, ...]
    """Splits of the data set that the model is measured on once, together."""
    validation_split: str | None
    """None where validation is cut from train, because the only other labelled split is the test."""


@dataclass(frozen=True)
class Task:
    """One row of the task table."""

    name: str
    problem: Problem
    text_columns: tuple[str, ...]
    """The model's input columns, in the tokenizer's order, under the names every stage uses."""
    primary_metric: str
    example: Mapping[str, str]
    """One input row, for the model's input example and the smoke test."""
    positive_label: str | None = None
    """The label whose F1 is `f1`, of single-label tasks with two labels; None where there is no such metric."""
    benchmark: Benchmark | None = None
    """Where the data comes from when none is named."""

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the primary metric, oriented so that more is better: what a sweep maximises for any task."""
        value = metrics[self.primary_metric]
        return -value if self.primary_metric in LESS_IS_BETTER else value


_TEXT = MappingProxyType({"text": "The parcel arrived two days late."})
_PAIR = MappingProxyType({**_TEXT, "text_pair": "The delivery came after two days' delay."})
_WORDS = MappingProxyType({"text": "Anna Smith moved from Lisbon to the Geneva office of the Red Cross ."})
"""Words separated by spaces: see `finetune.data`."""
_QUESTION = MappingProxyType(
    {
        "question": "When did the parcel arrive?",
        "context": "The parcel was sent from Porto on Monday. It arrived on Thursday, two days late.",
    }
)

_SENTENCE = Task("text-classification", "single_label", ("text",), "f1_macro", _TEXT)
_SENTENCE_PAIR = Task("text-pair-classification", "single_label", ("text", "text_pair"), "f1_macro", _PAIR)
_PAIR_VALUE = Task("text-pair-regression", "regression", ("text", "text_pair"), "pearson", _PAIR)


_TASKS = (
    _SENTENCE,
    _SENTENCE_PAIR,
    replace(_SENTENCE, name="multi-label-classification", problem="multi_label"),
    replace(_PAIR_VALUE, name="text-regression", text_columns=("text",), example=_TEXT),
    _PAIR_VALUE,
    Task("token-classification", "token_labels", ("text",), "f1", _WORDS),
    Task("question-answering", "answer_spans", ("question", "context"), "f1", _QUESTION),
)


def _glue(name: str, like: Task, metric: str, *columns: str, positive: str | None = None) -> Task:
    """Return the row of a data set of GLUE (Wang et al. 2018), whose public test splits have no labels."""
    tested = ("validation_matched", "validation_mismatched") if name == "mnli" else ("validation",)
    named = MappingProxyType(dict(zip(like.text_columns, columns, strict=True)))
    benchmark = Benchmark("nyu-mll/glue", name, named, "label", tested, None)
    return replace(like, name=name, primary_metric=metric, positive_label=positive, benchmark=benchmark)


_BENCHMARKS = (
    _glue("cola", _SENTENCE, "mcc", "sentence"),
    _glue("sst2", _SENTENCE, "accuracy", "sentence"),
    _glue("mrpc", _SENTENCE_PAIR, "f1", "sentence1", "sentence2", positive="equivalent"),
    _glue("stsb", _PAIR_VALUE, "pearson", "sentence1", "sentence2"),
    _glue("qqp", _SENTENCE_PAIR, "f1", "question1", "question2", positive="duplicate"),
    _glue("mnli", _SENTENCE_PAIR, "accuracy", "premise", "hypothesis"),
    _glue("qnli", _SENTENCE_PAIR, "accuracy", "question", "sentence"),
    _glue("rte", _SENTENCE_PAIR, "accuracy", "sentence1", "sentence2"),
    _glue("wnli", _SENTENCE_PAIR, "accuracy", "sentence1", "sentence2"),
    replace(
        _SENTENCE,
        name="emotion",
        benchmark=Benchmark(
            "dair-ai/emotion", "split", MappingProxyType({"text": "text"}), "label", ("test",), "validation"
        ),
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({row.name: row for row in (*_TASKS, *_BENCHMARKS)})


def task_named(name: str) -> Task:
    """Return a row of the table.

    Raises:
        InputError: there is no such task.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"--task {name}: unknown; expected one of {', '.join(TASKS)}") from None
