"""The kinds of answers, by the task's problem."""

from collections.abc import Mapping
from types import MappingProxyType

from finetune.answers.answer_spans import ANSWER_SPANS
from finetune.answers.kind import AnswerKind
from finetune.answers.multi_label import MULTI_LABEL
from finetune.answers.regression import REGRESSION
from finetune.answers.single_label import SINGLE_LABEL
from finetune.answers.token_labels import TOKEN_LABELS
from finetune.data.manifest import DatasetManifest
from finetune.tasks import Problem, task_named

KINDS: Mapping[Problem, AnswerKind] = MappingProxyType(
    {
        "single_label": SINGLE_LABEL,
        "multi_label": MULTI_LABEL,
        "regression": REGRESSION,
        "token_labels": TOKEN_LABELS,
        "answer_spans": ANSWER_SPANS,
    }
)


def kind_of(manifest: DatasetManifest) -> AnswerKind:
    """Return the kind of answers that a data set's task asks for."""
    return KINDS[task_named(manifest.task).problem]
