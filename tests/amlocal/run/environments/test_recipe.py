"""From the environments of a job to what is installed for them, and what is said before anything runs."""

import re

import pytest

from amlocal.reader.addresses import AssetReference
from amlocal.reader.assets import NoAssets
from amlocal.reader.model import Package
from amlocal.reader.plan import read_plan
from amlocal.reader.source import InvalidJobError, Place
from amlocal.run.environments import conda, pythons
from amlocal.run.environments.provide import plan_environments
from amlocal.run.environments.recipe import Recipe, make_recipes
from amlocal.run.environments.table import curated_table

JOB = """\
type: command
command: python train.py
environment: {environment}
"""


CONDA = "{dependencies: [six=1.16]}"


@pytest.fixture
def recipe(write, tmp_path):
    def maker(environment: str) -> Recipe:
        plan = read_plan(write("job.yml", JOB.format(environment=environment)))
        (only,) = make_recipes(plan, tmp_path / "home").steps.values()
        return only

    return maker


@pytest.fixture
def refused(recipe):
    def maker(environment: str) -> str:
        with pytest.raises(InvalidJobError) as caught:
            recipe(environment)
        return str(caught.value)

    return maker


def in_place(*dependencies: str) -> str:
    return "{image: any, conda_file: {dependencies: [" + ", ".join(dependencies) + "]}}"


def installed(recipe: Recipe) -> list[str]:
    return [requirement.line for requirement in recipe.requirements]


@pytest.mark.parametrize(
    ("stated", "pip"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy>=1.26,<2", "numpy<2,>=1.26"),
        ("numpy >=1.26, <2", "numpy<2,>=1.26"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("numpy 1.26.*", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy=*", "numpy"),
        ("numpy~=1.26.0", "numpy~=1.26.0"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4.*"),
        ("numpy==1.26.4=py311h64a7726_0", "numpy==1.26.4"),
        ("numpy!=1.25", "numpy!=1.25"),
        ("conda-forge::numpy=1.26", "numpy==1.26.*"),
        ("pytorch=2.0.0rc1", "torch==2.0.0rc1"),
        ("pytorch::pytorch=1.13=*cuda*", "torch==1.13.*"),
        ("py-xgboost=1.7", "xgboost==1.7.*"),
        ("matplotlib-base", "matplotlib"),
    ],
)
def test_condas_packages_in_pips_words(stated, pip):
    translation = conda.translate_packages([Package(stated, Place("conda.yml", 1), by_pip=False)])

    assert [requirement.line for requirement in translation.requirements] == [pip]
    assert translation.problems == []


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("numpy=1.25|1.26", "pip knows no alternatives"),
        ("numpy[version='>=1']", "expected a version as in name>=1.2,<2, found brackets"),
        ("numpy=>1.2", "is no version that pip knows"),
        ("r-ggplot2=3.4", "conda package r-ggplot2 has no wheel"),
        ("=1.2", "is no package of conda's"),
    ],
)
def test_what_pip_cannot_install_is_said_with_its_line(refused, write, stated, message):
    write("conda.yml", f"dependencies:\n  - python\n  - {stated!r}\n".replace("'>=1'", "''>=1''").replace('"', "'"))

    assert re.search(rf"conda\.yml:3: environment: .*{message}", refused("{image: any, conda_file: conda.yml}"))


def test_program_of_this_machine_serves_in_place_of_condas(recipe, refused, monkeypatch):
    monkeypatch.setattr(conda.shutil, "which", lambda program: "/usr/bin/mpirun" if program == "mpirun" else None)

    assert installed(recipe(in_place("openmpi=4.1", "numpy"))) == ["numpy"]
    assert "conda package openjdk has no wheel, and java is not on this machine" in refused(in_place("openjdk=11"))


def test_everything_that_is_not_installed_is_named(write, tmp_path):
    write("conda.yml", "channels: [pytorch]\nvariables: {A: b}\ndependencies: [pytorch, pytorch-cuda=12.1]\n")
    plan = read_plan(write("job.yml", JOB.format(environment="{image: any, conda_file: conda.yml}")))

    environments = plan_environments(plan, tmp_path, isolated=True)
    assert {what: place.line for what, place in environments.passed_over.items()} == {
        "conda channels: packages come from pip's index": 1,
        "conda variables": 2,
        "conda package pytorch-cuda: wheels bring what they need of it": 3,
    }


def test_requirements_files_are_followed_and_count(write, recipe):
    write("conda.yml", "dependencies:\n  - pip:\n      - -r reqs/all.txt\n      - six==1.16.0  # last\n")
    write("reqs/all.txt", "# all of it\n-r more.txt\nnumpy==1.26.4 ; python_version < '4'\n\n--pre\n")
    write("reqs/more.txt", "scipy \\\n  >=1.10\n")
    first = recipe("{image: any, conda_file: conda.yml}")

    assert installed(first) == ["scipy   >=1.10", "numpy==1.26.4 ; python_version < '4'", "--pre", "six==1.16.0"]
    assert [str(requirement.place).rsplit("/", 1)[-1] for requirement in first.requirements] == [
        "more.txt:1",
        "all.txt:3",
        "all.txt:5",
        "conda.yml:4",
    ]
    write("reqs/more.txt", "scipy>=1.11\n")
    assert recipe("{image: any, conda_file: conda.yml}").digest != first.digest


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("./dist/own.whl", "is a path"),
        ("-e .", "pip's option in '-e .' is not supported here"),
        ("-c constraints.txt", "is not supported here"),
        ("numpy=1.26", "is no requirement of pip's"),
        ("-r missing.txt", "missing-file: requirements file .*missing.txt cannot be read"),
    ],
)
def test_pip_entries_that_cannot_be_installed_are_said_with_their_line(refused, write, stated, message):
    write("conda.yml", f"dependencies:\n  - pip:\n      - {stated}\n")

    assert re.search(rf"conda\.yml:3: .*{message}", refused("{image: any, conda_file: conda.yml}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: numpy\n", "dependencies must be a list"),
        ("dependencies: [{npm: [x]}]\n", "a dependency must be a package"),
        ("dependencies:\n  - pip: numpy\n", "pip must be a list of packages"),
        ("dependancies: [numpy]\n", "conda file has no key 'dependancies'"),
    ],
)
def test_malformed_conda_file_is_refused_in_either_mode(write, text, message):
    write("conda.yml", text)
    job = write("job.yml", JOB.format(environment="{image: any, conda_file: conda.yml}"))

    with pytest.raises(InvalidJobError, match=message):
        read_plan(job)


