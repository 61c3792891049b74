"""What came of a training job: whether its model was promoted, and which version a reviewer is asked about.

Example:
    python candidate.py --job job --candidate candidate   # after training: outputs, summary, files to keep
    python candidate.py --candidate candidate             # before the approval: a promoted one, or it fails
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from runner import fail, write_outputs, write_summary

REGISTRATION = "registration.json"
VERDICT = "verdict.json"
REPORT = "report.md"
REPORTS = (REPORT, "report.html")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
VERSION = re.compile(r"[0-9]+")
RUN = re.compile(r"[0-9]+")
ADDRESS = re.compile(r"https://[^\s()<>]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
POLICIES = "endpoints/*/gate*.yml"
"""The gate's policies of this commit."""


class CandidateError(Exception):
    """The files do not say what they have to."""


def keep(job: Path, candidate: Path) -> None:
    """Copy registration.json, verdict.json, report.md and report.html out of a job's downloaded outputs.

    Raises:
        CandidateError: one of them is not there.
    """
    candidate.mkdir(parents=True)
    outputs = job / "named-outputs"
    # A file output may be downloaded under the output's name, its own, or in a folder.
    files = [path for path in (outputs / "registration").rglob("*") if path.is_file()]
    if len(files) != 1:
        raise CandidateError(f"{outputs / 'registration'}: expected one file, found {len(files)}")
    shutil.copyfile(files[0], candidate / REGISTRATION)
    for name in (VERDICT, *REPORTS):
        found = [path for path in (outputs / "evaluation").rglob(name) if path.is_file()]
        if len(found) != 1:
            raise CandidateError(f"{outputs / 'evaluation'}: expected one {name}, found {len(found)}")
        shutil.copyfile(found[0], candidate / name)


def read(candidate: Path) -> dict[str, str]:
    """Return what later steps need to know, with every value checked: they go into command lines.

    Raises:
        CandidateError: registration.json is missing, broken, or names no exact version; or verdict or reports are not
            those of the registered model.
    """
    path = candidate / REGISTRATION
    try:
        registration: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CandidateError(f"{path}: {error}") from None
    if registration.get("registered") is False:
        return {"promoted": "false"}
    if registration.get("registered") is not True:
        raise CandidateError(f"{path}: registered is {registration.get('registered')!r}; expected true or false")
    model = registration.get("model") or {}
    values = {
        "model_name": (NAME, model.get("name")),
        "model_version": (VERSION, model.get("version")),
        "verdict_sha256": (DIGEST, registration.get("verdict_sha256")),
    }
    for name, (pattern, value) in values.items():
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise CandidateError(f"{path}: {name} is {value!r}; expected {pattern.pattern}")
    _check_reports(candidate, registration["verdict_sha256"])
    return {"promoted": "true", **{name: value for name, (_, value) in values.items()}}


def _links() -> list[str]:
    """Return Markdown with the addresses of the training run and of the report, where the workflow gives them."""
    run, report = os.environ.get("TRAIN_RUN", ""), os.environ.get("REPORT_URL", "")
    found = []
    if RUN.fullmatch(run):
        server, repository = os.environ.get("GITHUB_SERVER_URL", "https://github.com"), os.environ["GITHUB_REPOSITORY"]
        found.append(f"[training run {run}]({server}/{repository}/actions/runs/{run})")
    if ADDRESS.fullmatch(report):
        found.append(f"[report.html with all figures]({report})")
    return [" · ".join(found)] if found else []


def _check_reports(candidate: Path, verdict_sha256: str) -> None:
    """Prove that what a reviewer reads is about the model that would be deployed: by the digests in its verdict."""
    try:
        verdict = (candidate / VERDICT).read_bytes()
        if (found := hashlib.sha256(verdict).hexdigest()) != verdict_sha256:
            raise CandidateError(
                f"{candidate / VERDICT}: its sha256 is {found}; the model was registered with {verdict_sha256}"
            )
        expected = json.loads(verdict)["reports_sha256"]
        reports = {name: hashlib.sha256((candidate / name).read_bytes()).hexdigest() for name in REPORTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CandidateError(f"{candidate}: {error!r}; expected verdict.json and the reports that it names") from None
    if reports != expected:
        raise CandidateError(f"{candidate}: the reports' sha256 are {reports}; those of the verdict are {expected}")


def check_policy(candidate: Path, root: Path) -> None:
    """Prove that the verdict was reached by a policy that was reviewed: a training by hand can name any other.

    Args:
        candidate: the folder with verdict.json.
        root: a checkout of main.

    Raises:
        CandidateError: no policy in the checkout is the verdict's.
    """
    verdict = json.loads((candidate / VERDICT).read_bytes())
    found = verdict.get("policy_sha256")
    known = {hashlib.sha256(path.read_bytes()).hexdigest() for path in root.glob(POLICIES)}
    if found not in known:
        raise CandidateError(
            f"{candidate / VERDICT}: its policy has the sha256 {found}, which is none of {POLICIES} on main; "
            "train again by one of these"
        )


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", type=Path, required=True, help="folder with registration.json and report.md")
    parser.add_argument("--job", type=Path, help="fill that folder from the outputs that were downloaded to this one")
    arguments = parser.parse_args(argv)
    try:
        if arguments.job is not None:
            keep(arguments.job, arguments.candidate)
        outputs = read(arguments.candidate)
        if arguments.job is None and outputs["promoted"] == "true":
            check_policy(arguments.candidate, Path())
        report = (arguments.candidate / REPORT).read_text(encoding="utf-8")
    except (CandidateError, OSError) as error:
        return fail(str(error))
    if arguments.job is None and outputs["promoted"] != "true":
        return fail("the gate did not promote this model; there is nothing to approve")
    write_outputs(outputs)
    if arguments.job is None:
        version = f"{outputs['model_name']}, version {outputs['model_version']}"
        endpoint = os.environ.get("ENDPOINT_NAME") or "the endpoint"
        asked = f"# Approve {version}?\n\nIt would serve at `{endpoint}`. Verdict `{outputs['verdict_sha256']}`."
        write_summary("\n\n".join([asked, *_links()]))
    write_summary(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
