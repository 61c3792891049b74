"""From a parallel node to the command that works through its mini batches."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.expressions import Reference, Template, render
from amlocal.reader.model import CommandComponent
from amlocal.reader.parallel import MiniBatches
from amlocal.run.files import WorkFolder
from amlocal.run.parallel.splitting import split

Lookup = Callable[[Reference], str | None]

_ROWS_FILE = "parallel_run_step.txt"
"""The file in an output folder that ``append_row_to`` names without a file; Azure ML's name for it."""


@dataclass(frozen=True)
class ParallelRun:
    """How a parallel node is worked on.

    Attributes:
        mini_batches: how its input is split, and what may fail.
        workers: processes that work at the same time.
    """

    mini_batches: MiniBatches
    workers: int


def write_task(
    component: CommandComponent, run: ParallelRun, folder: WorkFolder, inputs: dict[str, str], lookup: Lookup
) -> str:
    """Write what the driver has to do; give the command that does it.

    Args:
        component: a parallel component.
        run: with every number known.
        folder: the step's folder.
        inputs: the path or value of each input.
        lookup: gives the value of an expression.

    Raises:
        AmlocalError: when there is nothing to split, or an argument that Azure ML itself reads is wrong.
    """
    spec = component.parallel
    if spec is None:
        raise ValueError("not a parallel component")
    batches = run.mini_batches
    arguments = words(spec.arguments, lookup)
    own = _predefined(arguments, spec.arguments_place)
    task = {
        "entry_script": spec.entry_script,
        "arguments": [*_added(spec.entry_script, run, spec.logging_level), *arguments],
        "logging_level": spec.logging_level,
        "logs": str(folder.log.parent),
        "batches": split(Path(inputs[batches.input]), component.inputs[batches.input].type, batches.size),
        "workers": run.workers,
        "timeout": batches.timeout,
        "overhead_timeout": own.task_overhead_timeout,
        "startup_timeout": own.first_task_creation_timeout,
        "max_retries": batches.max_retries,
        "failed_batches": batches.mini_batch_error_threshold,
        "failed_items": batches.error_threshold if own.error_threshold is None else own.error_threshold,
        "failed_percent": own.allowed_failed_percent,
        "append_to": _target(spec.append_row_to, component, folder, lookup),
        "header": own.append_row_dataframe_header.lower() == "true",
        "rows": str(folder.root / "rows"),
        "summary": str(summary_path(folder)),
    }
    path = folder.root / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    return "exec " + shlex.join(["python", str(Path(__file__).with_name("driver.py")), str(path)])


def summary_path(folder: WorkFolder) -> Path:
    """Give the file in which the driver says how it went."""
    return folder.root / "mini_batches.json"


def failure(folder: WorkFolder) -> str | None:
    """Give the driver's reason for failing; None when it came to none."""
    try:
        summary: dict[str, Any] = json.loads(summary_path(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    message = summary["message"]
    return None if message is None else str(message)


def words(template: Template, lookup: Lookup) -> list[str]:
    """Split arguments as a shell does, so that no value of an input is split or read as quoting.

    Raises:
        AmlocalError: for a quotation that is never closed.
    """
    values: list[str] = []

    def mark(reference: Reference) -> str | None:
        value = lookup(reference)
        if value is None:
            return None
        values.append(value)
        return f"\0{len(values) - 1}\0"

    text = render(template, mark)
    try:
        split_text = shlex.split(text)
    except ValueError as error:
        raise AmlocalError(f"program_arguments: {error}") from None
    return ["".join(values[int(part)] if i % 2 else part for i, part in enumerate(w.split("\0"))) for w in split_text]


def _added(script: str, run: ParallelRun, level: str) -> list[str]:
    # Azure ML's own arguments stand in the same sys.argv: a script that does not expect them fails there, too.
    batches = run.mini_batches
    return [
        *("--scoring_module_name", script),
        *("--mini_batch_size", str(batches.size.number if batches.size else 1)),
        *("--error_threshold", str(batches.error_threshold)),
        *("--logging_level", level),
        *("--run_invocation_timeout", str(batches.timeout)),
        *("--run_max_try", str(batches.max_retries + 1)),
        *("--process_count_per_node", str(run.workers)),
    ]


def _predefined(arguments: list[str], place: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--error_threshold", type=int)
    parser.add_argument("--allowed_failed_percent", type=float, default=100.0)
    parser.add_argument("--task_overhead_timeout", type=float, default=600.0)
    parser.add_argument("--first_task_creation_timeout", type=float, default=600.0)
    parser.add_argument("--append_row_dataframe_header", default="False")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise AmlocalError(f"{place}: program_arguments: {error}") from None


def _target(template: Template | None, component: CommandComponent, folder: WorkFolder, lookup: Lookup) -> str | None:
    if template is None:
        return None
    path = folder.snapshot / render(template, lookup)
    reference = template.reference
    if reference is not None and component.outputs[reference.name].type != "uri_file":
        path /= _ROWS_FILE
    return str(path)
