"""``amlocal data|component|environment|model``: register, list and show assets, with Azure's own client."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.source import shown

KINDS = {"data": "data", "component": "components", "environment": "environments", "model": "models"}
"""The command of each kind of asset, and its operations in ``MLClient``."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add a command for each kind of asset to the command line."""
    for kind in KINDS:
        noun = "data assets" if kind == "data" else f"{kind}s"
        verbs = subparsers.add_parser(kind, help=f"register and look at {noun}").add_subparsers(
            dest="verb", metavar="VERB", required=True
        )
        create = verbs.add_parser("create", help="register a version")
        create.add_argument("--file", "-f", type=Path, required=True, help="the YAML")
        create.add_argument("--name", "-n", help="instead of the file's own")
        create.add_argument("--version", "-v", help="instead of the file's own, or of the next free number")
        create.set_defaults(func=_create, kind=kind)

        listing = verbs.add_parser("list", help="list names with their latest version, or the versions of one")
        listing.add_argument("--name", "-n")
        listing.set_defaults(func=_list, kind=kind)

        show = verbs.add_parser("show", help="show a version as YAML")
        show.add_argument("--name", "-n", required=True)
        which = show.add_mutually_exclusive_group()
        which.add_argument("--version", "-v")
        which.add_argument("--label", "-l", default="latest", choices=["latest"])
        show.set_defaults(func=_show, kind=kind)


def _create(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    if not arguments.file.is_file():
        raise AmlocalError(f"{shown(arguments.file)}: no such file")
    stated = {"name": arguments.name, "version": arguments.version}
    overrides = [{key: value} for key, value in stated.items() if value is not None]
    with explained(shown(arguments.file)):
        import azure.ai.ml

        load = getattr(azure.ai.ml, f"load_{arguments.kind}")
        asset = load(arguments.file, params_override=overrides)
    operations = _operations(arguments)
    with explained(shown(arguments.file)):
        created = operations.create_or_update(asset)
    print(f"{arguments.kind} {created.name}:{created.version}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    operations = _operations(arguments)
    with explained(arguments.kind):
        found = list(operations.list(name=arguments.name) if arguments.name else operations.list())
    if arguments.name and not found:
        raise AmlocalError(f"there is no {arguments.kind} {arguments.name!r} in {arguments.home}")
    for asset in found:
        print(f"{asset.name}\t{asset.version if arguments.name else asset.latest_version}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from amlocal.workspace.client import explained

    operations = _operations(arguments)
    which = {"version": arguments.version} if arguments.version else {"label": arguments.label}
    with explained(f"{arguments.kind} {arguments.name}"):
        operations.get(arguments.name, **which).dump(sys.stdout)
    return 0


def _operations(arguments: argparse.Namespace) -> Any:
    from amlocal.workspace.client import connect, explained

    with explained("workspace"):
        return getattr(connect(arguments.home), KINDS[arguments.kind])
