"""training.json as the report shows it, whatever version of train wrote it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finetune.training.contents import TRAINING_RECORD

NOT_RECORDED = "not recorded"


def read_training_record(model: Path) -> tuple[dict[str, Any] | None, str]:
    """Read the challenger's training.json, which informs and decides nothing.

    Returns:
        Its contents, or None and why there are none.
    """
    path = model / TRAINING_RECORD
    if not path.is_file():
        return None, f"the model folder holds no {TRAINING_RECORD}"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        return None, f"{TRAINING_RECORD} cannot be read: {error}"
    if not isinstance(value, dict):
        return None, f"{TRAINING_RECORD} holds a {type(value).__name__}, not an object"
    return value, ""


def training_rows(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, what is known) for the report; what an older or newer train did not write is said."""
    describe: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "started from": _start,
        "steps": _steps,
        "validation": lambda record: _pairs(record["validation"]),
        "throughput": _throughput,
        "hardware": lambda record: hardware_name(record["hardware"]),
        "versions": lambda record: _pairs(record["versions"]),
    }
    return [(name, _described(describe[name], training)) for name in describe]


def training_arguments(training: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments as texts; none when they are not recorded."""
    arguments = training.get("arguments")
    return {str(name): plain(value) for name, value in arguments.items()} if isinstance(arguments, Mapping) else {}


def hardware_name(hardware: Mapping[str, Any]) -> str:
    """Return what training ran on, in words.

    Raises:
        KeyError: something is not recorded.
    """
    gpus = ", ".join(hardware["gpus"]) if hardware["gpus"] else "no GPU"
    threads, memory = hardware["torch_threads"], hardware["memory_gib"]
    counted = f"{threads} thread{'s' * (threads != 1)}"
    return f"{gpus}; {hardware['machine']}, {hardware['cores']} cores, {counted}, {memory} GiB"


def plain(value: Any) -> str:
    """Return a number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _described(describe: Callable[[Mapping[str, Any]], str], training: Mapping[str, Any]) -> str:
    try:
        return describe(training)
    except (KeyError, TypeError, ValueError, AttributeError):
        return NOT_RECORDED


def _start(record: Mapping[str, Any]) -> str:
    precision = record["precision"]
    return f"{record['checkpoint']}, in {precision['name']} ({precision['reason']})"


def _steps(record: Mapping[str, Any]) -> str:
    kept = record.get("best_checkpoint_step")
    return f"{record['steps']:,}" + (f"; kept: step {kept:,}" if kept else "")


def _throughput(record: Mapping[str, Any]) -> str:
    seconds = ", ".join(f"{name} {plain(value)} s" for name, value in record["seconds"].items())
    return f"{plain(record['samples_per_second'])} rows a second; {seconds}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {plain(value)}" for name, value in values.items())
