"""The pipeline says what the list says, and the committed one is the one that its list gives."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml import load_job

from finetune.errors import InputError
from finetune.report.costs import read_prices
from finetune.skus import pipeline as made
from finetune.skus.listing import MOST_RUNS, read_compute_list
from finetune.skus.pipeline import render_pipeline

ROOT = Path(__file__).parents[3]
LIST, PIPELINE = ROOT / "pipelines" / "skus" / "local.yml", ROOT / "pipelines" / "compare_skus.yml"
MANY = {
    "repeats": 4,
    "computes": [
        {
            "name": f"gpu_{nodes}_{processes}",
            "compute": "azureml:gpu-cluster",
            "instance_count": nodes,
            "process_count_per_instance": processes,
            "precision": "fp16",
        }
        for nodes in (1, 2, 4, 8)
        for processes in (1, 4)
    ],
}


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A pipeline of as many runs as there can be, written beside the committed ones."""
    path = tmp_path / "many.yml"
    path.write_text(yaml.safe_dump(MANY))
    text = render_pipeline(read_compute_list(path), path, ROOT / "pipelines" / "many.yml", ROOT)
    return path, yaml.safe_load(text)


def test_the_committed_pipeline_is_what_its_list_gives() -> None:
    assert PIPELINE.read_text() == render_pipeline(read_compute_list(LIST), LIST, PIPELINE, ROOT)


def test_each_run_is_its_line_of_the_list(many: tuple[Path, dict[str, Any]]) -> None:
    path, pipeline = many
    runs = read_compute_list(path).runs
    assert len(runs) == MOST_RUNS
    assert list(pipeline["jobs"]) == ["prep", *(run.node for run in runs), "compare"]
    for run in runs:
        node = pipeline["jobs"][run.node]
        assert node["compute"] == run.compute.compute
        assert node["resources"] == {"instance_count": run.compute.instance_count}
        processes = run.compute.process_count_per_instance
        assert node["distribution"] == {"type": "pytorch", "process_count_per_instance": processes}
        assert node["inputs"]["precision"] == "fp16"
        assert node["inputs"]["seed"] == run.seed
        assert "environment_variables" not in node
    assert [pipeline["jobs"]["compare"]["inputs"][f"run_{number}"] for number in range(1, len(runs) + 1)] == [
        f"${{{{parent.jobs.{run.node}.outputs.model}}}}" for run in runs
    ]


def test_runs_differ_in_nothing_else_than_what_compare_lets_differ(many: tuple[Path, dict[str, Any]]) -> None:
    inputs = [node["inputs"] for name, node in many[1]["jobs"].items() if name.startswith("gpu_")]
    same = [{key: value for key, value in each.items() if key not in ("seed", "precision")} for each in inputs]
    assert all(each == same[0] for each in same)


def test_threads_are_those_of_each_process() -> None:
    pipeline = yaml.safe_load(PIPELINE.read_text())
    for run in read_compute_list(LIST).runs:
        threads = str(run.compute.threads)
        assert pipeline["jobs"][run.node]["environment_variables"] == {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }


def test_the_component_has_an_input_for_each_run_that_a_list_may_have() -> None:
    component = yaml.safe_load((ROOT / "components" / "compare" / "component.yml").read_text())
    numbered = [name for name in component["inputs"] if re.fullmatch(r"run_\d+", name)]
    assert numbered == [f"run_{number}" for number in range(1, MOST_RUNS + 1)]
    # Two are the fewest that can be compared.
    assert [name for name in numbered if not component["inputs"][name].get("optional")] == ["run_1", "run_2"]


def test_the_client_reads_a_pipeline_of_the_most_runs(many: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    text = yaml.safe_dump(many[1]).replace("../", f"{ROOT}/")
    (tmp_path / "job.yml").write_text(text.replace(many[1]["inputs"]["skus"]["path"], str(many[0])))
    job = load_job(tmp_path / "job.yml")
    assert len(job.jobs) == MOST_RUNS + 2
    node = job.jobs["gpu_8_4_1"]
    assert (node.distribution.process_count_per_instance, node.resources.instance_count) == (4, 8)


def test_the_client_takes_prices_and_a_limit_as_the_document_gives_them() -> None:
    inputs = "jobs.compare.inputs"
    prices = str(ROOT / "pipelines" / "skus" / "core_hours.yml")
    job = load_job(
        PIPELINE,
        params_override=[
            {f"{inputs}.prices.type": "uri_file"},
            {f"{inputs}.prices.path": prices},
            {f"{inputs}.max_minutes": 30},
        ],
    )
    given = yaml.safe_load(str(job))["jobs"]["compare"]["inputs"]
    assert given["prices"]["type"] == "uri_file"
    assert Path(given["prices"]["path"]).name == "core_hours.yml"
    assert str(given["max_minutes"]) == "30"


def test_a_pipeline_is_written_anywhere_with_paths_from_there(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    target = tmp_path / "made" / "job.yml"
    made.main(["--list", str(LIST), "--pipeline", str(target)])
    value = yaml.safe_load(target.read_text())
    for path in (value["inputs"]["skus"]["path"], value["jobs"]["prep"]["component"], value["inputs"]["data"]["path"]):
        assert (target.parent / path).exists()


def test_the_lists_and_prices_of_the_document_are_read_and_the_client_takes_the_pipeline(tmp_path: Path) -> None:
    listed, prices = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "skus.md").read_text(), re.DOTALL)
    (tmp_path / "list.yml").write_text(listed)
    (tmp_path / "prices.yml").write_text(prices)
    found = read_compute_list(tmp_path / "list.yml")
    assert [each.processes for each in found.computes] == [1, 4, 8, 1]
    table = read_prices(tmp_path / "prices.yml")
    assert found.computes[3].priced_as in table.per_hour
    target = tmp_path / "job.yml"
    target.write_text(render_pipeline(found, tmp_path / "list.yml", target, ROOT))
    assert len(load_job(target).jobs) == 10


def test_it_is_refused_outside_of_the_repository_and_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "job.yml"
    command = [sys.executable, "-m", "finetune.skus.pipeline", "--list", str(LIST), "--pipeline", str(target)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {tmp_path}: holds no components/compare/component.yml; run this in the repository's root\n"
    )
    assert not target.exists()


def test_a_bad_list_leaves_the_pipeline_as_it_was(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "list.yml").write_text("computes: []")
    target = tmp_path / "job.yml"
    target.write_text("before")
    with pytest.raises(InputError, match="at least 2"):
        made.main(["--list", str(tmp_path / "list.yml"), "--pipeline", str(target)])
    assert target.read_text() == "before"
