"""Each problem is learnt, and the model that is left answers as training measured it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from problem_data import TASKS_OF
from seqeval.metrics.sequence_labeling import get_entities
from support import load_component, track_in

from finetune.data.label_texts import read_names, read_spans, read_tags
from finetune.data.manifest import LABEL, read_manifest
from finetune.errors import InputError
from finetune.metrics.entities import entity_counts, entity_metrics, entity_types
from finetune.metrics.extraction import extraction_metrics, extraction_scores
from finetune.metrics.multi_label import multi_label_metrics
from finetune.metrics.regression import regression_metrics
from finetune.tasks import PROBLEMS
from finetune.training.batches import Padding, TokenRows, collate
from finetune.training.contents import TRAINING_RECORD
from finetune.training.losses import class_loss, span_loss
from finetune.training.model_folder import ANSWERS
from finetune.training.problems import HEADS

NEW = tuple(problem for problem in PROBLEMS if problem != "single_label")
"""`test_fit.py` has the other."""
ENOUGH = {"multi_label": 0.8, "regression": 0.9, "token_labels": 0.8, "answer_spans": 0.8}


@pytest.fixture(scope="module")
def trained(trained_problem: Callable[[str], Path]) -> dict[str, Path]:
    """Problem → a folder with dataset and model."""
    return {problem: trained_problem(problem) for problem in NEW}


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model" / TRAINING_RECORD).read_text())


def test_tables_have_a_row_for_each_problem() -> None:
    assert set(HEADS) == set(PROBLEMS) == set(ANSWERS) == set(TASKS_OF)


@pytest.mark.parametrize("problem", NEW)
def test_an_easy_rule_is_learnt(problem: str, trained: dict[str, Path]) -> None:
    track_in(trained[problem])
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = [point.value for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "score")]
    assert history[-1] > history[0]
    assert history[-1] >= ENOUGH[problem]
    losses = [point.value for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
    assert losses[-1] < losses[0] / 2


def validation_frame(folder: Path) -> pd.DataFrame:
    """Return validation as texts, as prep reads it."""
    rows = [json.loads(line) for line in (folder / "data" / "validation.jsonl").read_text().splitlines()]
    frame = pd.DataFrame(rows)
    if isinstance(frame.iloc[0, 0], list):
        frame["text"] = frame["text"].map(" ".join)
    return frame


def measured(problem: str, folder: Path, frame: pd.DataFrame, answer: pd.DataFrame) -> dict[str, float]:
    """Measure a model's answers, from nothing but the two frames."""
    labels = read_manifest(folder / "dataset").labels
    if problem == "multi_label":
        true = np.array([[name in row for name in labels] for row in frame["label"]])
        return multi_label_metrics(true, np.stack(answer["probabilities"]))
    if problem == "regression":
        return regression_metrics(frame["label"].to_numpy(), answer["value"].to_numpy())
    if problem == "token_labels":
        return entity_metrics(entity_counts(entity_types(labels), list(frame["label"]), list(answer["tags"])))
    return extraction_metrics(extraction_scores(answer["answer"].tolist(), [row["text"] for row in frame["answers"]]))


@pytest.mark.parametrize("problem", NEW)
def test_the_model_answers_as_training_measured_it(problem: str, trained: dict[str, Path]) -> None:
    folder = trained[problem]
    model = mlflow.pyfunc.load_model(str(folder / "model"))
    frame = validation_frame(folder)
    answer = model.predict(frame[list(model.metadata.signature.inputs.input_names())])
    assert list(answer.columns) == list(ANSWERS[problem]) == model.metadata.signature.outputs.input_names()
    assert model.metadata.metadata["problem"] == problem
    found = measured(problem, folder, frame, answer)
    expected = record(folder)["validation"]
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-5)


def test_a_multi_label_answer_is_what_is_likelier_than_not(trained: dict[str, Path]) -> None:
    model = mlflow.pyfunc.load_model(str(trained["multi_label"] / "model"))
    answer = model.predict(pd.DataFrame({"text": ["my money login", "is my day", "the parcel day"]}))
    labels = model.metadata.metadata["labels"]
    for names, probabilities in zip(answer["labels"], answer["probabilities"], strict=True):
        assert names == [name for name, share in zip(labels, probabilities, strict=True) if share >= 0.5]
    assert answer["labels"].tolist() == [["account", "billing"], [], ["delivery"]]


def test_entities_are_seqevals_and_stand_where_they_say(trained: dict[str, Path]) -> None:
    model = mlflow.pyfunc.load_model(str(trained["token_labels"] / "model"))
    texts = ["my  parcel broken\tis late card", "order " * 40, "  ", "my day is card money"]
    answer = model.predict(pd.DataFrame({"text": texts}))
    for text, tags, entities in zip(texts, answer["tags"], answer["entities"], strict=True):
        words = text.split()
        assert len(tags) == len(words)
        assert [entity["label"] for entity in entities] == [kind for kind, _, _ in get_entities(list(tags))]
        for entity, (_, first, last) in zip(entities, get_entities(list(tags)), strict=True):
            assert text[entity["start"] : entity["end"]] == entity["text"]
            assert entity["text"].split() == words[first : last + 1]
            assert 0 < entity["score"] <= 1
    assert [entity["label"] for entity in answer["entities"][0]] == ["THING", "PAY"]
    # 32 tokens with the two that frame them.
    assert set(answer["tags"][1][30:]) == {"O"}


