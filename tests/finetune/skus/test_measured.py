from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import InputError
from finetune.files import write_json
from finetune.skus.listing import Compute, ListedRun
from finetune.skus.measured import Run, read_runs

MakeRecord = Callable[..., dict[str, Any]]
ONE, TWO = (ListedRun(name, Compute(name, "azureml:cpu-cluster"), 42) for name in ("one", "two"))


def read(folder: Path, first: dict[str, Any], second: dict[str, Any], *listed: ListedRun) -> tuple[Run, ...]:
    write_json(folder / "a" / "training.json", first)
    write_json(folder / "b" / "training.json", second)
    return read_runs([folder / "a", folder / "b"], listed or (ONE, TWO))


def test_figures_are_worked_out_from_the_record(make_record: MakeRecord, tmp_path: Path) -> None:
    one, two = read(tmp_path, make_record(), make_record(samples_per_second=40.0, mlflow_run="abc"))
    assert (one.machine, one.device, one.threads, one.precision) == ("x86_64, 2 cores", "x86_64, 2 cores", 1, "fp32")
    assert one.seconds == 200.0
    assert one.start_up_share == 0.05
    assert (one.seconds_per_epoch, two.seconds_per_epoch) == (50.0, 25.0)
    assert (one.mlflow_run, two.mlflow_run) == (None, "abc")


def test_a_machine_with_gpus_is_named_by_them(make_record: MakeRecord, tmp_path: Path) -> None:
    four = make_record(hardware={"gpus": ["Tesla T4"] * 4})
    one, two = read(tmp_path, four, make_record())
    assert (one.machine, one.device) == ("4 x Tesla T4", "Tesla T4")
    assert two.machine == "x86_64, 2 cores"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"task": "text-pair-classification"}, "task is 'text-classification' and 'text-pair-classification'"),
        ({"checkpoint": "other"}, "checkpoint is 'all-MiniLM' and 'other'"),
        ({"data": {"train": "x" * 64}}, "train rows is 't"),
        ({"data": {"test": "x" * 64}}, "test rows is 'e"),
        ({"steps": 50}, "steps is 100 and 50"),
        ({"settings": {"global_batch": {"value": "64", "reason": ""}}}, "global batch is '32' and '64'"),
        ({"arguments": {"learning_rate": 0.1}}, "--learning_rate is 0.0001 and 0.1"),
        ({"arguments": {"lora_rank": 8}}, "--lora_rank is None and 8"),
    ],
)
def test_runs_that_did_not_do_the_same_are_refused(
    make_record: MakeRecord, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    with pytest.raises(InputError, match=f"one and two did not do the same: {what}"):
        read(tmp_path, make_record(), make_record(**change))


def test_a_run_that_failed_is_named(make_record: MakeRecord, tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "training.json", make_record())
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"two: .*/b holds no training\.json, .*: the run failed"):
        read_runs([tmp_path / "a", tmp_path / "b"], (ONE, TWO))


def test_a_run_that_went_on_after_it_was_ended_has_no_time(make_record: MakeRecord, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two: was ended and went on after step 30, 60, so its time"):
        read(tmp_path, make_record(), make_record(resumed_after_steps=[30, 60]))


def test_one_run_is_not_taken_for_two(make_record: MakeRecord, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one and two are one and the same run, reused for both"):
        read(tmp_path, make_record(), make_record())


@pytest.mark.parametrize(
    ("record", "entry", "what"),
    [
        ({"processes": 2}, {}, "ran with processes 2, and the list says 1"),
        ({}, {"process_count_per_instance": 2, "instance_count": 3}, "ran with processes 1, and the list says 6"),
        ({}, {"precision": "bf16"}, "ran with precision fp32, and the list says bf16"),
        ({}, {"threads": 2}, "ran with threads 1, and the list says 2"),
        ({"arguments": {"seed": 43}}, {}, "ran with seed 43, and the list says 42"),
    ],
)
def test_a_run_that_is_not_what_the_list_says_is_refused(
    make_record: MakeRecord, tmp_path: Path, record: dict[str, Any], entry: dict[str, Any], what: str
) -> None:
    listed = ListedRun("two", Compute("two", "azureml:cpu-cluster", **entry), 42)
    with pytest.raises(InputError, match=f"two: {what}; give the runs in the order of the list"):
        read(tmp_path, make_record(samples_per_second=21.0), make_record(**record), ONE, listed)


def test_another_number_of_runs_than_the_list_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 runs were given and the list has 2; write the pipeline anew"):
        read_runs([tmp_path], (ONE, TWO))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"samples_per_second": 0.0}, "training.json says samples_per_second 0.0; expected a number above 0"),
        ({"rows": {"train": 0}}, "says rows 0; expected a number above 0"),
        ({"samples_per_second": "fast"}, "is not as this version's train writes it .*; train again"),
        ({"rows": None}, "is not as this version's train writes it .*; train again"),
        ({"hardware": None}, "is not as this version's train writes it .*; train again"),
    ],
)
def test_a_record_without_what_is_needed_is_refused(
    make_record: MakeRecord, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    with pytest.raises(InputError, match=f"two: .*{what}"):
        read(tmp_path, make_record(), make_record(**change))


def test_a_record_of_an_earlier_version_is_refused_by_the_missing_key(make_record: MakeRecord, tmp_path: Path) -> None:
    old = make_record()
    del old["seconds"]["start"]
    with pytest.raises(InputError, match="KeyError: 'start'"):
        read(tmp_path, make_record(), old)
