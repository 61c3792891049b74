import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from finetune.answers.test_rows import predictions_frame, read_test_rows
from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.evaluation import predict


def test_a_trained_model_knows_the_test_rows(message_dataset: Path, trained_model: Path) -> None:
    manifest = read_manifest(message_dataset)
    rows = read_test_rows(message_dataset, manifest)
    predictions = predict(trained_model, rows, manifest)
    assert 0 < predictions.latency_p95_ms < 60_000
    assert (predictions.columns[""] == rows["label"]).mean() > 0.9
    frame = predictions_frame(rows, {"challenger": predictions.columns})
    assert list(frame.columns) == [
        *(
            "text",
            "label",
            "seen_in_train",
            "challenger",
            "challenger:account",
            "challenger:billing",
            "challenger:delivery",
        )
    ]


def edit_metadata(model: Path, folder: Path, **change: object) -> Path:
    copy = shutil.copytree(model, folder / "model")
    description = yaml.safe_load((copy / "MLmodel").read_text())
    description["metadata"].update(change)
    (copy / "MLmodel").write_text(yaml.safe_dump(description))
    return copy


def test_a_champion_with_labels_in_another_order_is_lined_up(
    message_dataset: Path, trained_model: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(message_dataset)
    rows = read_test_rows(message_dataset, manifest)
    expected = predict(trained_model, rows, manifest).columns
    turned = edit_metadata(trained_model, tmp_path, labels=list(reversed(manifest.labels)))
    found = predict(turned, rows, manifest).columns
    for label, other in zip(manifest.labels, reversed(manifest.labels), strict=True):
        assert found[f":{label}"] == pytest.approx(expected[f":{other}"], rel=1e-12)


def test_a_model_for_other_labels_is_refused(message_dataset: Path, trained_model: Path, tmp_path: Path) -> None:
    manifest = read_manifest(message_dataset)
    other = edit_metadata(trained_model, tmp_path, labels=["account", "billing", "praise"])
    with pytest.raises(InputError, match="the data set's are"):
        predict(other, pd.DataFrame({"text": ["a"], "label": ["account"]}), manifest)


def test_a_folder_that_is_no_model_is_refused(message_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not load as an MLflow model"):
        predict(tmp_path, pd.DataFrame(), read_manifest(message_dataset))
