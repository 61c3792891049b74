"""What `make run` and `make compare-skus` hand on, with programs that only show what they are given."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path: Path):
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "amlocal").write_text('#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    (programs / "python").symlink_to(sys.executable)
    (programs / "amlocal").chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()

    def run(target: str = "run", **variables: object) -> subprocess.CompletedProcess[str]:
        given = [f"{name}={value}" for name, value in {"VENV": tmp_path / "venv", **variables}.items()]
        return subprocess.run(
            ["make", "--no-print-directory", target, *given], cwd=ROOT, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("customer_messages", "customer-messages"),
        ("emotion.csv.gz", "emotion"),
        ("20news", "data-20news"),
        ("a.csv", "data-a"),
        ("my data", "my-data"),
        ("a-name-that-is-longer-than-thirty-two", "a-name-that-is-longer-than-thirt"),
        ("a-name-that-is-cut-at-a-hyphenx-here", "a-name-that-is-cut-at-a-hyphenx"),
    ],
)
def test_model_and_endpoint_get_a_name_that_azure_takes(make, tmp_path: Path, data: str, name: str) -> None:
    done = make(DATA=tmp_path / data)
    assert f"<inputs.endpoint_name={name}>" in done.stdout
    assert f"<inputs.model_name={name}>" in done.stdout
    assert f"<inputs.data.path={tmp_path / data}>" in done.stdout


def test_without_data_it_is_the_sample(make) -> None:
    done = make()
    assert f"<inputs.data.path={ROOT / 'data' / 'customer_messages'}>" in done.stdout
    for given in ("hub_dataset=auto", "task=text-classification", "text_column=message", "label_column=intent"):
        assert f"<inputs.{given}>" in done.stdout
    assert "<inputs.model_name=customer-messages>" in done.stdout


@pytest.mark.parametrize("task", ["mrpc", "token-classification"])
def test_without_data_another_task_takes_the_data_set_that_it_is_named_after(make, task: str) -> None:
    done = make(TASK=task)
    for given in ("hub_dataset=benchmark", f"task={task}", "text_column=auto", "label_column=auto"):
        assert f"<inputs.{given}>" in done.stdout
    assert f"<inputs.model_name={task}>" in done.stdout


def test_own_data_of_such_a_task_is_taken_with_the_tasks_columns(make, tmp_path: Path) -> None:
    done = make(TASK="mrpc", DATA=tmp_path / "pairs", LABEL="same")
    for given in (f"data.path={tmp_path / 'pairs'}", "hub_dataset=auto", "text_column=auto", "label_column=same"):
        assert f"<inputs.{given}>" in done.stdout


@pytest.mark.parametrize("name", ["a_b", "9lives", "ab", "ends-", "x" * 33, "two words", ""])
def test_a_name_that_azure_does_not_take_is_refused_before_anything_runs(make, name: str) -> None:
    done = make(NAME=name)
    assert done.returncode != 0
    assert "expected 3 to 32 letters, digits and hyphens" in done.stdout + done.stderr
    assert "<job>" not in done.stdout


def test_a_checkpoint_folder_gets_its_whole_path_and_a_hub_id_stays(make, tmp_path: Path) -> None:
    folder = tmp_path / "my checkpoint"
    folder.mkdir()
    (folder / "config.json").touch()
    assert f"<inputs.checkpoint={folder}>" in make(CHECKPOINT=folder).stdout
    assert "<inputs.checkpoint=owner/model>" in make(CHECKPOINT="owner/model").stdout


def test_a_comparison_runs_one_step_at_a_time_and_gets_what_is_given(make, tmp_path: Path) -> None:
    prices = tmp_path / "my prices.yml"
    done = make(
        target="compare-skus",
        DATA=tmp_path / "my data",
        LABELS="<=2:no,>=4:yes",
        PRICES=prices,
        MAX_MINUTES=30,
        MAX_STEPS=7,
    )
    shown = done.stdout.splitlines()
    assert shown[shown.index("<--concurrent-steps>") + 1] == "<1>"
    assert {
        *("<pipelines/compare_skus.yml>", f"<inputs.data.path={tmp_path / 'my data'}>", "<inputs.max_steps=7>"),
        *("<inputs.label_mapping=<=2:no,>=4:yes>", "<jobs.compare.inputs.prices.type=uri_file>"),
        *(f"<jobs.compare.inputs.prices.path={prices}>", "<jobs.compare.inputs.max_minutes=30>"),
    } <= set(shown)


def test_a_comparison_without_prices_and_limit_gives_neither(make) -> None:
    done = make(target="compare-skus")
    assert "<inputs.max_steps=50>" in done.stdout
    assert "jobs.compare" not in done.stdout
