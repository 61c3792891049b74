"""What a deployment's processes print: kept in a file of limited size, with one older file beside it."""

import collections
import shutil
from pathlib import Path

LIMIT_BYTES = 4 << 20


def older(path: Path) -> Path:
    """Name the file with what was printed before."""
    return path.with_name(f"{path.name}.1")


def rotate(path: Path, limit: int = LIMIT_BYTES) -> bool:
    """Move the contents of a log that has grown too large to the older file.

    The file stays the same, for the processes that append to it have it open. What they print in the moment
    between the last byte copied and the cut is lost.

    Args:
        path: The log.
        limit: Bytes from which it is too large.

    Returns:
        Whether it was.

    Raises:
        OSError: The older file cannot be written; the log is as it was.
    """
    if not path.exists() or path.stat().st_size < limit:
        return False
    aside = path.with_name(f".{path.name}.rotating")
    with path.open("r+b") as log, aside.open("wb") as copy:
        shutil.copyfileobj(log, copy)
        copy.flush()
        log.truncate(0)
    aside.replace(older(path))
    return True


def tail(path: Path, lines: int) -> str:
    """Read the end of a log, from the older file too where the newer one is short.

    Args:
        path: File that may not exist yet.
        lines: How many lines at most.
    """
    kept: collections.deque[str] = collections.deque(maxlen=lines)
    for file in (older(path), path):
        if file.exists():
            with file.open(encoding="utf-8", errors="replace") as stream:
                kept.extend(stream)
    return "".join(kept)
