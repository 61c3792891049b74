r"""CPU-seconds of a command and of every process that comes of it, daemons that it leaves behind included.

The command runs below a process of its own that is a subreaper (prctl(2): PR_SET_CHILD_SUBREAPER): what loses its
parent becomes its child. It waits for all of them, so getrusage(RUSAGE_CHILDREN) counts every one, whole; sampling
would miss short ones and the ends of long ones.

Example:
    python benchmarks/metering.py figures.json 600 -- amlocal job create --file job.yml -- amlocal workspace stop
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Metered:
    """What commands took together."""

    cpu_seconds: float
    wall_seconds: float


def metered(commands: Sequence[Sequence[str]], patience: float, environment: Mapping[str, str], file: Path) -> Metered:
    """Run commands one after another, then wait for every process that they left.

    Args:
        commands: command lines; all are run, also when one fails.
        patience: seconds that processes may live on after the last command.
        environment: the commands' variables.
        file: where the figures are written.

    Raises:
        SystemExit: a command failed, or processes were still there.
    """
    line = [sys.executable, str(Path(__file__)), str(file), str(patience)]
    for command in commands:
        line += ["--", *command]
    if subprocess.run(line, env=dict(environment), check=False).returncode != 0:
        sys.exit("error: what was to be metered failed; its output is above")
    return Metered(**json.loads(file.read_text(encoding="utf-8")))


def split_commands(words: Sequence[str]) -> list[list[str]]:
    """Split words at each `--`."""
    commands: list[list[str]] = []
    for word in words:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def main(argv: Sequence[str]) -> int:
    """Run commands below this process and write what they took."""
    file, patience, *words = argv
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl: PR_SET_CHILD_SUBREAPER")
    began = time.monotonic()
    failed = [command for command in split_commands(words) if subprocess.run(command, check=False).returncode != 0]
    left = _wait_for_all(time.monotonic() + float(patience))
    for command in failed:
        print(f"failed: {' '.join(command)}", file=sys.stderr)
    if left:
        print(f"still there after {patience} s, and ended: {', '.join(left)}", file=sys.stderr)
    if failed or left:
        return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"cpu_seconds": used.ru_utime + used.ru_stime, "wall_seconds": time.monotonic() - began}
    Path(file).write_text(json.dumps(figures), encoding="utf-8")
    return 0


def _wait_for_all(until: float) -> list[str]:
    """Wait until there is no child left; end those that are still there then, and return their command lines."""
    ended: list[str] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            if time.monotonic() > until:
                for child in psutil.Process().children():
                    ended.append(" ".join(child.cmdline()) or str(child.pid))
                    child.send_signal(signal.SIGKILL)
                until = float("inf")
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
