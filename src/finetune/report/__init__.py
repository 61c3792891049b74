"""What a reviewer reads before approving a model: report.html and report.md."""

REPORT_PAGE = "report.html"
REPORT_BRIEF = "report.md"
