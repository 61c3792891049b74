"""Stand-ins for an interpreter's command-line tools, which run them under the Python of the step that calls them."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

STEP_PYTHON = "AMLOCAL_STEP_PYTHON"
"""The environment variable that tells the stand-ins which Python that is."""

_CONDA_TOOLS = ("conda", "mamba", "micromamba")
_UV = """\
#!/bin/sh
# --system would have it pass over the step's own Python.
for argument do
    shift
    [ "$argument" = --system ] || set -- "$@" "$argument"
done
exec {real} "$@"
"""
_STAND_IN = f"""\
#!/bin/sh
# Runs a command of the interpreter below under the step's own Python.
exec "${STEP_PYTHON}" {{commands}}/"${{{{0##*/}}}}" "$@"
"""
_ACTIVATE = "# The step's environment is active already.\n"
_CONDA = """\
#!/bin/sh
# Lets everything pass that leaves the interpreter below as it is.
named=no
for argument do
    case "$argument" in -n | --name | --name=* | -p | --prefix | --prefix=*) named=yes ;; esac
done
case "$named $1 $2" in
"no install "* | "no update "* | "no upgrade "* | "no remove "* | "no uninstall "* | "no env update")
    echo "amlocal: '{tool} $1' would change the environment that amlocal runs in; use pip, which stays within" \\
        "the step, or list the package in the step's environment and run with --environment isolated" >&2
    exit 1
    ;;
esac
exec {real} "$@"
"""


def make_stand_ins(commands: Path, store: Path, path: str | None = None) -> Path:
    """Make stand-ins for an interpreter's commands that run them under the Python of the step that calls them.

    ``torchrun`` and its like name their interpreter in their first line. Run as they are they would neither see what
    the step has installed nor be kept from installing into the parent.

    Args:
        commands: the folder of the interpreter's commands.
        store: where such folders are kept, one for each state of the interpreter's own folder.
        path: where conda and uv are looked for; the caller's ``PATH`` by default.

    Returns:
        The folder, to come before the interpreter's own on ``PATH``.

    Raises:
        OSError: when it cannot be written.
    """
    scripts = dict.fromkeys(_CONDA_TOOLS, _CONDA) | {"uv": _UV}
    real = {tool: found for tool in scripts if (found := shutil.which(tool, path=path)) is not None}
    state = repr((str(commands), commands.stat().st_mtime_ns, sorted(real.items())))
    folder = store / sha256(f"{_STAND_IN}{_CONDA}{_UV}{state}".encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    store.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=store, prefix=".staging-"))
    try:
        write_script(staging / ".stand-in", _STAND_IN.format(commands=shlex.quote(str(commands))))
        for name in _python_commands(commands):
            (staging / name).symlink_to(".stand-in")
        for tool, found in real.items():
            (staging / tool).unlink(missing_ok=True)
            write_script(staging / tool, scripts[tool].format(tool=tool, real=shlex.quote(found)))
        (staging / "activate").unlink(missing_ok=True)
        (staging / "activate").write_text(_ACTIVATE, encoding="utf-8")
        staging.rename(folder)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not folder.is_dir():  # another job may have made the same one meanwhile
            raise
    return folder


def _python_commands(folder: Path) -> list[str]:
    """Name the commands whose first lines have them run by a Python of the same folder."""
    names = []
    for entry in os.scandir(folder):
        if entry.is_file() and os.access(entry.path, os.R_OK | os.X_OK):
            with Path(entry.path).open("rb") as stream:
                start = stream.read(512)
            if start.startswith(b"#!") and _runs_python_of(folder, start):
                names.append(entry.name)
    return names


def _runs_python_of(folder: Path, start: bytes) -> bool:
    # Where a path is too long for a first line, installers write a shell line that starts it.
    prefix = os.fsencode(folder) + b"/python"
    first, _, rest = start.partition(b"\n")
    return first[2:].strip().startswith(prefix) or (rest.startswith(b"'''exec'") and prefix in rest.split(b"\n")[0])


def write_script(path: Path, text: str) -> None:
    """Write a file that can be run."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
