"""``amlocal job``: create, show, list and validate jobs."""

from __future__ import annotations

import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``job`` to the command line."""
    subparsers.add_parser("job", help="run and look at jobs")
