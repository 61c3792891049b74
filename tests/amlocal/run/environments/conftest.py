"""Wheels that tests install: real ones, made on the spot."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


def make_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = (), script: bool = False) -> Path:
    """Write a wheel of one module that holds its VERSION; its script, of the same name, prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n\n\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in files.items():
            archive.writestr(entry, text)
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a wheel in the folder that ``$WHEELS`` names."""
    folder = tmp_path / "wheels"
    monkeypatch.setenv("WHEELS", str(folder))
    return lambda *arguments, **options: make_wheel(folder, *arguments, **options)
