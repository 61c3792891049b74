"""``amlocal job``: create, show, list and validate jobs."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psutil

from amlocal.errors import AmlocalError
from amlocal.run.files import JobFolder
from amlocal.run.records import CANCELED, RUNNING, JobRecord, from_json


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``job`` to the command line."""
    job = subparsers.add_parser("job", help="run and look at jobs")
    commands = job.add_subparsers(dest="command", metavar="COMMAND", required=True)

    create = commands.add_parser("create", help="run a job file to its end")
    _add_file(create)
    create.add_argument("--name", help="the job's name (default: the file's name and the time)")
    create.add_argument("--rerun", action="store_true", help="reuse nothing")
    create.set_defaults(func=_create)

    validate = commands.add_parser("validate", help="check a job file, also with azure-ai-ml's own validator")
    _add_file(validate)
    validate.set_defaults(func=_validate)

    show = commands.add_parser("show", help="show a job")
    show.add_argument("--name", required=True)
    show.add_argument("--output", choices=["text", "json"], default="text")
    show.set_defaults(func=_show)

    listing = commands.add_parser("list", help="list jobs, newest first")
    listing.set_defaults(func=_list)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, required=True, help="the job's YAML")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH=VALUE",
        help="change a value of the file, as inputs.epochs=2",
    )
    parser.add_argument(
        "--map",
        dest="mappings",
        action="append",
        default=[],
        metavar="URI=PATH",
        help="a local path for an address that the file names, or for all that start with it, as azureml:data:1=./data",
    )


def _create(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from amlocal.run.create import Request, create_job
    from amlocal.run.download_view import ConsoleDownloads
    from amlocal.run.view import live, summary

    console = Console(width=None if os.isatty(1) else 200)
    request = Request(
        arguments.file,
        arguments.home,
        tuple(arguments.overrides),
        arguments.name,
        arguments.rerun,
        mappings=tuple(arguments.mappings),
    )
    record, code = create_job(request, watcher=partial(live, console=console), downloads=ConsoleDownloads(console))
    summary(record, console)
    return code


def _validate(arguments: argparse.Namespace) -> int:
    from amlocal.reader.azure import validate
    from amlocal.reader.plan import read_plan

    plan = read_plan(arguments.file, arguments.overrides)
    validate(arguments.file, arguments.overrides)
    steps = f"{len(plan.steps)} step{'s' if len(plan.steps) != 1 else ''}"
    print(f"{arguments.file}: valid {plan.job.kind} job, {steps}; azure-ai-ml accepts it")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    record = read_record(JobFolder(arguments.home, arguments.name))
    if arguments.output == "json":
        print(json.dumps(asdict(record), indent=2))
        return 0
    from rich.console import Console

    from amlocal.run.view import summary

    summary(record, Console(width=None if os.isatty(1) else 200))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    folders = (arguments.home / "jobs").glob("*/job.json")
    records = [read_record(JobFolder(arguments.home, path.parent.name)) for path in folders]
    for record in sorted(records, key=lambda record: record.started or 0.0, reverse=True):
        print(f"{record.name}\t{record.status}\t{record.kind}\t{record.experiment_name}")
    return 0


def read_record(folder: JobFolder) -> JobRecord:
    """Read a job's record; one whose process is gone counts as canceled.

    Raises:
        AmlocalError: when there is no such job.
    """
    try:
        text = folder.record.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AmlocalError(f"there is no job {folder.name!r} in {folder.home}") from None
    record = from_json(text, folder.record)
    if record.status == RUNNING and record.pid is not None and not psutil.pid_exists(record.pid):
        return replace(record, status=CANCELED, error="the process that ran it is gone")
    return record
