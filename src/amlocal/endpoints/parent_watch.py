"""For child processes: end when the daemon that started them is gone, however it went.

The daemon keeps the write end of each child's standard input and never writes to it. Should the daemon die,
even of SIGKILL, the system closes that end and the child reads an end of file. Works on every Unix and needs
no polling.

Only the standard library: this file also runs under interpreters in which amlocal is not installed.
"""

import os
import signal
import threading
import time

GRACE_SECONDS = 5.0


def end_with_parent() -> None:
    """Watch standard input from a background thread and, at its end, end this process's group.

    The process must lead a group of its own.
    """
    pipe = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # nobody else shall read from the pipe
    os.close(null)
    threading.Thread(target=_watch, args=(pipe,), name="parent-watch", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(group, signal.SIGKILL)
