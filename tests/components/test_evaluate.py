import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from support import load_component, track_in

from finetune.data.manifest import annotations_sha256
from finetune.environment import environment_sha256
from finetune.errors import InputError
from finetune.files import folder_sha256
from finetune.workspace import ModelVersion

POLICY = {
    "primary_metric": "f1_macro",
    "minimum": {"mcc": 0.2},
    "maximum": {},
    "required": "superior",
    "minimum_improvement": 0.005,
    "margin": 0.01,
    "confidence": 0.95,
    "slice_margin": 0.1,
    "slice_minimum_rows": 4,
    "required_slices": [],
    "empty_slices": "reject",
    "test_rows_seen_in_train": "subtract",
    "valid_days": 14,
    "without_champion": "promote",
}


@pytest.fixture
def run(message_dataset: Path, trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run evaluate with a champion folder (or none) behind a client that only downloads."""
    track_in(tmp_path)
    (tmp_path / "gate.yml").write_text(yaml.safe_dump(POLICY))

    def evaluate(
        champion: Path | None = None,
        serving: bool = False,
        model: Path = trained_model,
        dataset: Path = message_dataset,
        more: tuple[str, ...] = (),
        endpoint: tuple[str, ...] = ("--endpoint_name", "messages"),
    ) -> Path:
        module = load_component("evaluate")

        def download(name: str, version: str, download_path: str) -> None:
            assert (name, version) == ("messages", "7")
            shutil.copytree(champion, Path(download_path) / name / "model")

        client = SimpleNamespace(models=SimpleNamespace(download=download))
        monkeypatch.setattr(module, "connect", lambda: client)
        found = ModelVersion("messages", "7") if serving else None
        monkeypatch.setattr(module, "serving_model", lambda *_: found)
        module.main(
            [
                *("--dataset", str(dataset), "--model", str(model)),
                *("--gate_policy", str(tmp_path / "gate.yml"), "--evaluation", str(tmp_path / "out")),
                *(*endpoint, *more),
            ]
        )
        return tmp_path / "out"

    return evaluate


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def spoil(model: Path, folder: Path) -> Path:
    """Return a copy of a model that answers every text alike."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(model, folder / "spoilt")
    weights = copy / "artifacts" / "checkpoint" / "model.safetensors"
    tensors = load_file(weights)
    tensors["classifier.weight"] *= 0
    save_file(tensors, weights, {"format": "pt"})
    return copy


def test_the_first_model_is_measured_and_promoted(run, trained_model: Path) -> None:
    out = run()
    metrics, verdict = read(out, "metrics.json"), read(out, "verdict.json")
    assert metrics["metrics"]["challenger"]["accuracy"] > 0.9
    assert metrics["metrics"]["baseline"]["mcc"] == 0
    assert "champion" not in metrics["metrics"]
    assert verdict["promoted"] is True
    assert verdict["model_sha256"] == folder_sha256(trained_model)
    assert verdict["champion"] is None
    assert verdict["comparison"] is None
    assert metrics["metrics"]["challenger"]["model_megabytes"] > 0
    predictions = pd.read_parquet(out / "predictions.parquet")
    assert len(predictions) == metrics["rows"]
    agreement = (predictions["challenger"] == predictions["label"]).mean()
    assert agreement == pytest.approx(metrics["metrics"]["challenger"]["accuracy"])


def test_a_better_model_beats_the_champion_on_the_same_rows(run, trained_model: Path, tmp_path: Path) -> None:
    out = run(champion=spoil(trained_model, tmp_path), serving=True)
    metrics, verdict = read(out, "metrics.json")["metrics"], read(out, "verdict.json")
    assert verdict["promoted"] is True
    assert metrics["champion"]["accuracy"] == pytest.approx(1 / 3)
    assert verdict["champion"]["name"] == "messages"
    comparison = verdict["comparison"]
    assert comparison["difference"]["value"] == pytest.approx(
        metrics["challenger"]["f1_macro"] - metrics["champion"]["f1_macro"]
    )
    assert 0 < comparison["difference"]["low"] < comparison["difference"]["high"]
    assert comparison["p_value"] < 0.05
    assert {"label: billing", "length: short"} <= set(comparison["slices"])
    assert {"challenger", "champion"} <= set(pd.read_parquet(out / "predictions.parquet").columns)


def test_the_serving_model_is_not_promoted_again(run, trained_model: Path) -> None:
    verdict = read(run(champion=trained_model, serving=True), "verdict.json")
    assert verdict["promoted"] is False
    assert verdict["reasons"] == ["this is the model that serves already (messages:7)"]


def test_a_champion_that_does_not_load_stops_the_promotion(run, trained_model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(trained_model, tmp_path / "broken")
    (broken / "artifacts" / "checkpoint" / "model.safetensors").write_text("broken")
    verdict = read(run(champion=broken, serving=True), "verdict.json")
    assert verdict["promoted"] is False
    assert "the champion messages:7 could not be measured" in verdict["reasons"][0]


def test_a_champion_that_answers_something_else_stops_the_promotion(run, trained_model: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(trained_model, tmp_path / "odd")
    script = odd / "sequence_model.py"
    script.write_text(script.read_text().replace(', "probabilities": row}', "}"))
    verdict = read(run(champion=odd, serving=True), "verdict.json")
    assert verdict["promoted"] is False
    assert "does not answer the test rows" in verdict["reasons"][0]


def test_a_challenger_of_another_data_set_is_refused(run, trained_model: Path, message_dataset: Path) -> None:
    from finetune.data.manifest import read_manifest
    from finetune.evaluation import check_trained_on

    manifest = read_manifest(message_dataset)
    check_trained_on(trained_model, manifest)
    train = replace(manifest.splits["train"], sha256="another")
    with pytest.raises(InputError, match="the data set's train split is another"):
        check_trained_on(trained_model, replace(manifest, splits={**manifest.splits, "train": train}))


def test_an_endpoint_name_that_cannot_be_is_refused_at_once(run) -> None:
    with pytest.raises(InputError, match=r"--endpoint_name 'bad\.name': expected 3 to 32 letters"):
        load_component("evaluate").main(
            [
                *("--dataset", "d", "--model", "m", "--gate_policy", "g", "--evaluation", "e"),
                *("--endpoint_name", "bad.name"),
            ]
        )


def test_the_report_is_in_the_folder_and_among_the_runs_artefacts(run, trained_model: Path, tmp_path: Path) -> None:
    import mlflow

    out = run(champion=spoil(trained_model, tmp_path), serving=True)
    page, metrics = (out / "report.html").read_text(), read(out, "metrics.json")
    for value in metrics["metrics"]["challenger"].values():
        assert f"{value:.4f}" in page
    assert read(trained_model, "training.json")["precision"]["reason"] in page
    assert "Left out, with the loss curves: no trial is known" in page
    assert page.count(environment_sha256()) == 2, "train and evaluate ran in this environment"
    assert (out / "report.md").read_text().startswith("## ✅ Promoted")
    (tracked,) = mlflow.search_runs(output_format="list")
    names = [file.path for file in mlflow.artifacts.list_artifacts(run_id=tracked.info.run_id, artifact_path="report")]
    assert sorted(names) == ["report/report.html", "report/report.md"]
    drawn = mlflow.artifacts.list_artifacts(run_id=tracked.info.run_id, artifact_path="figures")
    assert {"confusion-challenger", "confusion-champion", "roc", "precision-recall", "reliability", "slices"} <= {
        Path(file.path).stem for file in drawn
    }
    assert len(drawn) == page.count("<svg ")
    for file in drawn:
        svg = ElementTree.fromstring((out / file.path).read_text())  # noqa: S314 - made here
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) > 3


def test_nothing_is_taken_for_a_whole_evaluation_without_its_report(
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(load_component("evaluate"), "write_report", fail)
    with pytest.raises(OSError, match="no space left"):
        run()
    assert not (tmp_path / "out" / "verdict.json").exists()


def test_an_outage_of_the_tracking_server_costs_what_is_tracked_and_not_the_verdict(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def fail(*_: object, **__: object) -> None:
        raise mlflow.MlflowException("the server is gone")

    monkeypatch.setattr(mlflow, "start_run", fail)
    out = run()
    assert read(out, "verdict.json")["promoted"] is True
    page = (out / "report.html").read_text()
    assert "Left out, with the loss curves: the tracking server did not answer" in page
    assert "none: the tracking server did not answer" in page


@pytest.mark.parametrize(
    ("record", "said"),
    [('{"steps": 12}', "not recorded"), ("{broken", "training.json cannot be read"), ("[]", "holds a list")],
)
def test_a_training_record_that_cannot_be_read_costs_no_verdict(
    run, trained_model: Path, tmp_path: Path, record: str, said: str
) -> None:
    older = shutil.copytree(trained_model, tmp_path / "older")
    (older / "training.json").write_text(record)
    out = run(model=older)
    assert read(out, "verdict.json")["promoted"] is True
    assert said in (out / "report.html").read_text()


def test_a_label_that_loses_all_its_rows_ends_with_a_verdict(run, message_dataset: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(message_dataset, tmp_path / "leaky")
    rows = pd.read_parquet(dataset / "test.parquet")
    rows["seen_in_train"] = rows["label"].map(lambda label: "exact" if label == "billing" else "no")
    rows.to_parquet(dataset / "test.parquet", index=False)
    manifest = read(dataset, "dataset.json")
    manifest["splits"]["test"]["seen_in_train"] = int((rows["label"] == "billing").sum())
    manifest["annotations_sha256"] = annotations_sha256(rows)
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    out = run(dataset=dataset)
    verdict = read(out, "verdict.json")
    assert verdict["promoted"] is False
    assert "no test row is left of the labels billing" in verdict["reasons"][0]
    assert "billing" in (out / "report.html").read_text()


@pytest.mark.parametrize("serving", [False, True])
def test_a_split_that_loses_all_its_rows_ends_with_a_verdict(
    run, message_dataset: Path, trained_model: Path, tmp_path: Path, serving: bool
) -> None:
    dataset = shutil.copytree(message_dataset, tmp_path / "leaky")
    rows = pd.read_parquet(dataset / "test.parquet").assign(seen_in_train="exact")
    rows.to_parquet(dataset / "test.parquet", index=False)
    manifest = read(dataset, "dataset.json")
    manifest["splits"]["test"]["seen_in_train"] = len(rows)
    manifest["annotations_sha256"] = annotations_sha256(rows)
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    out = run(dataset=dataset, champion=trained_model, serving=serving)
    metrics, verdict = read(out, "metrics.json"), read(out, "verdict.json")
    assert metrics["rows"] == 0
    assert set(metrics["metrics"]["challenger"]) == {"model_megabytes"}
    assert verdict["promoted"] is False
    assert "no test row is left to measure on" in verdict["reasons"]
    assert ("the champion messages:7 could not be measured" in " ".join(verdict["reasons"])) is serving
    assert "no test row is left to measure on" in (out / "report.html").read_text()
    assert "no test row is left to measure on" in (out / "report.md").read_text()
    # register comes to the same, and registers nothing.
    load_component("register").main(
        [
            *("--model", str(trained_model), "--evaluation", str(out), "--dataset", str(dataset)),
            *("--gate_policy", str(tmp_path / "gate.yml"), "--model_name", "messages"),
            *("--registration", str(tmp_path / "registration.json")),
        ]
    )
    assert read(tmp_path, "registration.json")["registered"] is False


def test_jobs_are_linked_and_costs_are_asked_of_the_table(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "finetune-1")
    address = "https://ml.azure.com/runs/finetune-1"
    monkeypatch.setattr(load_component("evaluate"), "job_link", {"finetune-1": address}.get)
    (tmp_path / "prices.yml").write_text("date: 2026-01-31\ncurrency: EUR\nper_hour: {}\n")
    page = (run(more=("--prices", str(tmp_path / "prices.yml"))) / "report.html").read_text()
    assert f'<a href="{address}" rel="noreferrer">finetune-1</a>' in page
    assert "Not priced: the sweep is not known." in page


def test_a_reference_model_stands_in_the_champions_place(run, trained_model: Path, tmp_path: Path) -> None:
    reference = spoil(trained_model, tmp_path)
    out = run(endpoint=("--reference_model", str(reference)))

    verdict = read(out, "verdict.json")
    assert verdict["promoted"] is True
    digest = folder_sha256(reference)
    assert verdict["champion"] == {"name": "reference", "version": digest[:12], "model_sha256": digest}
    assert f"reference:{digest[:12]}" in (out / "report.html").read_text()
    assert set(read(out, "metrics.json")["metrics"]) == {"challenger", "champion", "baseline"}


def test_a_reference_of_another_data_set_is_refused(run, trained_model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(trained_model, tmp_path / "other")
    described = yaml.safe_load((other / "MLmodel").read_text())
    described["metadata"]["train_sha256"] = "another"
    (other / "MLmodel").write_text(yaml.safe_dump(described))

    with pytest.raises(InputError, match="was trained on the rows another"):
        run(endpoint=("--reference_model", str(other)))
    assert not (tmp_path / "out").exists()


def test_there_is_one_champion(run, trained_model: Path) -> None:
    with pytest.raises(InputError, match="--endpoint_name and --reference_model: there is one champion"):
        run(more=("--reference_model", str(trained_model)))
