"""Training runs as processes of their own that can be killed at a chosen point: run as a script by `run_forked`.

One process imports everything and forks each run, so that a dozen runs cost one start.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        arguments: of `TrainArguments`.
        strike: where it is killed: {"step": n}, {"writing": n} (the nth tensor file, before it is renamed),
            {"renaming": n} (the nth checkpoint), or nothing.
        signal: what it is killed with.
        ranks: how many processes it has.
        struck_rank: which of them is struck.
    """

    arguments: Mapping[str, Any]
    strike: Mapping[str, int] = field(default_factory=dict)
    signal: int = signal.SIGKILL
    ranks: int = 1
    struck_rank: int = 0


def run_forked(folder: Path, runs: Sequence[Run]) -> list[list[int]]:
    """Run one after the other; return exit codes by rank, -N for signal N. Logs are folder/run-N-R.log."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps([vars(run) for run in runs]))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        # A database is opened by each process anew, which takes it a second.
        "MLFLOW_TRACKING_URI": f"file://{folder}/mlruns",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    done = subprocess.run(
        [sys.executable, __file__, str(plan)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _strike_at(run: Mapping[str, Any]) -> None:
    """Replace the functions of the chosen point by ones that kill."""
    from finetune.training import saving, step

    counts: dict[str, int] = {}

    def struck(what: str) -> None:
        counts[what] = counts.get(what, 0) + 1
        if run["strike"].get(what) == counts[what]:
            os.kill(os.getpid(), run["signal"])

    take, save_tensors, rename = step.Stepper.take, saving._save_tensors, Path.rename

    def counted_take(*arguments: Any) -> Any:
        figures = take(*arguments)
        struck("step")
        return figures

    def counted_save(path: Path, tensors: Any) -> None:
        save_tensors(path, tensors)
        struck("writing")

    def counted_rename(path: Path, target: Path) -> Path:
        if path.name.startswith(".writing-checkpoint"):
            struck("renaming")
        return rename(path, target)

    step.Stepper.take, saving._save_tensors, Path.rename = counted_take, counted_save, counted_rename


def _child(run: Mapping[str, Any], rank: int, log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if run["strike"] and rank == run["struck_rank"]:
        _strike_at(run)
    sys.path.insert(0, str(Path(__file__).parents[1] / "components" / "train"))
    import train

    from finetune.stage import run_stage
    from finetune.training import fit

    def save_weights(folder: Path, write_checkpoint: Callable[[Path], None], *others: Any) -> None:
        write_checkpoint(folder)
        (folder / "model.safetensors").rename(folder / "weights.safetensors")

    # A whole MLflow model is made and opened for each: seconds that tell nothing here.
    fit.save_model_folder = save_weights
    sys.argv = ["train.py"]
    for name, value in run["arguments"].items():
        sys.argv += [f"--{name}", str(value)]
    run_stage(train.main)


def _main(plan: Path) -> None:
    import finetune.training.fit  # noqa: F401  (what all runs share)

    codes = []
    for number, run in enumerate(json.loads(plan.read_text())):
        port = 0
        if run["ranks"] > 1:
            import socket

            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        children = []
        for rank in range(run["ranks"]):
            child = os.fork()
            if child == 0:
                if run["ranks"] > 1:
                    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(run["ranks"])}
                    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                code = 1
                try:
                    _child(run, rank, plan.parent / f"run-{number}-{rank}.log")
                    code = 0
                except SystemExit as end:
                    code = int(end.code or 0)
                except BaseException:  # noqa: BLE001  (a fork must end here, whatever happens)
                    import traceback

                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            children.append(child)
        codes.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    print(json.dumps(codes))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
