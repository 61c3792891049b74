"""What ci.yml calls `make` for: the Makefile itself, by the real program.

`make validate`, `make run` and `make stop` do what they do, on small data and with one trial; what the first `make run`
left is handed to later ones. Of `make setup`, `make lint` and `make test` the commands are only shown: they are what
runs these tests.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from github.commands import Answer, Call
from github.files import ROOT

SHOWN = ("setup", "lint", "test")
RUN = "run JOB=ci"
TARGETS = (*SHOWN, "validate", RUN, "stop")
"""What ci.yml makes."""
LEFT = Path(".amlocal") / "jobs" / "ci" / "outputs" / "evaluation"
SMALL = (
    *("DATA=data/messages", "TEXT=text", "LABEL=label", "EPOCHS=3"),
    "SET=jobs.sweep.limits.max_total_trials=1 jobs.sweep.limits.max_concurrent_trials=1 "
    "jobs.sweep.search_space.learning_rate.min_value=-4.85 jobs.sweep.search_space.learning_rate.max_value=-4.75",
)
"""Of `make run`: the data that the story's repository has, and a learning rate with which the tiny model learns it."""


@dataclass
class Make:
    """The program, for one test run.

    Attributes:
        checkpoint: What `make run` starts from.
        left: The evaluation of the first `make run`.
    """

    checkpoint: Path
    left: Path | None = None

    def __call__(self, call: Call) -> Answer:
        """Run one command line."""
        target = " ".join(call.arguments)
        if target not in TARGETS:
            return Answer(error=f"make {target}: not a target of ci.yml\n", code=2)
        if target in SHOWN:
            return self._make(call, "--dry-run", target)
        if target != RUN:
            return self._make(call, target)
        if self.left is not None:
            shutil.copytree(self.left, call.folder / LEFT)
            return Answer(out="done before\n")
        done = self._make(call, *call.arguments, *SMALL, f"CHECKPOINT={self.checkpoint}")
        if done.code == 0:
            self.left = call.folder / LEFT
        return done

    def _make(self, call: Call, *arguments: str) -> Answer:
        make = shutil.which("make", path="/usr/local/bin:/usr/bin:/bin")
        assert make is not None
        # What is installed is what runs these tests.
        venv = Path(sys.prefix)
        done = subprocess.run(
            [make, "--old-file", str(venv / ".installed"), *arguments, f"VENV={venv}"],
            cwd=call.folder,
            env={
                **{name: value for name, value in os.environ.items() if name.startswith(("HF_", "TRANSFORMERS_"))},
                **{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": call.environment["HOME"], "LANG": "C.UTF-8"},
                **{"PYTHONPATH": str(ROOT / "src"), "CI": "true"},
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        return Answer(done.stdout, done.stderr, done.returncode)