def test_answers_stand_where_they_say(trained: dict[str, Path]) -> None:
    model = mlflow.pyfunc.load_model(str(trained["answer_spans"] / "model"))
    contexts = ["my order is late " * 20 + " password day", "invoice", "my order"]
    frame = pd.DataFrame({"question": ["is my order late", "", "the " * 60], "context": contexts})
    together = model.predict(frame)
    for row, context in zip(together.itertuples(), contexts, strict=True):
        assert row.answer == context[row.start : row.end]
        assert row.answer
        assert 0 < row.score <= 1
    assert together["answer"][0] == "password"
    alone = model.predict(frame.iloc[[0]])
    assert alone["score"][0] == pytest.approx(together["score"][0], abs=1e-5)
    empty = model.predict(pd.DataFrame({"question": ["my order"], "context": [""]}))
    assert empty.to_dict(orient="records") == [{"answer": "", "score": 0.0, "start": 0, "end": 0}]


def test_every_model_opens_in_a_clean_process_without_this_project(trained: dict[str, Path], tmp_path: Path) -> None:
    script = """
import json, sys, mlflow, pandas as pd
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("finetune", "amlocal"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
for folder in sys.argv[1:]:
    recorded = json.load(open(folder + "/example_prediction.json"))
    answer = mlflow.pyfunc.load_model(folder).predict(pd.DataFrame(recorded["input"]))
    assert mlflow.models.Model.load(folder).load_input_example(folder) is not None
    print(json.dumps([json.loads(answer.to_json(orient="records")), recorded["output"]]))
"""
    folders = [str(trained[problem] / "model") for problem in NEW]
    done = subprocess.run(
        [sys.executable, "-c", script, *folders], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.strip().splitlines()[-len(NEW) :]:
        answered, recorded = json.loads(line)
        assert [row.keys() for row in answered] == [row.keys() for row in recorded]


@pytest.mark.parametrize("problem", ["multi_label", "regression", "answer_spans"])
def test_smoothing_is_refused_where_labels_do_not_exclude_each_other(
    problem: str, trained: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--label_smoothing_factor 0\.1: for names that exclude each other"):
        load_component("train").main(
            [
                *("--dataset", str(trained[problem] / "dataset"), "--checkpoint", str(tiny_checkpoint)),
                *("--model", str(tmp_path / "m"), "--checkpoints", str(tmp_path / "c")),
                *("--label_smoothing_factor", "0.1"),
            ]
        )
    assert not (tmp_path / "m").exists()


def test_batches_pad_what_belongs_to_tokens_and_stack_what_belongs_to_rows(trained: dict[str, Path]) -> None:
    right, left = (Padding(0, 0, left=side) for side in (False, True))
    for problem in NEW:
        rows = TokenRows(trained[problem] / "dataset" / "train.arrow")
        short, long = int(rows.lengths.argmin()), int(rows.lengths.argmax())
        batch = collate(rows, [short, long], right, pin=False)
        width = int(rows.lengths[long])
        assert set(batch) == set(rows.columns)
        assert batch["input_ids"].shape == (2, width)
        if problem == "multi_label":
            assert (batch["labels"].shape, batch["labels"].dtype) == ((2, 3), torch.float32)
        elif problem == "regression":
            assert (batch["labels"].shape, batch["labels"].dtype) == ((2,), torch.float32)
        elif problem == "token_labels":
            assert (batch["labels"].shape, batch["labels"].dtype) == ((2, width), torch.int64)
        else:
            moved = collate(rows, [short, long], left, pin=False)
            assert (moved["start_positions"] - batch["start_positions"]).tolist() == [width - rows.lengths[short], 0]
            assert (
                moved["input_ids"][0, moved["start_positions"][0]]
                == rows.row(short)["input_ids"][rows.row(short)["start_positions"]]
            )


def test_padding_has_no_part_in_the_losses() -> None:
    chance = torch.Generator().manual_seed(0)
    logits = [torch.randn(1, 5, generator=chance) for _ in range(2)]
    batch = {
        "attention_mask": torch.ones(1, 5),
        "start_positions": torch.tensor([1]),
        "end_positions": torch.tensor([3]),
    }
    padded = {**batch, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0, 0]])}
    wide = [torch.cat([each, torch.full((1, 2), 9.0)], dim=1) for each in logits]
    assert span_loss(wide, padded, 0.0) == pytest.approx(span_loss(logits, batch, 0.0).item())
    tags = {"labels": torch.tensor([[2, -100, 1]])}
    words = torch.randn(1, 3, 4, generator=chance)
    expected = -(words[0, 0].log_softmax(0)[2] + words[0, 2].log_softmax(0)[1])
    assert class_loss([words], tags, 0.0).item() == pytest.approx(expected.item(), rel=1e-5)
    assert class_loss([words], {"labels": torch.full((1, 3), -100)}, 0.0).item() == 0.0


def test_test_rows_read_back_as_what_they_were(trained: dict[str, Path]) -> None:
    read = {"multi_label": read_names, "regression": float, "token_labels": read_tags}
    for problem in NEW:
        test = pd.read_parquet(trained[problem] / "dataset" / "test.parquet")
        source = [json.loads(x) for x in (trained[problem] / "data" / "test.jsonl").read_text().splitlines()]
        if problem == "answer_spans":
            spans = [read_spans(text)[0] for text in test[LABEL]]
            assert [span.start for span in spans] == [row["answers"]["answer_start"][0] for row in source]
        else:
            assert [read[problem](text) for text in test[LABEL]] == [row["label"] for row in source]
