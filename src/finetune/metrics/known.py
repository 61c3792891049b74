"""Every figure that evaluate measures and a policy may name."""

from collections.abc import Mapping
from types import MappingProxyType

from finetune.tasks import LESS_IS_BETTER as _LOSSES
from finetune.tasks import METRICS, Problem, Task

COST_METRICS = ("latency_p95_ms", "model_megabytes")
LESS_IS_BETTER = frozenset({*_LOSSES, *COST_METRICS})
NEGATIVE_ERROR = "neg_mae"
"""Minus the mean absolute error, in the label's unit: more is better."""
SLICE_METRICS: Mapping[Problem, str] = MappingProxyType(
    {
        "single_label": "accuracy",
        "multi_label": "f1_samples",
        "regression": NEGATIVE_ERROR,
        "token_labels": "f1",
        "answer_spans": "f1",
    }
)
"""What slices of the test rows are compared by. It is defined on any row; a correlation or an area is not."""
UNBOUNDED = frozenset({NEGATIVE_ERROR})
"""Of these any size is possible; differences of all others that are compared lie between -2 and 2."""


def known_metrics(task: Task) -> tuple[str, ...]:
    """Return the metrics of a task's problem, and what models cost."""
    metrics = METRICS[task.problem]
    if task.problem == "single_label" and task.positive_label is None:
        metrics = tuple(name for name in metrics if name != "f1")
    return (*metrics, *COST_METRICS)


def slice_metric(task: Task) -> str:
    """Return what slices are compared by."""
    return SLICE_METRICS[task.problem]
