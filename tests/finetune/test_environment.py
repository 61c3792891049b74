import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from finetune import environment
from finetune.environment import environment_sha256


def test_two_processes_of_one_environment_have_one_digest() -> None:
    script = "from finetune.environment import environment_sha256; print(environment_sha256())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == environment_sha256()


def test_another_version_another_package_or_another_python_is_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(*installed: tuple[str, str], python: str = "3.11.9") -> str:
        found = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in installed]
        monkeypatch.setattr(environment, "distributions", lambda: found)
        monkeypatch.setattr(environment.platform, "python_version", lambda: python)
        return environment_sha256()

    torch, numpy = ("torch", "2.13.0"), ("numpy", "2.4.6")
    assert digest(torch, numpy) == digest(numpy, torch)
    assert len({digest(torch), digest(("torch", "2.13.1")), digest(torch, numpy), digest(torch, python="3.11.10")}) == 4
    assert digest(("Typing_Extensions", "1")) == digest(("typing-extensions", "1"))


def test_it_is_of_what_is_installed() -> None:
    assert metadata.version("torch")
    assert len(environment_sha256()) == 64
