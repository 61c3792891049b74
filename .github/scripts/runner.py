"""What a script tells GitHub's runner: outputs of its step, text for the job's page, errors."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path


def write_outputs(outputs: Mapping[str, str]) -> None:
    """Hand values to later steps.

    Raises:
        ValueError: a value has more than one line, and so could set other outputs.
    """
    for name, value in outputs.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"output {name}: {value!r} has more than one line")
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))


def write_summary(markdown: str) -> None:
    """Add a part to the job's summary page."""
    _append("GITHUB_STEP_SUMMARY", markdown.rstrip() + "\n\n")


def fail(message: str) -> int:
    """Show an error on the run's page; return the exit code for it."""
    print(f"::error::{_command_data(message)}")
    print(message, file=sys.stderr)
    return 1


def warn(message: str) -> None:
    """Show a warning on the run's page."""
    print(f"::warning::{_command_data(message)}")


def _command_data(message: str) -> str:
    return message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape(text: str) -> str:
    """Return text that Markdown takes nothing in for its own, on one line, for a table's cell or a list."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~#@!])", r"\\\1", line)


def _append(variable: str, text: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as stream:
        stream.write(text)
