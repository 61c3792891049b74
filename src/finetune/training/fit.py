"""One training run: data set and checkpoint in, model folder and record out."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.environment import environment_sha256
from finetune.errors import InputError
from finetune.files import write_json
from finetune.tasks import task_named
from finetune.tracking import RunLog
from finetune.training.arguments import NEVER, TrainArguments, check_arguments, shaping_arguments
from finetune.training.batch_size import RowsAtATime, find_rows_at_a_time, trials
from finetune.training.batches import Padding, TokenRows
from finetune.training.choices import Choice, Choices, choose, detect_hardware
from finetune.training.contents import TRAINING_RECORD
from finetune.training.hardware import describe_hardware, package_versions, process_seconds
from finetune.training.interruption import InterruptedTrainingError, Interruption, terminable
from finetune.training.loop import Parts, RunState, kept_step, restore, restore_tensors, train
from finetune.training.memory import keep_freed_memory
from finetune.training.model_folder import checkpoint_writer, save_model_folder
from finetune.training.network import load_for_training, set_up, settle_attention, to_save
from finetune.training.optimisation import make_optimizer
from finetune.training.problems import head_of, validated
from finetune.training.processes import Processes, joined_processes
from finetune.training.saving import Checkpoint, CheckpointFolder
from finetune.training.schedule import Order, Schedule
from finetune.training.step import Stepper
from finetune.training.validation import Validation

LOGGER = logging.getLogger(__name__)


def fit(arguments: TrainArguments) -> dict[str, Any] | None:
    """Fine-tune a checkpoint and save the model, of the best validation or of the last step.

    Validation runs after each epoch; each one logs `score`. The model folder and `training.json` in it are written only
    after training ended well, by the first process alone. A run that finds its own checkpoint goes on from it.

    Returns:
        The contents of `training.json`; None on all processes but the first.

    Raises:
        InputError: the data set or the checkpoint cannot be used, they do not belong together, the loss became NaN or
            rose for good, the memory is too small, or another process of the run was lost.
        InterruptedTrainingError: SIGTERM came; a checkpoint was saved.
    """
    check_arguments(arguments)
    with terminable() as interruption, joined_processes(arguments.distributed_timeout_seconds) as processes:
        return _fit(arguments, processes, interruption)


def _fit(arguments: TrainArguments, processes: Processes, interruption: Interruption) -> dict[str, Any] | None:
    started, start_up = time.perf_counter(), process_seconds()
    manifest = read_manifest(Path(arguments.dataset))
    task = task_named(manifest.task)
    head = head_of(task)
    if arguments.label_smoothing_factor is not None and not head.smoothing:
        raise InputError(
            f"--label_smoothing_factor {arguments.label_smoothing_factor}: for names that exclude each other; the "
            f"labels of {task.name} are no such"
        )
    transformers.set_seed(arguments.seed)
    choices = choose(arguments, detect_hardware())
    torch.set_float32_matmul_precision(choices.matmul_precision.value)
    if choices.freed_memory.value == "kept" and not keep_freed_memory():
        choices = replace(choices, freed_memory=Choice("returned", "the C library has no setting for it"))
    attention = settle_attention(arguments.checkpoint, task, arguments.attention, choices.attention)
    choices = replace(choices, attention=attention)
    tokenizer, plain = load_for_training(arguments.checkpoint, task, manifest, choices.attention.value)
    model, done = set_up(plain, arguments, choices)
    model.to(processes.device)
    rows = TokenRows(Path(arguments.dataset) / "train.arrow")
    validation_rows = TokenRows(Path(arguments.dataset) / "validation.arrow")
    schedule = Schedule.of(arguments, len(rows), processes.count)
    precision, padding = choices.precision.value, Padding.of(tokenizer)
    identity = _identity(arguments, manifest, choices, processes)
    folder = CheckpointFolder(Path(arguments.checkpoints), arguments.keep_checkpoints)
    found = _found(folder, arguments, identity, processes)
    if found is not None:
        at_a_time = RowsAtATime(found.state["micro_batch"], "as in the checkpoint that the run goes on from")
    elif choices.auto_find_batch_size.value == NEVER:
        at_a_time = RowsAtATime(arguments.per_device_train_batch_size, "as --per_device_train_batch_size says")
    else:
        with trials(model, rows, padding, head, precision, processes.device) as compute:
            at_a_time = find_rows_at_a_time(min(schedule.share, len(rows)), model, processes, compute)
    settings = _settings(arguments, choices, done, schedule, processes, at_a_time)
    if processes.first:
        for name, choice in settings.items():
            LOGGER.info("%s %s: %s", name.replace("_", " "), choice.value, choice.reason)
    log = _open_log(folder, found) if processes.first else None
    optimizer = make_optimizer(model, arguments, fused=choices.optimizer.value == "fused")
    stepped = processes.wrap(torch.compile(model, dynamic=True) if choices.compile.value != NEVER else model)
    parts = Parts(
        model=model,
        optimizer=optimizer,
        stepper=Stepper(stepped, optimizer, rows, padding, arguments, precision, processes, head, at_a_time.rows),
        schedule=schedule,
        order=Order(schedule, rows.lengths, arguments.batching == "length_grouped", arguments.seed),
        validation=Validation(
            validated(task, manifest.labels, validation_rows, Path(arguments.dataset)),
            padding,
            arguments.per_device_eval_batch_size,
            precision,
        ),
        folder=folder,
        processes=processes,
        interruption=interruption,
        log=log,
        identity=identity,
    )
    status = "FAILED"
    try:
        state = RunState() if found is None else restore(parts, found)
        if found is not None:
            LOGGER.info("going on after step %d of %d", state.step, schedule.steps)
        if log is not None:
            log.parameters({"task": task.name, **_logged(arguments), **{k: v.value for k, v in settings.items()}})
        loaded = time.perf_counter()
        train(arguments, parts, state)
        trained = time.perf_counter()
        kept = kept_step(arguments, state)
        if not processes.first:
            status = "FINISHED"
            return None
        if kept != state.step:
            restore_tensors(model, folder.load_best(kept))
        save_model_folder(Path(arguments.model), checkpoint_writer(to_save(model), tokenizer), task, manifest)
        record = {
            "checkpoint": arguments.checkpoint,
            "task": task.name,
            "mlflow_run": None if log is None else log.run_id,
            "arguments": _logged(arguments),
            "precision": asdict(choices.precision) | {"name": choices.precision.value},
            "settings": {name: asdict(choice) for name, choice in settings.items()},
            "validation": state.evaluations[kept],
            "best_checkpoint_step": state.best_step,
            "steps": state.step,
            "resumed_after_steps": state.resumed,
            "processes": processes.count,
            "rows": {"train": len(rows), "trained": state.rows},
            "samples_per_second": round(state.rows / max(state.seconds, 1e-9), 3),
            "seconds": {
                "start": round(start_up, 2),
                "load": round(loaded - started, 2),
                "train": round(trained - loaded, 2),
                "steps": round(state.seconds, 2),
                "save": round(time.perf_counter() - trained, 2),
            },
            "data": {split: summary.sha256 for split, summary in manifest.splits.items()},
            "hardware": describe_hardware(),
            "versions": package_versions(),
            "environment_sha256": environment_sha256(),
        }
        write_json(Path(arguments.model) / TRAINING_RECORD, record)
        status = "FINISHED"
        return record
    except InterruptedTrainingError:
        status = "KILLED"
        raise
    finally:
        if log is not None:
            log.close(status)


def _found(
    folder: CheckpointFolder, arguments: TrainArguments, identity: Mapping[str, Any], processes: Processes
) -> Checkpoint | None:
    """Return the checkpoint to go on from, the same one on every process.

    Raises:
        InputError: the folder holds another run's checkpoint.
    """
    if arguments.resume == NEVER:
        if processes.first:
            folder.clear()
        return None
    found = folder.latest()
    steps = set(processes.gather(None if found is None else found.step))
    if len(steps) > 1:
        raise InputError(
            f"--checkpoints {folder.folder}: the processes see different checkpoints ({steps}); expected one folder "
            "that all of them share"
        )
    if found is None:
        return None
    stored = found.state["identity"]
    different = [
        f"{name} was {stored.get(name)!r} and is {identity.get(name)!r}"
        for name in sorted({*stored, *identity})
        if stored.get(name) != identity.get(name)
    ]
    if different:
        raise InputError(
            f"--checkpoints {folder.folder}: holds the checkpoint of another run: {'; '.join(different)}. Give another "
            "folder, or --resume never to start anew there"
        )
    return found


def _identity(
    arguments: TrainArguments, manifest: DatasetManifest, choices: Choices, processes: Processes
) -> dict[str, Any]:
    return {
        **shaping_arguments(arguments),
        "train_sha256": manifest.splits["train"].sha256,
        "tokenizer_sha256": manifest.tokenizer_sha256,
        "max_length": manifest.max_length,
        "processes": processes.count,
        "precision": choices.precision.value,
    }


def _open_log(folder: CheckpointFolder, found: Checkpoint | None) -> RunLog:
    return RunLog(folder.folder, None if found is None else found.state["mlflow_run"])


def _settings(
    arguments: TrainArguments,
    choices: Choices,
    done: Mapping[str, Choice],
    schedule: Schedule,
    processes: Processes,
    at_a_time: RowsAtATime,
) -> dict[str, Choice]:
    at_once = min(at_a_time.rows, schedule.share)
    rounds = -(-schedule.batch_size // (at_once * processes.count))
    reasons = {"length_grouped": "rows of like length need little padding", "random": "as requested"}
    return {
        **{name: Choice(**value) for name, value in choices.items().items()},
        **done,
        "batching": Choice(arguments.batching, reasons[arguments.batching]),
        "rows_at_a_time": Choice(str(at_once), at_a_time.reason),
        "global_batch": Choice(
            str(schedule.batch_size), f"{at_once} rows × {rounds} rounds × {processes.count} processes"
        ),
        "threads": Choice(str(torch.get_num_threads()), "as torch finds cores and OMP_NUM_THREADS"),
    }


def _logged(arguments: TrainArguments) -> dict[str, Any]:
    """Return the arguments for run and record: those that are set, but for the folders; epochs as trained."""
    folders = {"dataset", "model", "checkpoints"}
    given = {name: value for name, value in asdict(arguments).items() if name not in folders and value is not None}
    return {**given, "num_train_epochs": arguments.epochs}
