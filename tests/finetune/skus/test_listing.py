from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.errors import InputError
from finetune.skus.listing import AUTO, PRECISIONS, Compute, read_compute_list
from finetune.training import precision

CPU = "azureml:cpu-cluster"


def write(folder: Path, **value: Any) -> Path:
    path = folder / "list.yml"
    path.write_text(yaml.safe_dump(value))
    return path


def test_precisions_are_those_that_train_takes() -> None:
    assert (AUTO, PRECISIONS) == (precision.AUTO, precision.PRECISIONS)


def test_a_list_is_read_and_each_repeat_of_all_computes_comes_before_the_next(tmp_path: Path) -> None:
    full = {
        **{"name": "two_nodes", "compute": "azureml:gpu-cluster", "instance_count": 2, "process_count_per_instance": 4},
        **{"precision": "fp16", "threads": 3, "priced_as": "Standard_NC64as_T4_v3"},
    }
    found = read_compute_list(write(tmp_path, repeats=2, computes=[{"name": "one", "compute": CPU}, full]))
    assert found.computes == (Compute("one", CPU), Compute(**full))
    assert found.computes[1].processes == 8
    assert [(run.node, run.seed) for run in found.runs] == [
        ("one_1", 42),
        ("two_nodes_1", 42),
        ("one_2", 43),
        ("two_nodes_2", 43),
    ]


def test_without_repeats_nodes_are_named_as_the_computes(tmp_path: Path) -> None:
    found = read_compute_list(write(tmp_path, computes=[{"name": name, "compute": CPU} for name in ("a", "b")]))
    assert [run.node for run in found.runs] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "One"}, r"entry 2: name is 'One'; expected lower-case letters"),
        ({"name": "prep"}, r"entry 2: name is 'prep'.* and not prep or compare"),
        ({"name": "one"}, r"one would name two nodes"),
        ({"compute": "gpu-cluster"}, r"entry 2 \(two\): compute is 'gpu-cluster'; expected a cluster, as azureml:"),
        ({"instance_count": 0}, r"instance_count is 0; expected a whole number above 0"),
        ({"instance_count": True}, r"instance_count is True"),
        ({"process_count_per_instance": "2"}, r"process_count_per_instance is '2'"),
        ({"threads": 1.5}, r"threads is 1.5"),
        ({"precision": "int8"}, r"precision is 'int8'; expected one of auto, fp32, bf16, fp16"),
        ({"priced_as": ""}, r"priced_as is ''; expected a name in the table of prices"),
        ({"instances": 2}, r"found an entry with instances; expected name, compute and any of instance_count"),
    ],
)
def test_an_entry_that_means_nothing_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    entries = [{"name": "one", "compute": CPU}, {"name": "two", "compute": CPU, **change}]
    with pytest.raises(InputError, match=message):
        read_compute_list(write(tmp_path, computes=entries))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"computes": []}, "expected a list of at least 2"),
        ({"computes": [{"name": "one", "compute": CPU}]}, "expected a list of at least 2"),
        ({"computes": ["one", "two"]}, "entry 1: found 'one'; expected a mapping"),
        ({"computes": [{"name": "one"}, {"name": "two"}]}, "entry 1: found an entry without compute"),
        ({"repeats": 2}, "found repeats; expected the key computes"),
        ({"computes": [], "more": 1}, "found computes, more; expected the key computes"),
        ({"repeats": 0, "computes": []}, "repeats is 0; expected a whole number above 0"),
        (
            {"repeats": 2, "computes": [{"name": f"c{i}", "compute": CPU} for i in range(17)]},
            "17 computes × 2 repeats are 34 runs; the compare component has inputs for 32",
        ),
        (
            {"repeats": 2, "computes": [{"name": "a", "compute": CPU}, {"name": "a", "compute": CPU}]},
            "a_1, a_2 would name two nodes",
        ),
    ],
)
def test_a_list_that_cannot_be_compared_is_refused(tmp_path: Path, value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_compute_list(write(tmp_path, **value))


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected a list of computes"):
        read_compute_list(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_text("computes: [")
    with pytest.raises(InputError, match="not YAML"):
        read_compute_list(tmp_path / "bad.yml")
    (tmp_path / "text.yml").write_text("gpu")
    with pytest.raises(InputError, match="found str; expected the key computes"):
        read_compute_list(tmp_path / "text.yml")
