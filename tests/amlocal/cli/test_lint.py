"""``amlocal lint`` and ``amlocal job validate``, as a user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from amlocal.cli.main import main
from amlocal.lint.check import Findings, lint_files
from amlocal.lint.registry import RULES
from amlocal.reader.source import Place, Problem

ROOT = Path(__file__).parents[3]
JOBS = ROOT / "tests" / "amlocal" / "fixtures" / "jobs"

GOOD = """\
type: command
command: echo ${{inputs.text}}
environment: azureml:any:1
compute: azureml:cpu
inputs: {text: hello}
"""
BAD = GOOD.replace("inputs.text}}", "inputs.txt}}")
WARNED = "type: pipeline\njobs:\n  a:\n    type: command\n    command: echo\n    environment: azureml:any:1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_clean_files_are_silent(folder, capsys):
    (folder / "job.yml").write_text(GOOD)

    assert main(["lint"]) == 0
    assert main(["job", "validate", "--file", "job.yml"]) == 0
    assert capsys.readouterr() == ("", "")


def test_errors_name_file_and_line_and_exit_with_1(folder, capsys):
    (folder / "sub").mkdir()
    (folder / "sub" / "job.yaml").write_text(BAD)

    assert main(["lint"]) == 1
    expected = "sub/job.yaml:2: undefined-input: ${{inputs.txt}} names no input; declared: text\n"
    assert capsys.readouterr() == (expected, "")
    assert main(["job", "validate", "--file", "sub/job.yaml"]) == 1
    assert capsys.readouterr().out == expected


def test_what_is_wrong_in_a_component_is_said_once(folder, capsys):
    step = "type: command\nname: step\nversion: '1'\nenvironment: azureml:any:1\ncommand: echo\n"
    inner = "jobs: {a: {type: command, component: ./step.yml, inputs: {x: 1}}}\n"
    (folder / "step.yml").write_text(step)
    (folder / "inner.yml").write_text(f"type: pipeline\nname: inner\nversion: '1'\n{inner}")
    jobs = "jobs: {nested: {type: pipeline, component: ./inner.yml}}\n"
    (folder / "job.yml").write_text(f"type: pipeline\nsettings: {{default_compute: azureml:cpu}}\n{jobs}")

    assert main(["lint"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("inner.yml:4: undeclared-input:")


def test_an_error_is_kept_where_another_file_only_warns(folder, monkeypatch):
    place = Place(folder / "step.yml", 3)
    warning, error = Problem(place, "unused", "perhaps", True), Problem(place, "unused", "certainly")
    found = {Path("step.yml"): Findings((warning,)), Path("job.yml"): Findings((error,))}
    monkeypatch.setattr("amlocal.lint.check.lint_file", found.__getitem__)

    assert lint_files(found) == [error]


def test_warnings_alone_exit_with_0_unless_strict(folder, capsys):
    (folder / "job.yml").write_text(WARNED)

    assert main(["lint"]) == 0
    assert capsys.readouterr().out.startswith("job.yml:3: warning: missing-compute: node 'a' has no compute")
    assert main(["lint", "--strict", "job.yml"]) == 1


def test_other_tools_files_are_skipped_and_so_is_what_git_ignores(folder, capsys):
    files = {
        ".github/workflows/ci.yml": "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps: []\n",
        "conda.yml": "channels: [conda-forge]\ndependencies: [python=3.11]\n",
        "docker-compose.yml": "services:\n  web: {image: nginx, command: x}\n",
        "values.yaml": "image: x\ncommand: [a]\n",
        "broken.yml": "a: [b\n",
        "gate.yml": "minimum: {mcc: 0.2}\n",
        "build/job.yml": BAD,
        "legacy/job.yml": BAD,
        ".venv/job.yml": BAD,
        "node_modules/x/job.yml": BAD,
        ".amlocal/jobs/job.yml": BAD,
        ".gitignore": "build/\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert main(["lint", "--exclude", "legacy"]) == 0
    assert capsys.readouterr() == ("", "no Azure ML file found there\n")
    assert main(["lint"]) == 1
    assert capsys.readouterr().out.startswith("legacy/job.yml:2: ")


def test_a_file_that_is_named_must_be_there_and_be_known(folder, capsys):
    (folder / "gate.yml").write_text("minimum: {mcc: 0.2}\n")

    assert main(["lint", "gate.yml"]) == 1
    assert capsys.readouterr().out.startswith("gate.yml:1: yaml: not a kind of Azure ML file that is known")
    assert main(["lint", "none"]) == 1
    assert capsys.readouterr().err == "error: none: no such file or folder\n"


def test_broken_yaml_of_azure_ml_is_reported(folder, capsys):
    schema = "$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json\n"
    (folder / "job.yml").write_text(schema + "jobs: {\n")

    assert main(["lint"]) == 1
    assert capsys.readouterr().out.startswith("job.yml:3: yaml: ")


def test_ignore_comments(folder, capsys):
    (folder / "job.yml").write_text(WARNED.replace("  a:\n", "  a:  # amlocal: ignore[missing-compute]\n"))
    assert main(["lint", "--strict"]) == 0

    (folder / "job.yml").write_text(GOOD.replace("hello}", "hello}  # amlocal: ignore[value]"))
    assert main(["lint"]) == 0
    assert capsys.readouterr().out == "job.yml:5: warning: unused-ignore: value finds nothing on this line\n"


def test_formats_for_machines(folder, capsys):
    (folder / "job.yml").write_text(BAD)

    main(["lint", "--format", "github"])
    assert capsys.readouterr().out.startswith(
        "::error file=job.yml,line=2,title=undefined-input::${{inputs.txt}} names"
    )
    main(["lint", "--format", "json"])
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["file"], record["line"], record["rule"], record["severity"]) == (
        "job.yml",
        2,
        "undefined-input",
        "error",
    )


def test_values_put_in_are_checked(folder, capsys):
    (folder / "job.yml").write_text(WARNED.replace("jobs:", "settings: {default_compute: azureml:cpu}\njobs:"))

    assert main(["job", "validate", "--file", "job.yml", "--set", "jobs.a.limits.timeout=soon"]) == 1
    assert capsys.readouterr().out.startswith("--set jobs.a.limits.timeout=soon: type: timeout must be a number")


def test_what_runs_only_on_azure_is_no_fault_of_the_file(folder, capsys):
    node = "    type: spark\n    component: azureml:clean:1\n    compute: azureml:spark\n"
    (folder / "job.yml").write_text(f"type: pipeline\nsettings: {{default_compute: azureml:cpu}}\njobs:\n  a:\n{node}")

    assert main(["lint"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["job", "validate", "--file", "job.yml"]) == 0
    assert "warning: not-on-this-machine" in capsys.readouterr().out


def test_rules_are_listed_and_documented(capsys):
    assert main(["lint", "--rules"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [rule.name for rule in RULES]

    text = (ROOT / "docs" / "lint.md").read_text()
    rows = [f"| `{rule.name}` | {rule.severity.value} | {rule.finds} |" for rule in RULES]
    assert text.endswith("\n".join(rows) + "\n"), "the table of docs/lint.md differs from the registry"


def test_this_repositorys_yaml_is_clean(capsys):
    names = ("pipelines", "components", "environments", "endpoints", "data")
    assert main(["lint", "--strict", *(str(ROOT / name) for name in names)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("job", sorted(JOBS.glob("*/job.yml")), ids=lambda path: path.parent.name)
def test_valid_jobs_raise_no_alarm(job, capsys):
    assert main(["lint", str(job.parent)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if " warning: unused" not in line] == []


def test_a_folder_of_other_files_does_not_load_azure(tmp_path):
    (tmp_path / "conda.yml").write_text("dependencies: []\n")
    script = "import sys; from amlocal.cli.main import main; main(['lint']); print('azure.ai.ml' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert found.stdout == "False\n", found.stderr


def test_reader_that_goes_away_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "amlocal", "lint", "--rules"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


def test_a_folder_without_azure_ml_files_says_so_and_is_clean(tmp_path, capsys):
    assert main(["lint", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no Azure ML file found there\n")
