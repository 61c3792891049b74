import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "acceptance.py"


@pytest.fixture(scope="module")
def acceptance(benchmark):
    return benchmark("acceptance")


def outcome(acceptance, accuracy: float | None):
    figures = {"accuracy": accuracy, "f1_macro": 0.8, "auc_weighted": 0.9}
    return acceptance.Outcome(
        "mrpc",
        100.0,
        60.0,
        {
            "rows": 1725,
            "metrics": {"challenger": figures, "baseline": {"accuracy": 0.665}},
            "labels": [{"label": "equivalent", "f1": 0.86}],
        },
        {"accuracy": 0.7, "f1_macro": 0.6},
        {"arguments": {"learning_rate": 1e-4, "num_train_epochs": 3.0, "per_device_train_batch_size": 16}},
        [{"status": "Completed"}, {"status": "Canceled"}],
    )


@pytest.mark.parametrize(("accuracy", "count"), [(0.8, 0), (0.77, 0), (0.76, 1), (float("nan"), 1)])
def test_a_figure_below_the_accepted_one_fails(acceptance, accuracy: float, count: int) -> None:
    assert len(acceptance.failures(outcome(acceptance, accuracy))) == count


def test_the_positive_labels_own_f1_counts(acceptance) -> None:
    weak = outcome(acceptance, 0.8)
    weak.metrics["labels"][0]["f1"] = 0.7
    assert acceptance.failures(weak) == ["mrpc: F1 of equivalent is below 0.83"]
    weak.metrics["labels"].clear()
    assert len(acceptance.failures(weak)) == 1


def test_a_row_quotes_what_was_measured(acceptance) -> None:
    assert acceptance.row(outcome(acceptance, 0.8)) == (
        "| mrpc | 1725 | 2 (1 to the end) | 0.0001, 3, 16 "
        "| accuracy 0.800, f1_macro 0.800, auc_weighted 0.900, F1 of equivalent 0.860 | accuracy 0.700, f1_macro 0.600 "
        "| 60 | 100 |"
    )


def test_without_the_data_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--data", str(tmp_path), "--datasets", "mrpc"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no folder mrpc; give the real data with --data" in done.stderr
