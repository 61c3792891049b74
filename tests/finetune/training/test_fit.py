import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch
from support import load_component, track_in, train_model

from finetune.errors import InputError
from finetune.tracking import SPOOL
from finetune.training.arguments import TrainArguments
from finetune.training.contents import EXAMPLE_PREDICTION, TRAINING_RECORD
from finetune.training.fit import fit


def arguments(**given: object) -> TrainArguments:
    return TrainArguments("d", "m", "c", **given)


def test_the_model_opens_in_a_clean_process_without_this_project(trained_model: Path, tmp_path: Path) -> None:
    script = """
import sys, mlflow, pandas as pd
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("finetune", "amlocal"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pd.DataFrame({"text": ["my password is broken", "the parcel is late", "my card was charged"]})
answer = model.predict(frame)
assert list(answer.columns) == ["label", "score", "probabilities"]
assert all(abs(sum(row) - 1) < 1e-6 for row in answer["probabilities"])
assert all(score == max(row) for score, row in zip(answer["score"], answer["probabilities"]))
assert mlflow.models.Model.load(sys.argv[1]).load_input_example(sys.argv[1]) is not None
print(",".join(answer["label"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(trained_model)], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("account,delivery,billing")


def test_batches_of_unequal_texts_are_answered_in_the_callers_order(trained_model: Path) -> None:
    import pandas as pd

    model = mlflow.pyfunc.load_model(str(trained_model))
    texts = ["my card was charged the day my order was late", "login", "the parcel is late"] * 20
    together = model.predict(pd.DataFrame({"text": texts}))
    for text, row in list(zip(texts, together.itertuples(), strict=True))[:3]:
        alone = model.predict(pd.DataFrame({"text": [text]}))
        assert alone["score"][0] == pytest.approx(row.score, abs=1e-5)
        assert alone["label"][0] == row.label


def test_the_model_folder_holds_no_pickle(trained_model: Path) -> None:
    endings = {path.suffix for path in trained_model.rglob("*") if path.is_file()}
    assert ".safetensors" in endings
    assert not endings & {".pkl", ".pickle", ".bin", ".pt", ".joblib"}


def test_the_example_is_answered_as_recorded(trained_model: Path) -> None:
    import pandas as pd

    recorded = json.loads((trained_model / EXAMPLE_PREDICTION).read_text())
    answer = mlflow.pyfunc.load_model(str(trained_model)).predict(pd.DataFrame(recorded["input"]))
    assert answer["label"].tolist() == [row["label"] for row in recorded["output"]]
    assert answer["probabilities"][0] == pytest.approx(recorded["output"][0]["probabilities"])


def test_the_record_and_the_run_tell_the_same_story(trained_model: Path) -> None:
    record = json.loads((trained_model / TRAINING_RECORD).read_text())
    track_in(trained_model.parent)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == str(record["arguments"]["learning_rate"]) == "0.005"
    assert run.data.metrics["score"] == pytest.approx(record["validation"]["score"])
    assert record["validation"]["score"] == record["validation"]["f1_macro"] > 0.9
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "score")
    # Once for each of the 20 epochs, for a sweep to watch.
    assert len(history) == 20
    losses = [point.value for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
    assert losses[-1] < losses[0]
    of_steps = {"learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "padding_share", "epoch"}
    for name in of_steps:
        points = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == list(range(1, record["steps"] + 1)), name
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"].keys() >= {"transformers", "mlflow", "numpy"}
    assert record["hardware"]["cores"] > 0
    assert record["hardware"]["memory_gib"] > 0
    assert all(setting["value"] and setting["reason"] for setting in record["settings"].values())
    assert record["data"].keys() == {"train", "validation", "test"}


def test_the_record_counts_rows_and_all_seconds_of_the_process(
    message_dataset: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    script = Path(__file__).parents[3] / "components" / "train" / "train.py"
    began = time.monotonic()
    subprocess.run(
        [
            *(sys.executable, str(script), "--dataset", str(message_dataset), "--checkpoint", str(tiny_checkpoint)),
            *("--model", str(tmp_path / "model"), "--checkpoints", str(tmp_path / "checkpoints")),
            *("--max_steps", "10", "--per_device_train_batch_size", "8"),
        ],
        check=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        cwd=tmp_path,
    )
    took = time.monotonic() - began
    record = json.loads((tmp_path / "model" / TRAINING_RECORD).read_text())
    # 60 rows less two fifths: 36, in epochs of five steps, the last of which has 4 rows.
    assert record["rows"] == {"train": 36, "trained": 72}
    seconds = record["seconds"]
    assert list(seconds) == ["start", "load", "train", "steps", "save"]
    # Importing torch and transformers takes longer than this; what is left is the end of the process.
    assert seconds["start"] > 0.5
    known = seconds["start"] + seconds["load"] + seconds["train"] + seconds["save"]
    assert 0.5 * took < known <= took + 0.1
    assert seconds["steps"] <= seconds["train"]


def test_the_best_epoch_is_kept(message_dataset: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = train_model(
        *(tmp_path, message_dataset, tiny_checkpoint, "0.02", "4"),
        *("--keep_weights", "best", "--seed", "3"),
    )
    record = json.loads((model / TRAINING_RECORD).read_text())
    track_in(tmp_path)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = [point.value for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "score")]
    assert record["validation"]["score"] == max(history)


def test_max_epochs_limits_what_a_sweep_chooses() -> None:
    assert arguments(num_train_epochs=3, max_epochs=2).epochs == 2
    assert arguments(num_train_epochs=3, max_epochs=5).epochs == 3


def test_another_tokenizer_than_preps_is_refused(message_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the one the data set was tokenised with"):
        train_model(tmp_path, message_dataset, Path("sentence-transformers/all-MiniLM-L6-v2"), "0.01", "1")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_data_set_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.json: no such file; expected the manifest that prep writes"):
        train_model(tmp_path, tmp_path, tiny_checkpoint, "0.01", "1")


def test_a_loss_that_is_no_number_ends_the_run(message_dataset: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training diverged: the loss is (nan|inf) at step"):
        train_model(tmp_path, message_dataset, tiny_checkpoint, "1e30", "3")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train_epochs", "0"),
        ("num_train_epochs", "-1"),
        ("max_epochs", "0"),
        ("learning_rate", "0"),
        ("learning_rate", "nan"),
        ("learning_rate", "inf"),
        ("per_device_train_batch_size", "0"),
    ],
)
def test_amounts_that_train_nothing_are_refused(name: str, value: str) -> None:
    train = load_component("train")
    with pytest.raises(InputError, match=f"--{name} .*: expected a number above 0"):
        train.main(["--dataset", "d", "--model", "m", "--checkpoints", "c", f"--{name}", value])


def test_without_a_best_checkpoint_the_last_weights_are_described(
    message_dataset: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model = train_model(tmp_path, message_dataset, tiny_checkpoint, "0.02", "4", "--seed", "3")
    track_in(tmp_path)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = [point.value for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "score")]
    assert json.loads((model / TRAINING_RECORD).read_text())["validation"]["score"] == history[-1]


def test_a_tracking_server_that_is_away_stops_no_training(
    message_dataset: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    before = mlflow.get_tracking_uri()
    request.addfinalizer(lambda: mlflow.set_tracking_uri(before))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        mlflow.set_tracking_uri(f"http://127.0.0.1:{probe.getsockname()[1]}")
    given = arguments(max_steps=3, per_device_train_batch_size=8, checkpoint=str(tiny_checkpoint))
    folders = {"dataset": message_dataset, "model": tmp_path / "model", "checkpoints": tmp_path / "checkpoints"}
    fit(replace(given, **{name: str(folder) for name, folder in folders.items()}))
    record = json.loads((tmp_path / "model" / TRAINING_RECORD).read_text())
    assert (record["steps"], record["mlflow_run"]) == (3, None)
    assert "the tracking server does not answer; training goes on" in caplog.text
    kept = [json.loads(line) for line in (tmp_path / "checkpoints" / SPOOL).read_text().splitlines()]
    assert [line["step"] for line in kept if line.get("metric") == "loss"] == [1, 2, 3]
    assert "score" in {line.get("metric") for line in kept}
    assert "per_device_train_batch_size" in {line.get("parameter") for line in kept}
