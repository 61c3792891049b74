"""What the report shows of one problem alone."""

from finetune.report.problems.table import REPORTS, report_of

__all__ = ["REPORTS", "report_of"]
