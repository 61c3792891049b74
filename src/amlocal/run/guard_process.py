"""Ends the steps of a job whose amlocal is gone: ``guard_process.py MARK GRACE_SECONDS PACKAGES``.

Standard input is a pipe whose other end amlocal holds. A line means that the job came to its end. The end of the
file without one means that amlocal died, even of SIGKILL: then the process groups of all processes with MARK,
``NAME=value``, in their environment get SIGTERM and, after a moment, SIGKILL.

Reads the environment rather than a list of process groups: no step can be missed that amlocal had just started
when it died, and none that made a session of its own.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator


def main(mark: str, grace_seconds: float, packages: str) -> None:
    """Wait for the end of the job, or of the process that runs it.

    Args:
        mark: what every step has in its environment.
        grace_seconds: between SIGTERM and SIGKILL.
        packages: the folder where psutil is installed; nothing is imported from there before it is needed.
    """
    if sys.stdin.readline():
        return
    sys.path.append(packages)
    deadline = time.monotonic() + grace_seconds
    asked: set[int] = set()
    while found := signal_marked(mark, asked, time.monotonic() > deadline):
        asked |= found
        time.sleep(0.1)


def signal_marked(mark: str, asked: set[int], late: bool) -> set[int]:
    """Have the process groups end that hold a process with a mark.

    Args:
        mark: what to look for in the processes' environments.
        asked: groups that got SIGTERM.
        late: send SIGKILL to all, instead of SIGTERM to those that were not asked yet.

    Returns:
        The groups that are there.
    """
    groups = set(_marked_groups(mark))
    for group in groups if late else groups - asked:
        _signal(group, signal.SIGKILL if late else signal.SIGTERM)
    return groups


def _marked_groups(mark: str) -> Iterator[int]:
    import psutil

    name, _, value = mark.partition("=")
    own = os.getpgrp()
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                group = os.getpgid(process.pid)
                if group != own:
                    yield group
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or another user's


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
