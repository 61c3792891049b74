"""``amlocal data|component|environment|model``, against a real workspace on loopback."""

import uuid
from pathlib import Path

import pytest

from amlocal.cli.main import main
from amlocal.workspace.connection import WorkspaceConnection

JOB = """\
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
outputs:
  out: {type: uri_folder}
jobs:
  count:
    component: azureml:NAME@latest
    inputs:
      text: {type: uri_file, path: azureml:NAME_text:2}
    outputs: {lines: "${{parent.outputs.out}}"}
"""
COMPONENT = """\
type: command
name: NAME
code: ./src
environment: azureml:NAME_env:1
inputs:
  text: {type: uri_file}
outputs:
  lines: {type: uri_folder}
command: bash count.sh ${{inputs.text}} > ${{outputs.lines}}/count
"""


@pytest.fixture
def name() -> str:
    return f"thing_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def amlocal(client_environment: WorkspaceConnection, capsys: pytest.CaptureFixture):
    """Run a command line; give its exit code and what it printed and complained."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--home", str(client_environment.home), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def project(tmp_path: Path, name: str) -> Path:
    files = {
        "src/count.sh": 'wc -l < "$1"\n',
        "component.yml": COMPONENT.replace("NAME", name),
        "environment.yml": f"name: {name}_env\nimage: base:1\n",
        "text.txt": "a\nb\n",
        "data.yml": f"name: {name}_text\ntype: uri_file\npath: text.txt\n",
        "model.yml": f"name: {name}_model\ntype: custom_model\npath: src\n",
        "job.yml": JOB.replace("NAME", name),
    }
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


def test_what_is_registered_runs_after_its_folder_is_gone(amlocal, project: Path, name: str, workspace) -> None:
    job = project / "elsewhere" / "job.yml"
    job.parent.mkdir()
    (project / "job.yml").rename(job)
    code, _, error = amlocal("job", "create", "--file", job)
    assert code == 1
    assert f"elsewhere/job.yml:7: not-on-this-machine: component azureml:{name}@latest is not registered" in error

    for kind, registered in (("environment", f"{name}_env:1"), ("component", f"{name}:1"), ("data", f"{name}_text:1")):
        assert amlocal(kind, "create", "--file", project / f"{kind}.yml") == (0, f"{kind} {registered}\n", "")
    (project / "text.txt").write_text("a\nb\nc\n")
    assert amlocal("data", "create", "--file", project / "data.yml") == (0, f"data {name}_text:2\n", "")
    (project / "src" / "count.sh").unlink()
    (project / "component.yml").unlink()
    (project / "text.txt").unlink()

    code, out, error = amlocal("job", "create", "--file", job, "--name", name)
    assert code == 0, out + error
    assert (workspace.home / "jobs" / name / "outputs" / "out" / "count").read_text() == "3\n"
    code, out, error = amlocal("job", "validate", "--file", job)
    assert error == ""
    assert (code, out) == (0, "")


def test_assets_are_listed_and_shown(amlocal, project: Path, name: str) -> None:
    amlocal("model", "create", "--file", project / "model.yml", "--version", "7")
    amlocal("model", "create", "--file", project / "model.yml", "--name", f"{name}_other")

    _, out, _ = amlocal("model", "list")
    assert {f"{name}_model\t7", f"{name}_other\t1"} <= set(out.splitlines())
    assert amlocal("model", "list", "--name", f"{name}_model") == (0, f"{name}_model\t7\n", "")
    code, out, _ = amlocal("model", "show", "--name", f"{name}_model")
    assert code == 0
    assert {f"name: {name}_model", "version: '7'", "type: custom_model"} <= set(out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", "create", "--file", "none.yml"), "none.yml: no such file"),
        (("data", "create", "--file", "bad.yml"), "bad.yml: azure-ai-ml: "),
        (
            ("component", "show", "--name", "none", "--version", "3"),
            "component none:3 does not exist in this workspace",
        ),
        (("environment", "list", "--name", "none"), "there is no environment 'none' in "),
    ],
)
def test_what_goes_wrong_is_one_line(amlocal, tmp_path: Path, monkeypatch, arguments, message) -> None:
    (tmp_path / "bad.yml").write_text("name: x\ntype: table\n")
    monkeypatch.chdir(tmp_path)

    code, out, error = amlocal(*arguments)

    assert (code, out) == (1, "")
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
