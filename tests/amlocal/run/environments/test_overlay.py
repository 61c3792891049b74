"""What a command installs takes effect for it, and for nothing else."""

import os
import shutil
import site
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from amlocal.run.environments.interpreter import Interpreter, caller_variables, calling_interpreter
from amlocal.run.environments.overlay import make_overlay, overlay_variables
from amlocal.run.environments.stand_ins import make_stand_ins

PIP = "--no-index --quiet --find-links $WHEELS"


@pytest.fixture
def wheels(wheel) -> list[Path]:
    return [wheel("tiny", version, script=True) for version in ("1.0", "2.0")]


@pytest.fixture
def parent(tmp_path, wheels) -> Interpreter:
    """The calling interpreter, with tiny 1.0 installed and its script among the commands."""
    packages, commands = tmp_path / "parent" / "site-packages", tmp_path / "parent" / "bin"
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(packages)
    commands.mkdir()
    script = commands / "tiny"
    script.write_text(f"#!{commands}/python3\nfrom tiny import main\nmain()\n")
    script.chmod(0o755)
    calling = calling_interpreter(tmp_path / "stand-ins")
    return replace(
        calling,
        commands=commands,
        stand_ins=make_stand_ins(commands, tmp_path / "stand-ins"),
        site_packages=(packages, *calling.site_packages),
    )


class Step:
    """An overlay, and commands run in it."""

    def __init__(self, parent: Interpreter, folder: Path) -> None:
        make_overlay(parent, folder)
        caller = caller_variables(os.environ, isolated=parent.isolated)
        self.variables = {**caller, **overlay_variables(parent, folder, caller)}

    def run(self, command: str) -> str:
        done = self.attempt(command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attempt(self, command: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", "-c", command], env=self.variables, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() for path in found}


def test_step_sees_the_packages_of_its_parent_also_editable_ones(parent, tmp_path):
    editable = tmp_path / "elsewhere"
    editable.mkdir()
    (editable / "linked.py").write_text("")
    (parent.site_packages[0] / "linked.pth").write_text(f"{editable}\n")
    step = Step(parent, tmp_path / "overlay")

    assert step.run("python -c 'import yaml, tiny, linked; print(tiny.VERSION)'") == "1.0"
    assert step.run("python3 -c 'import sys; print(sys.prefix)'") == str(tmp_path / "overlay")


@pytest.mark.parametrize(
    "install",
    [
        f"pip install {PIP} tiny==2.0",
        f"pip3 install --user {PIP} tiny==2.0",
        f"python -m pip install {PIP} --upgrade tiny",
        f"python -c \"import os, sys; os.execv(sys.executable, 'python -m pip install {PIP} tiny==2.0'.split())\"",
    ],
)
def test_other_version_wins_in_the_step_and_leaves_the_parent_as_it_is(parent, tmp_path, install):
    before = contents(tmp_path / "parent")
    step = Step(parent, tmp_path / "overlay")

    step.run(install)

    assert step.run("python -c 'import tiny; print(tiny.VERSION)'; tiny").split() == ["2.0", "2.0"]
    assert contents(tmp_path / "parent") == before
    assert Step(parent, tmp_path / "next").run("python -c 'import tiny; print(tiny.VERSION)'") == "1.0"


def test_command_of_the_parent_runs_under_the_steps_python(parent, tmp_path):
    step = Step(parent, tmp_path / "overlay")
    overlay = tmp_path / "overlay" / "lib" / f"python{parent.version}" / "site-packages"
    shutil.copy(parent.site_packages[0] / "tiny.py", overlay)
    (overlay / "tiny.py").write_text("import sys\n\n\ndef main():\n    print(sys.executable)\n")

    assert step.run("tiny") == str(tmp_path / "overlay" / "bin" / "python")


def test_pip_is_not_sent_elsewhere_by_the_callers_settings(parent, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("PIP_USER", "1")
    step = Step(parent, tmp_path / "overlay")

    step.run(f"pip install {PIP} tiny==2.0")

    assert not (tmp_path / "target").exists()
    assert step.run("python -c 'import tiny; print(tiny.VERSION)'") == "2.0"


def test_uninstalling_leaves_the_parent_as_it_is(parent, tmp_path):
    before = contents(tmp_path / "parent")

    Step(parent, tmp_path / "overlay").attempt("pip uninstall --yes tiny")

    assert contents(tmp_path / "parent") == before


def test_commands_of_the_caller_are_found(tmp_path):
    calling = calling_interpreter(tmp_path / "stand-ins")
    step = Step(calling, tmp_path / "overlay")

    assert step.run("command -v amlocal") == str(calling.stand_ins / "amlocal")
    assert step.run("command -v ruff") == str(Path(sys.executable).parent / "ruff")
    assert "usage: amlocal" in step.run("amlocal --help")


def test_activating_the_callers_environment_does_not_leave_the_overlay(tmp_path):
    step = Step(calling_interpreter(tmp_path / "stand-ins"), tmp_path / "overlay")

    assert step.run("source activate && command -v python") == str(tmp_path / "overlay" / "bin" / "python")


def test_stand_ins_are_made_once_for_each_state_of_the_commands(parent, tmp_path):
    store = tmp_path / "stand-ins"

    assert make_stand_ins(parent.commands, store) == parent.stand_ins
    for name, mode in (("other", 0o755), ("no-command", 0o644)):
        (parent.commands / name).write_text(f"#!{parent.commands}/python\n")
        (parent.commands / name).chmod(mode)
    os.utime(parent.commands, ns=(1, 1))
    assert sorted(path.name for path in make_stand_ins(parent.commands, store, "/nowhere").iterdir()) == [
        ".stand-in",
        "activate",
        "other",
        "tiny",
    ]


def test_stand_in_is_found_behind_an_installers_long_first_line(parent, tmp_path):
    script = parent.commands / "long"
    script.write_text(f"#!/bin/sh\n'''exec' \"{parent.commands}/python3\" \"$0\" \"$@\"\n' '''\nprint('hello')\n")
    script.chmod(0o755)
    os.utime(parent.commands, ns=(1, 1))
    stand_ins = make_stand_ins(parent.commands, tmp_path / "stand-ins")

    assert Step(replace(parent, stand_ins=stand_ins), tmp_path / "overlay").run("long") == "hello"


@pytest.fixture
def conda(parent, tmp_path):
    """A step on a machine with a conda and a uv that say what they were asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("conda", "uv"):
        (tools / name).write_text('#!/bin/sh\necho "real $*"\n')
        (tools / name).chmod(0o755)
    stand_ins = make_stand_ins(parent.commands, tmp_path / "stand-ins", str(tools))
    return Step(replace(parent, stand_ins=stand_ins), tmp_path / "overlay")


@pytest.mark.parametrize("asked", ["install -y numpy", "update --all", "remove numpy", "env update -f x.yml"])
def test_conda_is_kept_from_changing_the_parent(conda, asked):
    done = conda.attempt(f"conda {asked}")

    assert done.returncode == 1
    assert "use pip" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("asked", ["list", "info --envs", "create -n own python=3.11", "install -n own numpy"])
def test_conda_does_what_leaves_the_parent_as_it_is(conda, asked):
    assert conda.run(f"conda {asked}") == f"real {asked}"


def test_uv_is_kept_within_the_step(conda):
    assert conda.run("uv pip install --system numpy") == "real pip install numpy"


def test_user_site_packages_stay_visible_where_the_caller_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(tmp_path))

    assert calling_interpreter(tmp_path / "stand-ins").site_packages[0] == tmp_path
