"""Refuse to go on where nobody would be asked: GitHub runs a job of an environment without reviewers at once.

Example:
    python check_approval.py production
"""

import json
import os
import subprocess
import sys
from typing import Any

from runner import fail


def reviewers(environment: dict[str, Any]) -> int:
    """Return how many people or teams an environment asks."""
    rules = environment.get("protection_rules") or []
    return sum(len(rule.get("reviewers") or []) for rule in rules if rule.get("type") == "required_reviewers")


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    (name,) = argv
    address = f"repos/{os.environ['GITHUB_REPOSITORY']}/environments/{name}"
    asked = subprocess.run(["gh", "api", address], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return fail(f"environment {name}: {asked.stderr.strip()}; docs/azure.md says how to make it")
    count = reviewers(json.loads(asked.stdout))
    if count == 0:
        return fail(f"environment {name} has no required reviewers, so nobody would be asked; see docs/azure.md")
    print(f"environment {name} asks one of {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
