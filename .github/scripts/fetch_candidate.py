"""Download what a run of train.yml on main left; refuse any other run, so that nothing else can ask for an approval.

Example:
    python fetch_candidate.py --train-run 42 --candidate candidate
"""

import argparse
import json
import os
import subprocess
import sys

from runner import fail

WORKFLOW = ".github/workflows/train.yml"
BRANCH = "main"


def check(run: dict, repository: str) -> str | None:
    """Return why a run is not one whose model may be promoted, or None."""
    found = {
        "workflow": run["path"].partition("@")[0],
        "branch": run["head_branch"],
        "repository": run["head_repository"]["full_name"],
    }
    expected = {"workflow": WORKFLOW, "branch": BRANCH, "repository": repository}
    wrong = [
        f"its {key} is {found[key]!r}, expected {expected[key]!r}" for key in expected if found[key] != expected[key]
    ]
    return "; ".join(wrong) or None


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-run", required=True, help="id of the run")
    parser.add_argument("--candidate", required=True, help="folder for its artifact")
    arguments = parser.parse_args(argv)
    repository = os.environ["GITHUB_REPOSITORY"]
    if not arguments.train_run.isdecimal():
        return fail(f"training run {arguments.train_run!r}: expected the number in the address of a run of train.yml")
    asked = subprocess.run(
        ["gh", "api", f"repos/{repository}/actions/runs/{arguments.train_run}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return fail(f"training run {arguments.train_run}: {asked.stderr.strip()}")
    if problem := check(json.loads(asked.stdout), repository):
        return fail(f"training run {arguments.train_run}: {problem}")
    download = ["gh", "run", "download", arguments.train_run, "--repo", repository, "--name", "candidate"]
    return subprocess.run([*download, "--dir", arguments.candidate], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
