"""``amlocal exec -- COMMAND``: a command that sees this machine's workspace as Azure."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from amlocal.errors import AmlocalError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``exec`` to the command line."""
    parser = subparsers.add_parser(
        "exec",
        help="run a command with the workspace's client environment",
        usage="amlocal exec -- COMMAND ...",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    parser.set_defaults(func=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Start the workspace if needed and become the command, so that exit code and signals pass unchanged."""
    from amlocal.workspace.lifecycle import start  # the workspace is only needed by who uses it

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise AmlocalError("exec needs a command, as in: amlocal exec -- mlflow runs list")
    # The calling interpreter's own programs come first, as for the steps of a job.
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    program = shutil.which(command[0], path=search)
    if program is None:
        raise AmlocalError(f"{command[0]}: command not found")
    environment = {**os.environ, **start(arguments.home).client_environment(), "PATH": search}
    os.execvpe(program, command, environment)  # noqa: S606 - the user's own command, with no shell in between
