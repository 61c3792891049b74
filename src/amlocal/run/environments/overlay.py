"""A step's own layer over an interpreter: what the step installs lands there and takes effect there alone.

It is a virtual environment whose packages come first and whose parent's packages follow. pip itself leaves alone what
lies outside of it, so another version of a package of the parent's is installed beside it and wins.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from amlocal.run.environments.interpreter import Interpreter
from amlocal.run.environments.stand_ins import STEP_PYTHON, write_script

_PIP = """\
#!/bin/sh
# There is one place to install to, so --user, which pip refuses in virtual environments, asks for nothing else.
for argument do
    shift
    [ "$argument" = --user ] || set -- "$@" "$argument"
done
exec {python} -m pip "$@"
"""


def make_overlay(interpreter: Interpreter, folder: Path) -> None:
    """Make an overlay.

    Args:
        interpreter: the parent.
        folder: where; must not exist.

    Raises:
        OSError: when it cannot be written.
    """
    commands, packages = folder / "bin", folder / "lib" / f"python{interpreter.version}" / "site-packages"
    commands.mkdir(parents=True)
    packages.mkdir(parents=True)
    if sys.maxsize > 2**32 and sys.platform == "linux":
        (folder / "lib64").symlink_to("lib")  # as venv does, for Pythons that install compiled packages there
    for name in ("python", "python3", f"python{interpreter.version}"):
        (commands / name).symlink_to(interpreter.base)
    settings = f"home = {interpreter.base.parent}\ninclude-system-site-packages = false\n"
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")
    # Sorts last, so that what the step installs as editable comes before the parent's packages, too.
    lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in interpreter.site_packages]
    (packages / "~parent.pth").write_text("".join(lines), encoding="utf-8")
    for name in ("pip", "pip3", f"pip{interpreter.version}"):
        write_script(commands / name, _PIP.format(python=shlex.quote(str(commands / "python"))))


def overlay_variables(interpreter: Interpreter, folder: Path, caller: Mapping[str, str]) -> dict[str, str]:
    """Make the environment variables that have a command run in an overlay.

    Args:
        interpreter: the parent.
        folder: the overlay.
        caller: the variables that these are laid over.
    """
    found = caller.get("PATH", os.defpath).split(os.pathsep)
    if interpreter.isolated and sys.prefix != sys.base_prefix:
        own = Path(sys.executable).parent
        found = [entry for entry in found if Path(entry) != own]
    path = [str(folder / "bin"), str(interpreter.stand_ins), str(interpreter.commands), *found]
    return {
        "PATH": os.pathsep.join(path),
        "VIRTUAL_ENV": str(folder),
        STEP_PYTHON: str(folder / "bin" / "python"),
    }
