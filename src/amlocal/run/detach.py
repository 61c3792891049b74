"""Goes on in a background process that no terminal can end."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def go_on_in_background(log: Path) -> int | None:
    """Fork: the child goes on in a session of its own, without a terminal; the parent gets its process id.

    To be called before there are threads.

    Args:
        log: where the child's output goes.

    Returns:
        The child's process id; None in the child.

    Raises:
        OSError: when there can be no further process, or the log cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        for descriptor, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
    os.close(output)
    os.close(null)
    return child or None
