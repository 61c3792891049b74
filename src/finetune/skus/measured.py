"""One training run as train recorded it, and whether runs did the same work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import InputError
from finetune.files import read_json
from finetune.skus.listing import AUTO, ListedRun
from finetune.training.contents import TRAINING_RECORD

PHASES = ("start", "load", "train", "save")
"""Keys of the record's seconds that add up to the whole run."""
_FREE = ("precision", "seed")
"""Arguments in which compared runs may differ; processes, threads and machine are no arguments."""


@dataclass(frozen=True)
class Run:
    """One run's figures."""

    listed: ListedRun
    machine: str
    """What an instance is, as a table of prices names it: "1 x Tesla T4"; "x86_64, 4 cores"."""
    device: str
    """What one process computes on: the GPU's kind, or the machine where there is none."""
    threads: int
    cores: int
    precision: str
    settings: Mapping[str, str]
    """What train chose, by name: attention kernel, dropout and the like."""
    train_rows: int
    rows_per_second: float
    """In training steps, without validation and checkpoints."""
    phases: Mapping[str, float]
    """Seconds by `PHASES`."""
    step_seconds: float
    """Of "train", those in training steps."""
    mlflow_run: str | None
    work: Mapping[str, Any]
    """What has to be the same in all runs, by name."""

    @property
    def seconds(self) -> float:
        """From the process's start to the saved model."""
        return sum(self.phases.values())

    @property
    def seconds_per_epoch(self) -> float:
        """Of training steps over all rows once."""
        return self.train_rows / self.rows_per_second

    @property
    def start_up_share(self) -> float:
        """The part of the run before training: starting Python, importing, loading data and checkpoint."""
        return (self.phases["start"] + self.phases["load"]) / self.seconds


def read_runs(folders: Sequence[Path], listed: Sequence[ListedRun]) -> tuple[Run, ...]:
    """Read the runs of a list, in its order.

    Args:
        folders: model folders that train wrote, in the order of the list's nodes.
        listed: the list's nodes.

    Raises:
        InputError: there is not a folder for each node, a run did not end well or in one go, it is not what the list
            says, two are one and the same run, or runs did not do the same work.
    """
    if len(folders) != len(listed):
        raise InputError(
            f"{len(folders)} runs were given and the list has {len(listed)}; write the pipeline anew from the list"
        )
    records = [_read(folder, run) for folder, run in zip(folders, listed, strict=True)]
    for number, record in enumerate(records):
        for earlier in range(number):
            if records[earlier] == record:
                raise InputError(
                    f"{listed[earlier].node} and {listed[number].node} are one and the same run, reused for both: what "
                    "differs between them means nothing where they ran"
                )
    runs = tuple(_run(record, run) for record, run in zip(records, listed, strict=True))
    for run in runs[1:]:
        _check_same_work(runs[0], run)
    return runs


def _read(folder: Path, run: ListedRun) -> dict[str, Any]:
    path = folder / TRAINING_RECORD
    if not path.is_file():
        raise InputError(
            f"{run.node}: {folder} holds no {TRAINING_RECORD}, which train writes at its end: the run failed"
        )
    return read_json(path, "the record that train writes")


def _run(record: Mapping[str, Any], listed: ListedRun) -> Run:
    try:
        run = _parsed(record, listed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{listed.node}: {TRAINING_RECORD} is not as this version's train writes it ({said}); train again"
        ) from None
    if record.get("resumed_after_steps"):
        steps = ", ".join(map(str, record["resumed_after_steps"]))
        raise InputError(
            f"{listed.node}: was ended and went on after step {steps}, so its time from start to end is not known; run "
            "it again with empty checkpoints"
        )
    figures = {"samples_per_second": run.rows_per_second, "rows": run.train_rows, "seconds": run.seconds}
    for name, figure in figures.items():
        if not figure > 0:
            raise InputError(f"{listed.node}: {TRAINING_RECORD} says {name} {figure}; expected a number above 0")
    _check_as_listed(record, run)
    return run


def _parsed(record: Mapping[str, Any], listed: ListedRun) -> Run:
    hardware, arguments, seconds = record["hardware"], record["arguments"], record["seconds"]
    gpus = [str(name) for name in hardware["gpus"]]
    machine = f"{len(gpus)} x {gpus[0]}" if gpus else f"{hardware['machine']}, {int(hardware['cores'])} cores"
    settings = {str(name): str(choice["value"]) for name, choice in record["settings"].items()}
    run_id = record["mlflow_run"]
    return Run(
        listed=listed,
        machine=machine,
        device=gpus[0] if gpus else machine,
        threads=int(hardware["torch_threads"]),
        cores=int(hardware["cores"]),
        precision=str(record["precision"]["name"]),
        settings=settings,
        train_rows=int(record["rows"]["train"]),
        rows_per_second=float(record["samples_per_second"]),
        phases={phase: float(seconds[phase]) for phase in PHASES},
        step_seconds=float(seconds["steps"]),
        mlflow_run=run_id if isinstance(run_id, str) else None,
        work={
            "task": record["task"],
            "checkpoint": record["checkpoint"],
            **{f"{split} rows": digest for split, digest in record["data"].items()},
            "steps": record["steps"],
            "rows trained on": record["rows"]["trained"],
            "global batch": settings["global_batch"],
            **{f"--{name}": value for name, value in arguments.items() if name not in _FREE},
        },
    )


def _check_as_listed(record: Mapping[str, Any], run: Run) -> None:
    """Hold a run to its line of the list.

    Raises:
        InputError: it ran as something else.
    """
    listed, compute = run.listed, run.listed.compute
    said: dict[str, object] = {"processes": compute.processes, "seed": listed.seed}
    found: dict[str, object] = {"processes": record["processes"], "seed": record["arguments"].get("seed")}
    if compute.precision != AUTO:
        said["precision"], found["precision"] = compute.precision, run.precision
    if compute.threads is not None:
        said["threads"], found["threads"] = compute.threads, run.threads
    for name, expected in said.items():
        if found[name] != expected:
            raise InputError(
                f"{listed.node}: ran with {name} {found[name]}, and the list says {expected}; give the runs in the "
                "order of the list, or write the pipeline anew from it"
            )


def _check_same_work(first: Run, other: Run) -> None:
    """Refuse to compare what did not do the same.

    Raises:
        InputError: tasks, checkpoints, data, steps or arguments differ.
    """
    for name in {**first.work, **other.work}:
        mine, theirs = first.work.get(name), other.work.get(name)
        if mine != theirs:
            raise InputError(
                f"{first.listed.node} and {other.listed.node} did not do the same: {name} is {mine!r:.100} and "
                f"{theirs!r:.100}; only runs of the same data, checkpoint and arguments can be compared"
            )
