"""``amlocal schedule``: the schedules of this machine's workspace, as ``az ml schedule`` shows them, and firing one."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``schedule`` to the command line."""
    parser = subparsers.add_parser("schedule", help="look at schedules, and fire one")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="list schedules, the disabled ones too").set_defaults(func=_list)
    for verb, function, text in (
        ("show", _show, "show a schedule as YAML"),
        ("run", _run, "run a schedule's job once, now; nothing here does so by time"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--name", "-n", required=True, help="the schedule")
        command.set_defaults(func=function)


def _list(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    schedules = _operations(arguments)
    with explained("schedules"):
        for schedule in schedules.list(list_view_type="All"):
            print(f"{schedule.name}\t{'enabled' if schedule.is_enabled else 'disabled'}\t{_times(schedule.trigger)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    schedules = _operations(arguments)
    with explained(f"schedule {arguments.name}"):
        schedules.get(arguments.name).dump(sys.stdout)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    schedules = _operations(arguments)
    with explained(f"schedule {arguments.name}"):
        print(schedules.trigger(arguments.name).job_name)
    return 0


def _times(trigger: Any) -> str:
    if trigger.type.lower() == "cron":
        return f"cron {trigger.expression}"
    return f"every {trigger.interval} {trigger.frequency}"


def _operations(arguments: argparse.Namespace) -> Any:
    from amlocal.workspace.client import connect, explained

    with explained("the workspace"):
        return connect(arguments.home).schedules
