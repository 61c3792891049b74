"""azure-ai-ml as the oracle: it and our reader take the same meaning from every job at hand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.azure import load_with_azure, validate
from amlocal.reader.job import read_job

ROOT = Path(__file__).parents[3]
LIBRARY = sorted((ROOT / "tests" / "amlocal" / "fixtures" / "jobs").glob("*/job.yml"))
PIPELINES = sorted((ROOT / "pipelines").glob("*.yml"))
AUTOML = ROOT / "tests" / "amlocal" / "fixtures" / "automl"
ALL = [*LIBRARY, *PIPELINES, AUTOML / "job.yml", AUTOML / "pipeline.yml"]


@pytest.fixture(scope="module")
def readings() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("readings", ROOT / "benchmarks" / "readings.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["readings"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["readings"]


def names(path: Path) -> str:
    return path.parent.name if path.name == "job.yml" else path.stem


@pytest.mark.parametrize("path", ALL, ids=names)
def test_azure_reads_the_same(path, readings):
    ours, theirs = read_job(path), load_with_azure(path)

    assert readings.differences(readings.ours(ours), readings.azures(theirs, path.parent)) == []


def test_difference_is_found_wherever_it_is(readings):
    path = next(path for path in LIBRARY if names(path) == "nested")
    ours, theirs = readings.ours(read_job(path)), readings.azures(load_with_azure(path), path.parent)
    ours["nodes"]["outer"]["nodes"]["inner"]["nodes"]["write"]["command"]["timeout"] = "1.0"

    assert readings.differences(ours, theirs) == [
        "nodes.outer.nodes.inner.nodes.write.command.timeout: ours '1.0', azure-ai-ml None"
    ]


@pytest.mark.parametrize("path", ALL, ids=names)
def test_azure_accepts_it(path):
    validate(path)


def test_overrides_mean_the_same(readings):
    path = next(path for path in LIBRARY if names(path) == "literals")
    overrides = ["inputs.integer=4", "jobs.show.inputs.text=other"]

    ours = readings.ours(read_job(path, overrides))
    theirs = readings.azures(load_with_azure(path, overrides), path.parent)

    assert readings.differences(ours, theirs) == []
    assert ours["inputs"]["integer"] == "4.0"
    assert ours["nodes"]["show"]["inputs"]["text"] == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: pipeline\njobs:\n  a:\n    type: command\n    component: ./none.yml\n", "none.yml"),
        ("type: command\ncommand: echo\n", "environment"),
        ("type: pipelines\n", "pipelines"),
    ],
)
def test_its_errors_are_unwrapped(tmp_path, text, message):
    path = tmp_path / "job.yml"
    path.write_text(text)

    with pytest.raises(AmlocalError) as caught:
        validate(path)

    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: azure-ai-ml: ")
    assert "──" not in str(caught.value)
    assert len(str(caught.value)) < 1700