def test_python_is_found_by_its_minor_version(recipe):
    running = pythons.running_python()

    for stated in (
        "python",
        f"python={running.minor}",
        f"python=={running.minor}.0",
        f"python={running.minor}.99=h1_0",
    ):
        assert recipe(in_place(stated)).python == running
    assert recipe(in_place("numpy")).python == running
    assert recipe(in_place('"python>=3.8,<3.99"')).python == running


def test_other_python_comes_from_path(recipe, tmp_path, monkeypatch):
    real, broken = tmp_path / "real", tmp_path / "broken"
    for folder, script in ((broken, "exit 127"), (real, "printf '3 98 5\\n/opt/python3.98\\n'")):
        folder.mkdir()
        (folder / "python3.98").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "python3.98").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{real}:/usr/bin:/bin")

    python = recipe(in_place('"python>=3.90"')).python

    assert (str(python.executable), python.full) == ("/opt/python3.98", "3.98.5")


def test_python_that_is_not_here_is_said_with_those_that_are(refused, write, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    write("conda.yml", "dependencies:\n  - python=3.4.1\n")
    running = pythons.running_python().minor

    message = refused("{image: any, conda_file: conda.yml}")

    assert "conda.yml:2: not-on-this-machine: python ==3.4.1.* is not on this machine; it has " in message
    assert running in message


@pytest.mark.parametrize(
    "reference",
    [
        "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
        "azureml://registries/azureml/environments/sklearn-1.5/versions/20",
        "azureml:AzureML-sklearn-1.5@latest",
        "azureml:sklearn-1.5:20",
        "{image: mcr.microsoft.com/azureml/curated/sklearn-1.5:20}",
    ],
)
def test_curated_environments_come_from_the_table(recipe, reference):
    assert "scikit-learn==1.5.2" in installed(recipe(reference))


def test_images_of_python_alone_hold_python_alone(recipe):
    running = pythons.running_python().minor

    for image in (
        f"python:{running}-slim",
        "library/python:latest",
        "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
    ):
        assert installed(recipe(f"{{image: {image!r}}}")) == []
        assert recipe(f"{{image: {image!r}}}").python == pythons.running_python()


def test_every_entry_of_the_table_is_pinned_and_installable_by_pip():
    for name, entry in curated_table().entries.items():
        translation = conda.translate(entry)
        assert translation.problems == [], name
        assert all("==" in requirement.line for requirement in translation.requirements), name
        assert translation.requirements or "python" in name or "openmpi" in name, name


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ("azureml:own-environment:3", "environment azureml:own-environment:3 is neither registered here nor"),
        ("{build: {path: .}, name: own}", "environment own is built from a Dockerfile"),
        ("{build: {path: .}}", "is built from a Dockerfile"),
        ("{image: docker.io/me/own:1}", "is the image docker.io/me/own:1 without a conda_file"),
    ],
)
def test_what_cannot_be_built_is_said_with_the_way_out(refused, environment, what):
    message = refused(environment)

    assert "job.yml:3: not-on-this-machine: " in message
    assert what in message
    assert "amlocal-environments.yml" in message


