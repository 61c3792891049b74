"""Evaluate and register with every problem: models that answer by heart, verdicts, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from answers_support import PRIMARY, answers, made_up, write_dataset, write_model
from support import GATE_POLICY, load_component, track_in

from finetune.errors import InputError
from finetune.files import write_json
from finetune.policy import read_policy
from finetune.registration import Registration, read_registration
from finetune.tasks import PROBLEMS, Problem, task_named
from finetune.verdict import draft_verdict
from finetune.workspace import ModelVersion

OTHERS = [problem for problem in PROBLEMS if problem != "single_label"]


class Story:
    """A data set of a problem, and the two stages over it; the serving model is whatever the test gives."""

    def __init__(self, problem: Problem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.manifest, self.frame = made_up(problem)
        self.dataset = write_dataset(folder / "dataset", self.manifest, self.frame)
        self.policy = folder / "gate.yml"
        minimum = {PRIMARY[problem]: 0.2}
        self.policy.write_text(yaml.safe_dump({**GATE_POLICY, "primary_metric": PRIMARY[problem], "minimum": minimum}))
        self.evaluation, self.registry = folder / "evaluation", []
        track_in(folder)

    def model(
        self, name: str, skill: float, edit: Callable[[pd.DataFrame], Any] = lambda given: given, **said: Any
    ) -> Path:
        given = edit(answers(self.manifest, self.frame, skill, seed=len(name)))
        return write_model(self.folder / name, self.manifest, self.frame, given, **said)

    def evaluate(self, challenger: Path, champion: Path | None = None) -> dict[str, Any]:
        module = load_component("evaluate")

        def download(name: str, version: str, download_path: str) -> None:
            assert champion is not None
            shutil.copytree(champion, Path(download_path) / name / "model")

        client = SimpleNamespace(models=SimpleNamespace(download=download))
        serving = None if champion is None else ModelVersion("messages", "7")
        self.monkeypatch.setattr(module, "connect", lambda: client)
        self.monkeypatch.setattr(module, "serving_model", lambda *_: serving)
        module.main(
            [
                *("--dataset", str(self.dataset), "--model", str(challenger), "--gate_policy", str(self.policy)),
                *("--evaluation", str(self.evaluation), "--endpoint_name", "messages"),
            ]
        )
        return json.loads((self.evaluation / "verdict.json").read_text())

    def register(self, challenger: Path) -> Registration:
        module = load_component("register")

        def create(model: Any) -> SimpleNamespace:
            self.registry.append(SimpleNamespace(name=model.name, version=len(self.registry) + 3, tags=model.tags))
            return self.registry[-1]

        client = SimpleNamespace(models=SimpleNamespace(create_or_update=create, list=lambda name: self.registry))
        self.monkeypatch.setattr(module, "connect", lambda: client)
        module.main(
            [
                *("--model", str(challenger), "--evaluation", str(self.evaluation), "--dataset", str(self.dataset)),
                *("--gate_policy", str(self.policy), "--model_name", "messages"),
                *("--registration", str(self.folder / "registration.json")),
            ]
        )
        return read_registration(self.folder / "registration.json")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Problem], Story]:
    return lambda problem: Story(problem, tmp_path, monkeypatch)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_better_model_is_promoted_and_registered(story: Callable[[Problem], Story], problem: Problem) -> None:
    told = story(problem)
    challenger, champion = told.model("new", 0.95), told.model("old one", 0.7)
    verdict = told.evaluate(challenger, champion)
    assert verdict["promoted"] is True, verdict["reasons"]
    metrics = json.loads((told.evaluation / "metrics.json").read_text())
    primary = PRIMARY[problem]
    assert metrics["metrics"]["challenger"][primary] > metrics["metrics"]["champion"][primary]
    assert "baseline" in metrics["metrics"]
    assert {"length: short", "shop: north"} <= set(verdict["comparison"]["slices"])
    assert told.register(challenger).registered is True
    (registered,) = told.registry
    assert registered.tags[f"test_{primary}"] == f"{metrics['metrics']['challenger'][primary]:.6f}"
    assert registered.tags["task"] == told.manifest.task


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_worse_model_is_rejected_and_not_registered(story: Callable[[Problem], Story], problem: Problem) -> None:
    told = story(problem)
    challenger, champion = told.model("new", 0.7), told.model("old one", 0.95)
    verdict = told.evaluate(challenger, champion)
    assert verdict["promoted"] is False
    assert any("short of the required" in reason for reason in verdict["reasons"])
    assert told.register(challenger).registered is False
    assert told.registry == []


@pytest.mark.parametrize("problem", OTHERS)
def test_a_slice_that_loses_rejects(story: Callable[[Problem], Story], problem: Problem) -> None:
    told = story(problem)
    right, weak = (answers(told.manifest, told.frame, skill) for skill in (1.0, 0.7))
    south = (told.frame["slice:shop"] == "south").to_numpy()
    lost = answers(told.manifest, told.frame, 0.0 if problem == "answer_spans" else 0.1)

    def but_south(given: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame([(lost if bad else right).iloc[row] for row, bad in enumerate(south)])

    challenger, champion = told.model("new", 1.0, but_south), told.model("old one", 0.7, lambda given: weak)
    verdict = told.evaluate(challenger, champion)
    assert any(reason.startswith("slice 'shop: south'") for reason in verdict["reasons"]), verdict["reasons"]


def _first(column: str, value: Callable[[Any], Any]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def edit(given: pd.DataFrame) -> pd.DataFrame:
        values = given[column].tolist()
        values[0] = value(values[0])
        return given.assign(**{column: values})

    return edit


BROKEN: dict[Problem, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "single_label": (_first("probabilities", lambda p: [2.0, *p[1:]]), "negative or do not sum to 1"),
    "multi_label": (_first("probabilities", lambda p: [2.0, *p[1:]]), "not between 0 and 1"),
    "regression": (_first("value", lambda value: None), "are not 120 finite numbers"),
    "token_labels": (_first("tags", lambda tags: tags[1:]), "words of test row 0"),
    "answer_spans": (_first("end", lambda end: end + 1), "stands another text"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_broken_answers_are_refused(story: Callable[[Problem], Story], problem: Problem) -> None:
    told = story(problem)
    edit, message = BROKEN[problem]
    broken, good = told.model("new", 0.95, edit), told.model("old one", 0.7)
    with pytest.raises(InputError, match=message):
        told.evaluate(broken)
    assert not told.evaluation.exists()
    verdict = told.evaluate(good, broken)
    assert verdict["promoted"] is False
    assert "the champion messages:7 could not be measured" in " ".join(verdict["reasons"])


def test_a_model_for_another_problem_is_refused(story: Callable[[Problem], Story]) -> None:
    told = story("multi_label")
    other = told.model("new", 0.9, problem="single_label")
    with pytest.raises(InputError, match="it answers single_label; the data set asks for multi_label"):
        told.evaluate(other)


def test_a_champion_whose_answers_define_no_correlation_cannot_be_measured(story: Callable[[Problem], Story]) -> None:
    told = story("regression")
    flat = told.model("old one", 0.9, lambda given: given.assign(value=2.5))
    verdict = told.evaluate(told.model("new", 0.9), flat)
    assert verdict["promoted"] is False
    assert "pearson is not defined on these test rows, of the champion's answers" in " ".join(verdict["reasons"])


EDITS: dict[Problem, list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]]] = {
    "multi_label": [
        (_first("challenger:joy", lambda _: 0.501), "challenger"),
        (lambda frame: frame.assign(challenger=frame["label"]), "are not its labels of probability"),
        (lambda frame: frame.drop(columns="challenger:joy"), "no probabilities of the challenger"),
    ],
    "regression": [
        (_first("challenger", lambda value: value + 1), r"from predictions\.parquet follows"),
        (_first("challenger", lambda value: float("nan")), "not all finite"),
    ],
    "token_labels": [
        (lambda frame: frame.assign(challenger=frame["label"]), r"from predictions\.parquet follows"),
        (_first("challenger", lambda tags: tags + " O"), "words of test row 0"),
    ],
    "answer_spans": [
        (lambda frame: frame.assign(challenger=frame["context"]), r"from predictions\.parquet follows"),
        (_first("challenger", lambda answer: "nowhere"), "does not stand in the context"),
        (lambda frame: frame.drop(columns="champion:score"), "no scores of the champion"),
    ],
}


@pytest.mark.parametrize("problem", OTHERS)
def test_edited_answers_register_nothing(story: Callable[[Problem], Story], problem: Problem) -> None:
    told = story(problem)
    challenger, champion = told.model("new", 0.95), told.model("old one", 0.7)
    told.evaluate(challenger, champion)
    path = told.evaluation / "predictions.parquet"
    answered = pd.read_parquet(path)
    policy = read_policy(told.policy, task_named(told.manifest.task))
    for edit, message in EDITS[problem]:
        edit(answered).to_parquet(path, index=False)
        write_json(told.evaluation / "verdict.json", draft_verdict(told.evaluation, policy, told.policy))
        with pytest.raises(InputError, match=message):
            told.register(challenger)
    assert told.registry == []
