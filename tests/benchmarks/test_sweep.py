import json
from pathlib import Path

import pytest
import yaml

from amlocal.lint.check import read_checked_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sweep(benchmark):
    return benchmark("sweep")


def line(cost: float, score: float, **more):
    return {"cpu_seconds": cost, "score": score, **more}


def trial(score: float | None, status: str = "Completed"):
    return {"best_value": score, "status": status, "parameters": {"learning_rate": 1e-4}}


def measured(sweep, whole: float, score: float, seeds: int = 2):
    return {
        sweep.SEEDS_WAY: [line(500.0, 0.70 + number / 100, number=number) for number in range(seeds)],
        sweep.RECIPE: [line(125.0, 0.71, trials=[trial(0.70), trial(0.71)])],
        sweep.WHOLE: [line(whole, score, trials=[trial(0.70), trial(None, "Canceled")])],
    }


@pytest.mark.parametrize(
    ("whole", "score", "problem"),
    [
        (125.0, 0.71, None),
        (125.0, 0.67, None),
        (126.0, 0.71, "7.94 times fewer CPU-seconds; expected 8"),
        (100.0, 0.60, "best score 0.6000 is below the seeds' 0.7100 by more than 0.0454"),
        (100.0, float("nan"), "best score nan is below the seeds' 0.7100 by more than 0.0454"),
    ],
)
def test_a_missed_target_fails(sweep, whole: float, score: float, problem: str | None) -> None:
    expected = [] if problem is None else [problem]
    assert sweep.failures(measured(sweep, whole, score), sweep.Setting(100, 100, 2)) == expected


def test_what_was_not_measured_fails(sweep) -> None:
    setting = sweep.Setting(100, 100, 2)
    assert sweep.failures({}, setting) == ["seeds' way: not measured", f"{sweep.WHOLE}: not measured"]
    assert sweep.failures(measured(sweep, 100.0, 0.7, seeds=1), setting) == ["seeds' way: 1 of 2 trials measured"]


def test_the_table_gives_each_ways_part(sweep) -> None:
    printed = sweep.table(measured(sweep, 62.5, 0.70), sweep.Setting(1200, 408, 2))
    assert "MRPC, 1200 train rows, 408 validation rows, 2 trials" in printed
    assert f"| {sweep.RECIPE} | 125 | 8.00 | 8.00 | 0.7100 | 0.7000, 0.7100 |" in printed
    assert f"| {sweep.WHOLE} | 62 | 16.00 | 2.00 | 0.7000 | 0.7000, none (canceled) |" in printed


def test_figures_of_another_setting_are_not_taken(sweep, tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    sweep.add(path, sweep.Setting(1200, 408, 4), {"way": sweep.WARM, **line(1.0, 0.5, trials=[trial(0.5)])})
    assert len(sweep.trials(path, sweep.Setting(1200, 408, 4), sweep.WARM)) == 1
    assert sweep.found(path, sweep.Setting(100, 408, 4), sweep.WARM) == []
    assert sweep.found(path, sweep.Setting(1200, 408, 2), sweep.WARM) == []
    assert sweep.found(path, sweep.Setting(1200, 408, 4), sweep.RECIPE) == []


@pytest.mark.parametrize("early", [True, False])
def test_the_pipeline_is_the_projects_own_but_for_what_is_compared(sweep, early: bool, tmp_path: Path) -> None:
    own = yaml.safe_load((ROOT / "pipelines" / "finetune.yml").read_text(encoding="utf-8"))
    made = json.loads(json.dumps(sweep.pipeline(own, tmp_path, 3, early)))
    assert ("early_termination" in made["jobs"]["sweep"]) == early
    assert made["jobs"]["sweep"]["search_space"] == own["jobs"]["sweep"]["search_space"]
    assert made["jobs"]["sweep"]["limits"]["max_total_trials"] == 3
    assert set(made["jobs"]) == {"prep", "sweep"}
    assert "early_termination" in own["jobs"]["sweep"]
    (tmp_path / "job.yml").write_text(yaml.safe_dump(made))
    plan = read_checked_plan(tmp_path / "job.yml")
    assert {step.name for step in plan.steps} == {"prep", "sweep"}
