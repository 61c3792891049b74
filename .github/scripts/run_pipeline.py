"""Run a pipeline file on Azure ML, wait for its end and download outputs; or cancel one that still runs.

Settings come in the variable SETTINGS: `key=value`, as `az ml job create --set` takes them, separated by line breaks or
semicolons. One without a value is left out: the pipeline's own value holds then.

Example:
    SETTINGS=inputs.epochs=2 python run_pipeline.py run --file pipelines/train.yml --name train-7 --folder job rollout
    python run_pipeline.py cancel --name train-7
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from azure import Azure, AzureError
from runner import fail, write_summary

COMPLETED = "Completed"
ENDED = (COMPLETED, "Failed", "Canceled", "NotResponding", "Paused")
"""Statuses that a job does not leave by itself."""
FAILURES_IN_A_ROW = 5
"""So often may the question for the status fail before the answer counts as lost."""


class PipelineError(Exception):
    """The pipeline did not complete."""


def read_settings(text: str) -> list[str]:
    """Return the settings that have a value.

    Raises:
        PipelineError: a line is not key=value.
    """
    settings = []
    for line in filter(None, map(str.strip, text.replace(";", "\n").splitlines())):
        key, equals, value = line.partition("=")
        if not key or not equals:
            raise PipelineError(f"setting {line!r}: expected key=value")
        if value:
            settings.append(line)
    return settings


def read_status(job: dict[str, Any]) -> str:
    """Return a job's status, such as "Completed".

    Some versions of the client print the enumeration's member instead, such as "JobStatus.NOT_RESPONDING".
    """
    status = str(job["status"])
    if status.startswith("JobStatus."):
        return status.removeprefix("JobStatus.").title().replace("_", "")
    return status


def wait(azure: Azure, name: str, poll_seconds: float) -> dict[str, Any]:
    """Return the job once it has ended.

    Raises:
        AzureError: its status could not be read several times in a row. The job is left running.
    """
    status, failures = "", 0
    while True:
        try:
            job = azure.run("ml", "job", "show", "--name", name)
        except AzureError as error:
            failures += 1
            if failures == FAILURES_IN_A_ROW:
                raise
            print(f"{name}: {error}; asking again", flush=True)
        else:
            failures = 0
            if read_status(job) != status:
                status = read_status(job)
                print(f"{time.strftime('%H:%M:%S')} {name}: {status}", flush=True)
            if status in ENDED:
                return job
        time.sleep(poll_seconds)


def run(azure: Azure, arguments: argparse.Namespace) -> None:
    """Submit, wait, download.

    Raises:
        AzureError: `az` failed.
        PipelineError: a setting cannot be read, or the job ended as anything but completed.
    """
    settings = read_settings(os.environ.get("SETTINGS", ""))
    override = ("--set", *settings) if settings else ()
    job = azure.run("ml", "job", "create", "--file", arguments.file, "--name", arguments.name, *override)
    page = ((job.get("services") or {}).get("Studio") or {}).get("endpoint")
    write_summary(f"Job [{arguments.name}]({page}) of `{arguments.file}`" if page else f"Job {arguments.name}")
    status = read_status(wait(azure, arguments.name, arguments.poll_seconds))
    folder = Path(arguments.folder)
    for output in arguments.outputs:
        try:
            _download(azure, arguments.name, output, folder)
        except AzureError as error:
            # What a failed job did not write cannot be had; that it failed is the message.
            if status == COMPLETED:
                raise
            print(f"{output}: {error}")
    if status != COMPLETED:
        raise PipelineError(f"{arguments.name} ended as {status}{f': {page}' if page else ''}")


def _download(azure: Azure, name: str, output: str, folder: Path) -> None:
    azure.run("ml", "job", "download", "--name", name, "--output-name", output, "--download-path", str(folder))
    if not any((folder / "named-outputs" / output).rglob("*")):
        raise AzureError(f"job {name}: output {output} is empty")


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("run", "cancel"):
        commands.add_parser(command).add_argument("--name", required=True, help="the job's name")
    runs = commands.choices["run"]
    runs.add_argument("--file", required=True, help="pipeline job YAML")
    runs.add_argument("--folder", required=True, help="where the outputs go: <folder>/named-outputs/<output>/")
    runs.add_argument("--poll-seconds", type=float, default=float(os.environ.get("POLL_SECONDS") or 30))
    runs.add_argument("outputs", nargs="*", help="outputs to download")
    arguments = parser.parse_args(argv)
    azure = Azure()
    try:
        if arguments.command == "cancel":
            azure.run("ml", "job", "cancel", "--name", arguments.name)
        else:
            run(azure, arguments)
    except (AzureError, PipelineError) as error:
        return fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
