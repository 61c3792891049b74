"""Post a file as a comment on the pull request that brought this commit to main, if one did.

Example:
    GITHUB_SHA=… python comment_on_merged.py candidate/report.md
"""

import json
import os
import subprocess
import sys

BRANCH = "main"


def merged_pull_request(pulls: list[dict]) -> int | None:
    """Return the number of the merged pull request among those that hold a commit."""
    numbers = [pull["number"] for pull in pulls if pull["merged_at"] and pull["base"]["ref"] == BRANCH]
    return numbers[0] if numbers else None


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    (report,) = argv
    repository, commit = os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_SHA"]
    asked = ["gh", "api", f"repos/{repository}/commits/{commit}/pulls"]
    pulls = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout)
    number = merged_pull_request(pulls)
    if number is None:
        print(f"::notice::no merged pull request brought {commit}; the report is on this run's page")
        return 0
    comment = ["gh", "pr", "comment", str(number), "--repo", repository, "--body-file", report]
    return subprocess.run(comment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
