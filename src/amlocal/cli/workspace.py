"""``amlocal workspace start|stop|status``."""

from __future__ import annotations

import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``workspace`` to the command line."""
    parser = subparsers.add_parser("workspace", help="the Azure ML workspace on this machine")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    starting = verbs.add_parser("start", help="start the workspace if it is not running")
    starting.add_argument(
        "--environment",
        choices=("current", "isolated"),
        help="what deployments made from now on run in: this Python (current, as at first), or one built for the "
        "environment that each names (isolated); kept until said otherwise",
    )
    starting.set_defaults(func=start)
    verbs.add_parser("stop", help="stop the workspace and its endpoints").set_defaults(func=stop)
    verbs.add_parser("status", help="say whether the workspace runs, and where").set_defaults(func=status)


def start(arguments: argparse.Namespace) -> int:
    """Start the workspace and say where it is."""
    from amlocal.workspace import lifecycle  # only these commands need it

    lifecycle.start(arguments.home)
    if arguments.environment is not None:
        _set_environment(arguments)
    return status(arguments)


def _set_environment(arguments: argparse.Namespace) -> None:
    from contextlib import closing

    from amlocal.workspace.deployment_python import write_mode
    from amlocal.workspace.layout import Layout
    from amlocal.workspace.store import Store

    with closing(Store(Layout(arguments.home.resolve()).database)) as store:
        write_mode(store, arguments.environment)


def stop(arguments: argparse.Namespace) -> int:
    """Stop the workspace; not running is no failure."""
    from amlocal.workspace import lifecycle

    print("workspace stopped" if lifecycle.stop(arguments.home) else "workspace was not running")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print where the workspace is; exit code 3 when it does not run, as service managers have it."""
    from amlocal.workspace import lifecycle

    state = lifecycle.status(arguments.home)
    if state.connection is None:
        print(f"the workspace of {arguments.home} is not running")
        return 3
    print(f"the workspace of {arguments.home} is running (process {state.pid})")
    print(f"  mlflow    {state.connection.mlflow_tracking_uri}")
    print(f"  endpoints {state.connection.scoring_base_url}")
    print(f"  log       {state.log_file}")
    print(f"  new deployments run in {_environment(arguments)}")
    return 0


def _environment(arguments: argparse.Namespace) -> str:
    from contextlib import closing

    from amlocal.workspace.deployment_python import read_mode
    from amlocal.workspace.layout import Layout
    from amlocal.workspace.store import Store

    with closing(Store(Layout(arguments.home.resolve()).database)) as store:
        return "environments of their own" if read_mode(store) == "isolated" else "this Python"
