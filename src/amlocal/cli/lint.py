"""``amlocal lint``: finds mistakes in Azure ML YAML."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from amlocal.reader.source import Problem, shown


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``lint`` to the command line."""
    lint = subparsers.add_parser("lint", help="find mistakes in jobs, components, endpoints and other Azure ML YAML")
    lint.add_argument("paths", nargs="*", type=Path, default=[Path()], metavar="PATH", help="files and folders (.)")
    lint.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave out, as in .gitignore")
    lint.add_argument("--strict", action="store_true", help="take warnings for errors")
    lint.add_argument("--format", choices=["text", "github", "json"], default="text", help="how problems are shown")
    lint.add_argument("--rules", action="store_true", help="list the rules")
    lint.set_defaults(func=_lint)


def _lint(arguments: argparse.Namespace) -> int:
    if arguments.rules:
        return _list_rules()
    from amlocal.lint.check import lint_files
    from amlocal.lint.files import find, kind_of

    missing = [path for path in arguments.paths if not path.exists()]
    for path in missing:
        print(f"error: {path}: no such file or folder", file=sys.stderr)
    files = [
        path
        for path in find([path for path in arguments.paths if path.exists()], arguments.exclude)
        if path in arguments.paths or kind_of(path.read_text(encoding="utf-8", errors="replace")) is not None
    ]
    if not files and not missing:
        print("no Azure ML file found there", file=sys.stderr)
    problems = lint_files(files)
    return report(problems, arguments.format, arguments.strict) or int(bool(missing))


def report(problems: Iterable[Problem], style: str = "text", strict: bool = False) -> int:
    """Print problems by file and line.

    Returns:
        The exit code: 1 when there is an error, or with ``strict`` anything at all.
    """
    ordered = sorted(problems, key=lambda problem: (shown(problem.place.file), problem.place.line, problem.rule))
    if style == "json":
        print(json.dumps([_record(problem) for problem in ordered], indent=2))
    else:
        for problem in ordered:
            print(_github(problem) if style == "github" else problem)
    return int(any(strict or not problem.warning for problem in ordered))


def _record(problem: Problem) -> dict[str, object]:
    return {
        "file": shown(problem.place.file),
        "line": problem.place.line,
        "rule": problem.rule,
        "severity": "warning" if problem.warning else "error",
        "message": problem.message,
    }


def _github(problem: Problem) -> str:
    """Write a workflow command, which GitHub shows at the line of the file."""
    level = "warning" if problem.warning else "error"
    text = problem.message.replace("%", "%25").replace("\n", "%0A")
    return f"::{level} file={shown(problem.place.file)},line={problem.place.line},title={problem.rule}::{text}"


def _list_rules() -> int:
    from amlocal.lint.registry import RULES

    rows: Sequence[tuple[str, str, str]] = [(rule.name, rule.severity.value, rule.finds) for rule in RULES]
    width = max(len(name) for name, _, _ in rows)
    for name, severity, finds in rows:
        print(f"{name:<{width}}  {severity:<16}  {finds}")
    return 0
