"""A stand-in for the `make` program, for ci.yml alone.

It does nothing but leave a report. Installing and testing is what runs these tests, `make lint` and `make validate` are
commands of their own, and tests/pipelines runs what `make run` runs.
"""

from github.commands import Answer, Call

TARGETS = ("setup", "lint", "validate", "test", "run JOB=ci", "stop")
"""What ci.yml makes."""
REPORT = "# Promoted on the sample\n"


def make(call: Call) -> Answer:
    """Run one command line."""
    target = " ".join(call.arguments)
    if target not in TARGETS:
        return Answer(error=f"make {target}: not a target of ci.yml\n", code=2)
    if target.startswith("run"):
        folder = call.folder / ".amlocal" / "jobs" / "ci" / "outputs" / "evaluation"
        folder.mkdir(parents=True)
        (folder / "report.md").write_text(REPORT)
        (folder / "report.html").write_text("<title>Promoted on the sample</title>\n")
    return Answer()
