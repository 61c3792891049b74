"""How environments are built, with a Python whose venv and pip only leave traces."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from amlocal.reader.source import Place
from amlocal.run.environments.build import BuildError, Store, build_all
from amlocal.run.environments.conda import Requirement
from amlocal.run.environments.pythons import Python
from amlocal.run.environments.recipe import Recipe

VENV = """\
#!/bin/sh
mkdir -p "$3/bin" "$3/lib/python3.11/site-packages"
echo "venv $3" >> "$TRACES/venv"
cp "$TRACES/pip" "$3/bin/python"
"""
TRACE = 'echo "$@" >> "$TRACES/installed"; mkdir -p "$(dirname "$0")/../lib/python3.11/site-packages/a-1.dist-info"\n'
MEET = """\
touch "$TRACES/met-$$"
for turn in $(seq 200); do
    [ "$(ls "$TRACES" | grep -c met-)" -ge 2 ] && exit 0
    sleep 0.05
done
echo "nobody else came"; exit 1
"""
STAY = 'echo $$ > "$TRACES/staying"; exec sleep 600\n'


@pytest.fixture
def traces(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    monkeypatch.setenv("TRACES", str(folder))
    (folder / "python").write_text(VENV)
    (folder / "python").chmod(0o755)
    return folder


@pytest.fixture
def pip(traces):
    def writer(script: str) -> None:
        (traces / "pip").write_text(f"#!/bin/sh\n{script}")
        (traces / "pip").chmod(0o755)

    writer(TRACE)
    return writer


@pytest.fixture
def recipe(traces, tmp_path):
    def maker(*lines: str, label: str = "env") -> Recipe:
        places = (Place(tmp_path / "conda.yml", number) for number in range(1, 99))
        requirements = tuple(Requirement(line, next(places), line.partition("=")[0]) for line in lines)
        return Recipe(label, Place(tmp_path / "job.yml", 1), Python(traces / "python", (3, 11, 7)), requirements)

    return maker


def build(home: Path, told: list[str] | None = None, concurrent: int = 2, **recipes: Recipe):
    progress = (told if told is not None else []).append
    return asyncio.run(build_all(recipes, home, progress, concurrent, {"MARK": "job"}))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_same_packages_are_built_once_whoever_asks(recipe, pip, traces, tmp_path):
    told: list[str] = []
    first = build(tmp_path, told, one=recipe("a==1", "b"), two=recipe("b", "a==1", label="same"), three=recipe("c"))
    second = build(tmp_path, four=recipe("a==1", "b"))

    assert first["one"] == first["two"] == second["four"]
    assert first["one"].commands != first["three"].commands
    assert first["one"].packages != first["three"].packages
    assert len(lines(traces / "venv")) == 2
    assert [line.split(" (")[0] for line in told if "building" in line] == ["env: building it", "env: building it"]
    assert sum("built in" in line for line in told) == 2


def test_installers_come_before_what_they_install(recipe, pip, traces, tmp_path):
    build(tmp_path, one=recipe("a==1", "pip==25.3.*", "--pre"))

    installed = [line.rsplit(" ", 1)[-1] for line in lines(traces / "installed")]
    assert [Path(path).name for path in installed] == ["installers.txt", "requirements.txt"]
    assert lines(Path(installed[0])) == ["--pre", "pip==25.3.*"]
    assert lines(Path(installed[1])) == ["a==1", "pip==25.3.*", "--pre"]


def test_disjoint_environments_are_built_at_the_same_time(recipe, pip, tmp_path):
    pip(MEET)

    built = build(tmp_path, one=recipe("a"), two=recipe("b"))

    assert built["one"].commands != built["two"].commands


def test_two_jobs_at_once_build_an_environment_once(recipe, pip, traces, tmp_path):
    pip("sleep 0.5\n")
    told: list[str] = []

    async def both():
        recipes = {"step": recipe("a")}
        return await asyncio.gather(*(build_all(recipes, tmp_path, told.append, 2, {}) for _ in range(2)))

    first, second = asyncio.run(both())
    assert first == second
    assert len(lines(traces / "venv")) == 1
    assert "env: another job builds it" in told


def test_builds_are_found_by_their_mark_and_see_nothing_of_the_callers_python(
    recipe, pip, traces, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "/callers")
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    pip('echo "$MARK/$PYTHONPATH/$PIP_TARGET/$VIRTUAL_ENV" > "$TRACES/seen"\n')

    build(tmp_path, one=recipe("a"))

    assert lines(traces / "seen") == ["job///"]


def test_environment_that_was_never_finished_is_built_anew(recipe, pip, traces, tmp_path):
    folder = Store(tmp_path).folder(recipe("a"))
    (folder / "bin").mkdir(parents=True)
    (folder / "left-over").touch()

    build(tmp_path, one=recipe("a"))

    assert len(lines(traces / "venv")) == 1
    assert not (folder / "left-over").exists()


def test_failure_names_the_line_of_the_package_and_keeps_the_log(recipe, pip, tmp_path):
    pip("echo 'ERROR: No matching distribution found for b==7'; exit 3\n")
    wanted = recipe("a", "b==7")

    with pytest.raises(BuildError) as caught:
        build(tmp_path, one=wanted)

    assert f"{tmp_path}/conda.yml:2: environment: env cannot be built: pip ended with exit code 3\n" in str(
        caught.value
    )
    assert "  | ERROR: No matching distribution found for b==7\n" in str(caught.value)
    assert not Store(tmp_path).folder(wanted).exists()
    assert "No matching" in Store(tmp_path).log(wanted).read_text()


def test_python_without_venv_is_a_failure_of_the_environment(recipe, pip, traces, tmp_path):
    (traces / "python").write_text("#!/bin/sh\necho 'ensurepip is not available'; exit 1\n")

    with pytest.raises(BuildError, match=r"job\.yml:1: .*venv ended with exit code 1\n  \| ensurepip is not available"):
        build(tmp_path, one=recipe("a"))


def test_cancelling_ends_the_build_and_leaves_nothing_half_built(recipe, pip, traces, tmp_path):
    pip(STAY)
    wanted = recipe("a")

    async def cancelled():
        task = asyncio.create_task(build_all({"one": wanted}, tmp_path, print, 1, {}))
        while not (traces / "staying").exists() or not lines(traces / "staying"):
            await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines(traces / "staying")[0]), 0)
    assert not Store(tmp_path).folder(wanted).exists()
    pip(TRACE)
    assert build(tmp_path, one=wanted)
