"""What the stages log passes the limits of Azure ML's MLflow backend."""

from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from support import track_in

from amlocal.workspace import mlflow_limits as limits


@pytest.fixture
def trial(trained_model: Path) -> Run:
    """The run of a whole training."""
    track_in(trained_model.parent)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return run


def test_a_trial_logs_what_azure_takes(trial: Run) -> None:
    assert 0 < len(trial.data.params) <= limits.PARAMETERS
    assert 0 < len(trial.data.metrics) <= limits.METRIC_NAMES
    logged = limits.Logged(parameters=trial.data.params, tags=trial.data.tags, name=trial.info.run_name)
    limits.check_sizes(logged)
    limits.check_numbers(logged, limits.RunNames())
