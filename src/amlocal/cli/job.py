"""``amlocal job``: create, follow, cancel, show, list, download and validate jobs."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlocal.errors import AmlocalError
from amlocal.run.files import JobFolder
from amlocal.run.jobs import is_running, job_folders, read_record
from amlocal.run.records import CANCELED, COMPLETED, ENDED, FAILED, NOT_STARTED, RUNNING, JobRecord, seconds

if TYPE_CHECKING:
    from rich.console import Console

_LOOK_SECONDS = 0.05
_START_SECONDS = 30.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``job`` to the command line."""
    job = subparsers.add_parser("job", help="run and look at jobs")
    commands = job.add_subparsers(dest="command", metavar="COMMAND", required=True)

    create = commands.add_parser("create", help="run a job file to its end")
    _add_file(create)
    create.add_argument("--name", help="the job's name (default: the file's name and the time)")
    create.add_argument("--rerun", action="store_true", help="reuse nothing")
    streaming = create.add_mutually_exclusive_group()
    streaming.add_argument("--stream", action="store_true", help="show the job until its end (the default)")
    streaming.add_argument("--no-stream", action="store_true", help="run it in the background; print its name")
    create.add_argument(
        "--environment",
        choices=["current", "isolated"],
        default="current",
        help="run commands in the calling Python, or each in an environment built from its conda file",
    )
    create.add_argument(
        "--tracking",
        choices=["plain", "azureml"],
        default="plain",
        help="MLflow address of steps: the server's, or azureml:// as on Azure, which needs azureml-mlflow in the step",
    )
    create.add_argument(
        "--start",
        choices=["warm", "cold"],
        default="warm",
        help="start a sweep's trials from one process that has done their imports, or each by itself",
    )
    create.add_argument(
        "--concurrent-steps",
        type=_above_zero,
        metavar="N",
        help="steps that may run at the same time; 1 to measure them (default: as many as cores, at least 4)",
    )
    create.set_defaults(func=_create)

    validate = commands.add_parser("validate", help="check a job file, also with azure-ai-ml's own validator")
    _add_file(validate)
    validate.set_defaults(func=_validate)

    _add_named(commands, "stream", _stream, "follow a job to its end")
    _add_named(commands, "cancel", _cancel, "end a running job")

    show = _add_named(commands, "show", _show, "show a job")
    show.add_argument("--output", "-o", choices=["text", "json", "yaml"], default="text")

    download = _add_named(commands, "download", _download, "copy a job's outputs and logs to a folder")
    what = download.add_mutually_exclusive_group()
    what.add_argument("--output-name", help="the only output to copy")
    what.add_argument("--all", action="store_true", help="copy the logs and all outputs")
    download.add_argument("--download-path", "-p", type=Path, default=Path(), help="where to (default: here)")

    listing = commands.add_parser("list", help="list jobs, newest first")
    listing.add_argument("--status", choices=[NOT_STARTED, RUNNING, COMPLETED, FAILED, CANCELED])
    listing.add_argument("--max-results", "-r", type=int, metavar="N", help="the newest N alone")
    listing.add_argument("--output", "-o", choices=["table", "json", "yaml"], default="table")
    listing.set_defaults(func=_list)


