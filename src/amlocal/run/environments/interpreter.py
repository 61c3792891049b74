"""The Python interpreters that steps run in."""

from __future__ import annotations

import hashlib
import platform
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amlocal.run.environments.stand_ins import make_stand_ins


@dataclass(frozen=True)
class Interpreter:
    """A Python with its packages.

    Attributes:
        base: the executable that virtual environments beside this one start from.
        version: as in ``3.11``.
        commands: the folder of its command-line tools.
        stand_ins: what stands in for those tools, so that they run under a step's own Python.
        site_packages: the folders of its packages, the first one winning.
        packages: what is installed, as reuse compares it.
        isolated: it was built for an environment, so that nothing of the caller's may show through.
    """

    base: Path
    version: str
    commands: Path
    stand_ins: Path
    site_packages: tuple[Path, ...]
    packages: str
    isolated: bool = False


def calling_interpreter(store: Path) -> Interpreter:
    """Describe the interpreter that this process runs in.

    Args:
        store: where stand-ins for commands are kept.

    Raises:
        OSError: when those cannot be written.
    """
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders = [site.getusersitepackages(), *folders]
    paths = tuple(path for path in map(Path, folders) if path.is_dir())
    installed = {Path(sysconfig.get_path(key)) for key in ("purelib", "platlib")}
    commands = Path(sys.executable).parent  # unresolved: a virtual environment's own
    return Interpreter(
        base=Path(getattr(sys, "_base_executable", sys.executable)),  # what the venv module goes by, too
        version=f"{sys.version_info.major}.{sys.version_info.minor}",
        commands=commands,
        stand_ins=make_stand_ins(commands, store),
        site_packages=paths,
        packages=installed_packages(platform.python_version(), installed),
    )


def installed_packages(python: str, folders: Iterable[Path]) -> str:
    """Describe an interpreter: its version, and a digest of what is installed.

    Only the names of the installed distributions are looked at, which hold their versions.

    Args:
        python: its full version.
        folders: where its packages lie.
    """
    names = {
        path.name
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.name.endswith((".dist-info", ".egg-info"))
    }
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    return f"python {python}, packages {digest[:16]}"


def caller_variables(variables: Mapping[str, str], *, isolated: bool) -> dict[str, str]:
    """Give what a step gets of the caller's environment variables.

    Left out are those of other Azure ML and MLflow runs, and those that would have a package installer or Python
    itself look elsewhere than where the step runs.

    Args:
        variables: the caller's.
        isolated: the step runs in an environment of its own, where the caller's Python must not show.
    """
    foreign = ("AZUREML_", "AZURE_ML_", "MLFLOW_")
    dropped = _ELSEWHERE | (_PYTHON if isolated else set())
    return {key: value for key, value in variables.items() if not key.startswith(foreign) and key not in dropped}


_ELSEWHERE = frozenset(
    {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PYTHONHOME"}
    | {"UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_TARGET", "UV_PREFIX"}
)
_PYTHON = frozenset({"PYTHONPATH", "PYTHONUSERBASE", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"})
