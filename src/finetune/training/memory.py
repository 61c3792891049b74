"""Keeping memory that a step has freed for the next one.

glibc gives large freed blocks back to the system at once, and each step has them made anew, page by page: on a CPU
that is a twentieth of a step, spent in the kernel (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
"""

import ctypes
import ctypes.util

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed; False where it has no such setting (it is not glibc)."""
    name = ctypes.util.find_library("c")
    if name is None:
        return False
    library = ctypes.CDLL(name)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
