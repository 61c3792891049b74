"""The list of computes that a comparison is made of: one file, from which the pipeline is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from finetune.errors import InputError

MOST_RUNS = 32
"""Inputs for runs that the compare component declares: a component has as many inputs as its YAML says, and no list."""
AUTO = "auto"
PRECISIONS = (AUTO, "fp32", "bf16", "fp16")
"""What train takes (`finetune.training.precision`, which needs torch, says the same)."""
FIRST_SEED = 42
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_CLUSTER = re.compile(r"azureml:[A-Za-z][A-Za-z0-9-]{1,31}")
_TAKEN = ("prep", "compare")
_AMOUNTS = ("instance_count", "process_count_per_instance", "threads")
_KEYS = ("computes", "repeats")


@dataclass(frozen=True)
class Compute:
    """One line of the list."""

    name: str
    """Of its node in the pipeline."""
    compute: str
    """The cluster, as pipelines name it: azureml:gpu-cluster."""
    instance_count: int = 1
    process_count_per_instance: int = 1
    precision: str = AUTO
    threads: int | None = None
    """OMP_NUM_THREADS of each process; None leaves it to torch."""
    priced_as: str | None = None
    """What the table of prices calls one instance; None for the machine that the run recorded."""

    @property
    def processes(self) -> int:
        """Over all instances."""
        return self.instance_count * self.process_count_per_instance


@dataclass(frozen=True)
class ListedRun:
    """One training node of the pipeline."""

    node: str
    compute: Compute
    seed: int
    """Repeats differ by it alone: equal steps would be reused, and one measurement counted as two."""


@dataclass(frozen=True)
class ComputeList:
    """The contents of the list."""

    computes: tuple[Compute, ...]
    repeats: int = 1

    @property
    def runs(self) -> tuple[ListedRun, ...]:
        """All training nodes, each repeat of all computes before the next: what drifts meanwhile touches all alike."""
        return tuple(
            ListedRun(
                each.name if self.repeats == 1 else f"{each.name}_{number + 1}",
                each,
                FIRST_SEED + number,
            )
            for number in range(self.repeats)
            for each in self.computes
        )


def read_compute_list(path: Path) -> ComputeList:
    """Read a list of computes.

    Raises:
        InputError: it is missing or broken, has unknown keys, names something twice, or has fewer than 2 computes or
            more than `MOST_RUNS` runs.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a list of computes") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(value, dict) or "computes" not in value or set(value) - set(_KEYS):
        found = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: found {found}; expected the key computes, and repeats where it is not 1")
    repeats, entries = value.get("repeats", 1), value["computes"]
    if not _is_amount(repeats):
        raise InputError(f"{path}: repeats is {repeats!r}; expected a whole number above 0")
    if not isinstance(entries, list) or len(entries) < 2:
        raise InputError(f"{path}: computes is {entries!r:.200}; expected a list of at least 2")
    listed = ComputeList(tuple(_compute(path, number, entry) for number, entry in enumerate(entries, 1)), repeats)
    nodes = [run.node for run in listed.runs]
    if len(nodes) > MOST_RUNS:
        raise InputError(
            f"{path}: {len(entries)} computes × {repeats} repeats are {len(nodes)} runs; the compare component has "
            f"inputs for {MOST_RUNS}"
        )
    twice = sorted({node for node in nodes if nodes.count(node) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(twice)} would name two nodes; expected names that differ")
    return listed


def _compute(path: Path, number: int, entry: Any) -> Compute:
    where = f"{path}: computes, entry {number}"
    known = [each.name for each in fields(Compute)]
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: found {entry!r:.200}; expected a mapping with name and compute")
    missing, unknown = {"name", "compute"} - set(entry), [str(key) for key in entry if key not in known]
    if missing or unknown:
        lacks = f"without {', '.join(sorted(missing))}" if missing else f"with {', '.join(unknown)}"
        raise InputError(f"{where}: found an entry {lacks}; expected name, compute and any of {', '.join(known[2:])}")
    name, cluster = entry["name"], entry["compute"]
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name in _TAKEN:
        raise InputError(
            f"{where}: name is {name!r}; expected lower-case letters, digits and underscores, beginning with a letter, "
            f"and not {' or '.join(_TAKEN)}: it names a node"
        )
    if not isinstance(cluster, str) or _CLUSTER.fullmatch(cluster) is None:
        raise InputError(f"{where} ({name}): compute is {cluster!r}; expected a cluster, as azureml:gpu-cluster")
    for key in _AMOUNTS:
        if key in entry and not _is_amount(entry[key]):
            raise InputError(f"{where} ({name}): {key} is {entry[key]!r}; expected a whole number above 0")
    if entry.get("precision", AUTO) not in PRECISIONS:
        raise InputError(
            f"{where} ({name}): precision is {entry['precision']!r}; expected one of {', '.join(PRECISIONS)}"
        )
    priced_as = entry.get("priced_as")
    if "priced_as" in entry and not (isinstance(priced_as, str) and priced_as):
        raise InputError(f"{where} ({name}): priced_as is {priced_as!r}; expected a name in the table of prices")
    return Compute(**entry)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
