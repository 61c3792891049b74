"""``amlocal online-endpoint get-credentials``, as ``az ml`` has it."""

from __future__ import annotations

import argparse

from amlocal.errors import AmlocalError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``online-endpoint`` to the command line."""
    parser = subparsers.add_parser("online-endpoint", help="the endpoints on this machine")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    credentials = verbs.add_parser("get-credentials", help="print an endpoint's primary key")
    credentials.add_argument("--name", "-n", required=True, help="the endpoint")
    credentials.set_defaults(func=get_credentials)


def get_credentials(arguments: argparse.Namespace) -> int:
    """Print an endpoint's primary key, for a command line that shows none.

    Raises:
        AmlocalError: there is no such endpoint.
    """
    from amlocal.workspace.layout import Layout  # only this command needs them
    from amlocal.workspace.online_endpoints import KEYS
    from amlocal.workspace.store import Store

    database = Layout(arguments.home).database
    keys = Store(database).get(KEYS, arguments.name) if database.is_file() else None
    if keys is None:
        raise AmlocalError(f"there is no online endpoint {arguments.name!r} under {arguments.home}")
    print(keys.body["primaryKey"])
    return 0
