import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def quality(benchmark):
    return benchmark("quality")


def figures(quality, side: str, accuracies: list[float], f1: float = 0.85):
    return [
        quality.Figures(side, seed, 3668, 1e-4, 3.0, 32, accuracy, f1 + seed / 1000, 0.75, 200.0, 190.0)
        for seed, accuracy in enumerate(accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("own", "worse"),
    [
        ([0.79, 0.80, 0.81], False),
        ([0.85, 0.86, 0.87], False),
        # Below by less than a seed differs from another, but always.
        ([0.782, 0.783, 0.784], True),
        # Below by more, though the seeds spread so far that the interval includes 0.
        ([0.70, 0.77, 0.84], True),
        ([0.785, 0.80, 0.815], False),
    ],
)
def test_worse_than_noise_fails(quality, own: list[float], worse: bool) -> None:
    found = figures(quality, "seed recipe", [0.799, 0.80, 0.801]) + figures(quality, "recipe", own)
    assert bool(quality.failures(found)) == worse
    if worse:
        assert quality.failures(found)[0].startswith("accuracy is worse by 0.0")


def test_f1_counts_as_well(quality) -> None:
    found = figures(quality, "seed recipe", [0.79, 0.80, 0.81]) + figures(quality, "recipe", [0.79, 0.80, 0.81], 0.80)
    assert [problem.split(" is ")[0] for problem in quality.failures(found)] == ["f1"]


def test_too_few_seeds_fail(quality) -> None:
    assert quality.failures([]) == [f"{side}: 0 seeds; 3 are needed" for side in ("seed recipe", "recipe")]
    two = figures(quality, "seed recipe", [0.8, 0.8, 0.8]) + figures(quality, "recipe", [0.8, 0.8])
    assert quality.failures(two) == ["recipe: 2 seeds; 3 are needed"]


def test_a_figure_that_is_no_number_fails(quality) -> None:
    nan = float("nan")
    found = figures(quality, "seed recipe", [0.79, 0.80, 0.81]) + figures(quality, "recipe", [nan, nan, nan])
    assert any(problem.startswith("accuracy is worse") for problem in quality.failures(found))


def test_the_table_prints_every_seed_and_the_difference(quality) -> None:
    found = figures(quality, "seed recipe", [0.79, 0.80, 0.81]) + figures(quality, "recipe", [0.79, 0.80, 0.81])
    printed = quality.table(found)
    assert "| recipe | 2 | 0.8000 | 0.8520 | 0.7500 | 190 | 200 |" in printed
    assert "| seed recipe: mean (standard deviation) | | 0.8000 (0.0100)" in printed
    assert "Recipe − seed recipe, accuracy: +0.0000, 95 % interval -0.0227 … +0.0227" in printed
    assert "recipe: mean (standard deviation) | | not measured" in quality.table(found[:3])


def test_figures_of_another_setting_are_not_taken(quality, tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    (one,) = figures(quality, "recipe", [0.8])
    assert quality.known(path) == []
    path.write_text(json.dumps(dataclasses.asdict(one)) + "\n", encoding="utf-8")
    assert quality.known(path) == [one]
    assert quality.of_setting(one, 3668)
    assert not quality.of_setting(one, 100)
    assert not quality.of_setting(dataclasses.replace(one, epochs=2.0), 3668)


def test_cpu_seconds_are_those_of_the_whole_process(quality) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    assert quality.cpu_seconds_of([sys.executable, "-c", burn]) >= 0.3
    with pytest.raises(SystemExit, match="failed with exit code 3"):
        quality.cpu_seconds_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_one_thread_is_used(quality, tmp_path: Path) -> None:
    told = tmp_path / "told"
    quality.cpu_seconds_of(["bash", "-c", f"echo $OMP_NUM_THREADS > {told}"])
    assert told.read_text().strip() == "1"


def test_help_says_what_is_measured() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARKS / "quality.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "worse than noise" in done.stdout
