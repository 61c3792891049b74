"""One training step on several computes: the list of them, the pipeline made from it, and what comes of the runs."""

COMPARISON_JSON = "comparison.json"
COMPARISON_PAGE = "comparison.html"
COMPARISON_BRIEF = "comparison.md"
PARETO_FIGURE = "pareto.svg"