def test_registered_environment_is_read_like_a_file(write, tmp_path):
    definition = write("registered/environment.yml", f"name: own\nimage: any\nconda_file: {CONDA}\n")

    class Workspace(NoAssets):
        def environment(self, reference):
            return definition if reference == AssetReference("own", label="latest") else None

    plan = read_plan(write("job.yml", JOB.format(environment="azureml:own@latest")), (), Workspace())

    (recipe,) = make_recipes(plan, tmp_path).steps.values()
    assert installed(recipe) == ["six==1.16.*"]


def test_command_without_environment_is_refused(write, tmp_path):
    plan = read_plan(write("job.yml", "type: command\ncommand: ls\n"))

    with pytest.raises(InvalidJobError, match=r"job\.yml:1: .*states no environment"):
        make_recipes(plan, tmp_path)


@pytest.mark.parametrize(
    "environment",
    [
        "azureml:own-environment:3",
        "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
        "{name: sklearn-1.5, build: {path: .}}",
        "{image: docker.io/me/own:1}",
        "{name: own-one, image: any, conda_file: {dependencies: [numpy]}}",
    ],
)
@pytest.mark.parametrize(
    "place", ["amlocal-environments.yml", "../amlocal-environments.yml", "../home/amlocal-environments.yml"]
)
def test_users_table_wins(recipe, write, environment, place):
    write(
        place,
        'environments:\n  "OWN-*": &it {conda_file: own.yml}\n  "sklearn-1.5": *it\n  "docker.io/me/own:*": *it\n',
    )
    write(place.replace("amlocal-environments.yml", "own.yml"), "dependencies: [six=1.16]\n")

    assert installed(recipe(environment)) == ["six==1.16.*"]


def test_mistake_in_the_users_table_is_said_with_its_line(refused, write):
    write("amlocal-environments.yml", "environments:\n  own:\n    packages: [numpy]\n")

    assert "amlocal-environments.yml:3: unknown-key: conda file has no key 'packages'" in refused("azureml:own:1")


def test_packages_that_are_not_here_are_named_when_the_job_starts(write, tmp_path):
    write(
        "conda.yml",
        "dependencies:\n  - python=3.4\n  - pip\n  - pyyaml\n  - not-a-package=1\n  - pip: [nor-this-one]\n",
    )
    plan = read_plan(write("job.yml", JOB.format(environment="{image: any, conda_file: conda.yml}")))

    ((note, place),) = plan_environments(plan, tmp_path, isolated=False).notes.items()
    assert "environments list them: not-a-package, nor-this-one; --environment isolated" in note
    assert place.line == 5


def test_nothing_is_said_where_everything_is_here(write, tmp_path):
    plan = read_plan(write("job.yml", JOB.format(environment=in_place("pyyaml", "python=3.4", "r-base"))))

    assert plan_environments(plan, tmp_path, isolated=False).notes == {}
