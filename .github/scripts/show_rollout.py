"""Put a rollout's journal on the job's page. Ends with 1 when it says that the version does not serve.

Example:
    python show_rollout.py job
"""

import json
import sys
from pathlib import Path
from typing import Any

from runner import escape, fail, write_summary

GOOD = ("live", "unchanged")
"""States in which the asked version serves; unchanged: it did so before."""


def render(journal: dict[str, Any]) -> str:
    """Return the journal as Markdown."""
    lines = [f"# {journal['model']} at `{journal['endpoint']}`: {journal['state']}", ""]
    lines += [f"- {escape(reason)}" for reason in journal.get("reasons", [])]
    lines += ["", "| at | step | traffic |", "|---|---|---|"]
    for step in journal["steps"]:
        traffic = ", ".join(f"{name} {share} %" for name, share in step["traffic"].items()) or "none"
        lines.append(f"| {step['at']} | {escape(step['step'])} | {traffic} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    (folder,) = argv
    files = [path for path in (Path(folder) / "named-outputs" / "rollout").rglob("*") if path.is_file()]
    if len(files) != 1:
        return fail(f"{folder}: the job left no journal of its rollout; its own page and log say how far it came")
    journal = json.loads(files[0].read_text(encoding="utf-8"))
    write_summary(render(journal))
    if journal["state"] not in GOOD:
        return fail(f"{journal['model']} does not serve: {journal['state']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
