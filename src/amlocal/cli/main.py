"""The ``amlocal`` command, shaped like ``az ml``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from amlocal.cli import asset, job, lint, online_endpoint, schedule, workspace
from amlocal.cli import exec as exec_command
from amlocal.errors import AmlocalError


def default_home() -> Path:
    """Say where jobs, models and endpoints live: ``$AMLOCAL_HOME``, else ``./.amlocal``."""
    return Path(os.environ.get("AMLOCAL_HOME") or ".amlocal")


def build_parser() -> argparse.ArgumentParser:
    """Build the whole command line from each module's ``register``."""
    parser = argparse.ArgumentParser(prog="amlocal", description="Azure ML on this machine.")
    parser.add_argument(
        "--home",
        type=Path,
        default=default_home(),
        help="folder for everything amlocal keeps (default: $AMLOCAL_HOME, else ./.amlocal)",
    )
    subparsers = parser.add_subparsers(dest="group", metavar="GROUP", required=True)
    groups = (job, schedule, lint, asset, workspace, online_endpoint, exec_command)
    for register in (group.register for group in groups):
        register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; ``sys.argv`` when not given.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 or 143 interrupted, 141 when nobody reads the output.
    """
    arguments = build_parser().parse_args(argv)
    arguments.home = arguments.home.absolute()
    try:
        code: int = arguments.func(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has seen enough. Python would write what is left at its end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except AmlocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code
