"""What models answer to the test rows: read, kept in predictions.parquet and measured, by the task's problem."""

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed
from finetune.answers.table import KINDS, kind_of

__all__ = ["KINDS", "AnswerKind", "Columns", "Scored", "Summed", "kind_of"]
