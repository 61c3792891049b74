"""The problems' parts of the report."""

from collections.abc import Mapping
from types import MappingProxyType

from finetune.report.facts import Facts
from finetune.report.problems.answer_spans import ANSWER_SPANS
from finetune.report.problems.kind import ProblemReport
from finetune.report.problems.multi_label import MULTI_LABEL
from finetune.report.problems.regression import REGRESSION
from finetune.report.problems.single_label import SINGLE_LABEL
from finetune.report.problems.token_labels import TOKEN_LABELS
from finetune.tasks import Problem

REPORTS: Mapping[Problem, ProblemReport] = MappingProxyType(
    {
        "single_label": SINGLE_LABEL,
        "multi_label": MULTI_LABEL,
        "regression": REGRESSION,
        "token_labels": TOKEN_LABELS,
        "answer_spans": ANSWER_SPANS,
    }
)


def report_of(facts: Facts) -> ProblemReport:
    """Return the part of the problem that the facts are about."""
    return REPORTS[facts.task.problem]
