"""The commands of docs/azure.md: whole as a shell script, and known as far as they are `az ml`."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from github.az import parse
from github.files import ROOT, WORKFLOWS, load

PAGE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(
    r"\baz ml (?!workspace|online-endpoint delete)[^|&()`\n]+(?:\\\n[^|&()`\n]+)*",
    SCRIPT.replace("$(git rev-parse HEAD)", "c0ffee"),
)


def test_the_blocks_are_one_script_without_a_finding() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--shell=bash", "-"], input=SCRIPT, capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize("line", COMMANDS)
def test_az_ml_commands_have_flags_that_the_stand_in_knows(line: str) -> None:
    words = [word for word in shlex.split(line.partition(" #")[0]) if word not in (";", "done")]
    if "--query" in words:
        assert words[words.index("--query") + 2 :] == ["--output", "tsv"]
        words = words[: words.index("--query")]
    command, flags = parse(words[1:])
    if getattr(flags, "file", None):
        named = [ROOT / flags.file.replace("$cluster", cluster) for cluster in ("cpu-cluster", "gpu-cluster")]
        assert all(path.is_file() for path in named), f"{command}: {flags.file}"


def test_the_variables_that_workflows_read_are_set() -> None:
    read = {name for path in WORKFLOWS for name in re.findall(r"vars\.([A-Z_]+)", path.read_text())}
    assert read == set(re.findall(r"^set_variable ([A-Z_]+)", SCRIPT, re.MULTILINE))
    environments = {
        job["environment"] for path in WORKFLOWS for job in load(path)["jobs"].values() if "environment" in job
    }
    assert [name for name in environments if f"environments/{name}" not in SCRIPT] == []
    assert sorted(re.findall(r'--subject "\$SUBJECT:(\S+)"', SCRIPT)) == [
        "environment:production",
        "ref:refs/heads/main",
    ]