def _above_zero(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", "-f", type=Path, required=True, help="the job's YAML")
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


def _add_named(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    verb: str,
    function: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(verb, help=text)
    parser.add_argument("--name", "-n", required=True, help="the job")
    parser.set_defaults(func=function)
    return parser


def _create(arguments: argparse.Namespace) -> int:
    from amlocal.run.create import Request, prepare_job, run_job
    from amlocal.run.detach import go_on_in_background
    from amlocal.run.download_view import ConsoleDownloads
    from amlocal.run.view import live, summary
    from amlocal.workspace.lifecycle import status

    request = Request(
        arguments.file,
        arguments.home,
        tuple(arguments.overrides),
        arguments.name,
        arguments.rerun,
        mappings=tuple(arguments.mappings),
        isolated=arguments.environment == "isolated",
        azure_tracking=arguments.tracking == "azureml",
        warm=arguments.start == "warm",
        concurrent_steps=arguments.concurrent_steps,
    )
    job = prepare_job(request, ConsoleDownloads(_console()))
    if arguments.no_stream:
        log = job.folder.root / "amlocal.log"
        child = go_on_in_background(log)
        if child is not None:
            _wait_until_started(job.folder, child, log)
            print(job.folder.name)
            return 0
    console = _console()
    was_running = status(arguments.home).running
    record, code = run_job(job, watcher=partial(live, console=console))
    summary(record, console)
    if not was_running and status(arguments.home).running:
        home = shlex.quote(str(arguments.home))
        print(f"the workspace stays up for what comes next, until: amlocal --home {home} workspace stop")
    return code


def _wait_until_started(folder: JobFolder, child: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while read_record(folder).status == NOT_STARTED:
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            raise AmlocalError(f"job {folder.name} did not start; see {log}")
        time.sleep(_LOOK_SECONDS)


def _stream(arguments: argparse.Namespace) -> int:
    from amlocal.run.follow import Follower
    from amlocal.run.view import live, summary

    follower = Follower(_folder(arguments))
    console = _console()
    if follower.record.status not in ENDED:
        with live(follower, console):
            follower.follow()
    summary(follower.record, console)
    return 0 if follower.record.status == COMPLETED else 1


def _cancel(arguments: argparse.Namespace) -> int:
    folder = _folder(arguments)
    record = read_record(folder)
    if record.status in ENDED or record.pid is None:
        raise AmlocalError(f"job {record.name} is not running: it is {record.status}")
    os.kill(record.pid, signal.SIGTERM)
    print(f"job {record.name}: asked its steps to end", flush=True)
    while is_running(record):
        time.sleep(_LOOK_SECONDS)
    record = read_record(folder)
    print(f"job {record.name}: {record.status}")
    return 0 if record.status == CANCELED else 1


def _validate(arguments: argparse.Namespace) -> int:
    from amlocal.cli.lint import report
    from amlocal.lint.check import lint_file
    from amlocal.lint.files import Kind, kind_of
    from amlocal.reader.assets import parse_mappings
    from amlocal.workspace.registry import Registry

    registry, mappings = Registry(arguments.home), parse_mappings(arguments.mappings)
    text = arguments.file.read_text(errors="replace") if arguments.file.is_file() else ""
    # `job create` runs a component file with the values that --set puts in; without them there is no job to check.
    is_component = kind_of(text) is Kind.COMPONENT and not arguments.overrides
    kind = Kind.COMPONENT if is_component else Kind.JOB
    found = lint_file(arguments.file, arguments.overrides, kind, registry, mappings)
    return report([*found.problems, *found.not_here])


def _show(arguments: argparse.Namespace) -> int:
    record = read_record(_folder(arguments))
    if arguments.output != "text":
        _print_data(asdict(record), arguments.output)
        return 0
    from amlocal.run.view import summary

    summary(record, _console())
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from amlocal.run.download import download

    for path in download(_folder(arguments), arguments.download_path, arguments.output_name, arguments.all):
        print(path)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    found = []
    for folder in job_folders(arguments.home):
        try:
            found.append(read_record(folder))
        except AmlocalError as error:  # one that is damaged or of another version hides no other
            print(f"error: {error}", file=sys.stderr)
    found.sort(key=lambda record: record.started or 0.0, reverse=True)
    chosen = [record for record in found if arguments.status in (None, record.status)][: arguments.max_results]
    rows = [_row(record) for record in chosen]
    if arguments.output != "table":
        _print_data(rows, arguments.output)
    elif rows:
        _print_table([[name.upper() for name in rows[0]], *([str(cell) for cell in row.values()] for row in rows)])
    return 0


def _row(record: JobRecord) -> dict[str, str]:
    steps = record.steps.values()
    completed = sum(step.status == COMPLETED for step in steps)
    took = seconds(record.started, record.ended, time.time())
    began = "" if record.started is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started))
    return {
        "name": record.name,
        "status": record.status,
        "type": record.kind,
        "experiment": record.experiment_name,
        "steps": f"{completed}/{len(steps)}",
        "started": began,
        "seconds": "" if took is None or (record.status == CANCELED and record.ended is None) else f"{took:.1f}",
    }


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_data(data: Any, form: str) -> None:
    if form == "json":
        print(json.dumps(data, indent=2))
        return
    import yaml

    print(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True), end="")


def _folder(arguments: argparse.Namespace) -> JobFolder:
    return JobFolder(arguments.home, arguments.name)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if os.isatty(1) else 200)
