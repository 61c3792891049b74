"""Read every Azure ML v2 job file below a folder, and hold our reading against azure-ai-ml's.

For clones of public repositories that nobody here wrote. Prints a line per job file and a table; exits 1 when a file
is read in two different ways, or refused here and accepted by azure-ai-ml for a reason that is not of this machine.

Example:
    python benchmarks/public_jobs.py ../azureml-examples/cli/jobs
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from readings import azures, differences, ours

from amlocal.errors import AmlocalError
from amlocal.reader.azure import load_with_azure
from amlocal.reader.job import read_job
from amlocal.reader.plan import make_plan
from amlocal.reader.source import InvalidJobError

KINDS = {"pipeline", "command", "sweep"}
OTHER_KINDS = {"spark", "automl", "import", "data_transfer", "finetuning", "distillation"}

AGREED = "read, as azure-ai-ml reads it"
DIFFERENT = "read differently from azure-ai-ml"
OURS_ALONE = "read here, refused by azure-ai-ml"
NOT_HERE = "needs what is not on this machine (registered assets, spark, automl …)"
MISSING = "names files that are not in the folder"
MISTAKE = "refused by both"
REFUSED = "refused here, accepted by azure-ai-ml"

_ELSEWHERE = ("not-on-this-machine", "not-supported")
_ABSENT = ("missing-file", "missing-data", "missing-code")


@dataclass(frozen=True)
class Verdict:
    """What became of one file.

    Attributes:
        outcome: one of the constants above.
        details: the problems, or where the readings differ.
    """

    file: Path
    outcome: str
    details: tuple[str, ...] = ()


def is_job(document: Any) -> bool:
    """Tell a job from the other YAML of a repository: components, data, environments, endpoints, workflows."""
    if not isinstance(document, dict):
        return False
    schema = str(document.get("$schema", ""))
    if schema:
        return re.search(r"(pipeline|command|sweep|spark|automl\w*|import|parallel)Job\.schema", schema) is not None
    kind = str(document.get("type", "")).lower()
    if kind == "pipeline":
        return isinstance(document.get("jobs"), dict)
    if kind == "command":
        return "command" in document and "version" not in document
    return kind in {"sweep", "automl", "spark"} and ("trial" in document or "task" in document or "entry" in document)


def job_files(folder: Path) -> Iterator[Path]:
    """Find the job files below a folder, in order of their names."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".yml", ".yaml"} or not path.is_file():
            continue
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, ValueError, OSError):
            continue
        if is_job(document):
            yield path


def judge(file: Path) -> Verdict:
    """Read one file both ways."""
    try:
        job = read_job(file)
        make_plan(job)
    except InvalidJobError as error:
        return _refused(file, error)
    missing = tuple(str(problem) for problem in job.unresolved)
    try:
        theirs = load_with_azure(file)
    except AmlocalError as error:
        return Verdict(file, OURS_ALONE, (str(error),))
    found = tuple(differences(ours(job), azures(theirs, file.parent)))
    if found:
        return Verdict(file, DIFFERENT, found)
    return Verdict(file, NOT_HERE if missing else AGREED, missing)


def _refused(file: Path, error: InvalidJobError) -> Verdict:
    details = tuple(str(problem) for problem in error.problems)
    rules = {problem.rule for problem in error.problems}
    if rules <= {*_ELSEWHERE, *_ABSENT}:
        return Verdict(file, NOT_HERE if rules & set(_ELSEWHERE) else MISSING, details)
    try:
        load_with_azure(file)
    except AmlocalError:
        return Verdict(file, MISTAKE, details)
    return Verdict(file, REFUSED, details)


def main(arguments: list[str] | None = None) -> int:
    """Judge every job file below the folders; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    options = parser.parse_args(arguments)
    verdicts = [judge(file) for folder in options.folders for file in job_files(folder)]
    for verdict in verdicts:
        if not options.quiet:
            print(f"{verdict.file}: {verdict.outcome}", *verdict.details, sep="\n  ")
    counts = collections.Counter(verdict.outcome for verdict in verdicts)
    print(f"\n{len(verdicts)} job files")
    for outcome in (AGREED, OURS_ALONE, NOT_HERE, MISSING, MISTAKE, REFUSED, DIFFERENT):
        print(f"{counts[outcome]:5d}  {outcome}")
    return 1 if counts[DIFFERENT] or counts[REFUSED] else 0


if __name__ == "__main__":
    sys.exit(main())
