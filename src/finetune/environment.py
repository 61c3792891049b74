"""What a stage runs in, as far as the stage itself can know it."""

import hashlib
import platform
from importlib.metadata import distributions


def environment_sha256() -> str:
    """Return a digest of the interpreter's version and of every installed distribution's name and version.

    A stage cannot see which environment asset it was given. Two runs with this digest had the same Python packages; the
    system's own libraries are not in it.
    """
    installed = {f"{found.metadata['Name'].lower().replace('_', '-')}=={found.version}" for found in distributions()}
    lines = [f"python=={platform.python_version()}", *sorted(installed)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
