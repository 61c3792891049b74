"""What holds of every kind of answers, on made-up ones; and what each refuses."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from answers_support import PRIMARY, answers, made_up
from scipy import stats
from seqeval.metrics import f1_score as entity_f1
from sklearn import metrics as sklearn

from finetune.answers import KINDS, Scored
from finetune.answers.test_rows import predictions_frame
from finetune.comparison import Answers, compare, compare_slices, interval, paired_test
from finetune.data.manifest import DatasetManifest
from finetune.errors import InputError
from finetune.metrics.known import SLICE_METRICS
from finetune.tasks import METRICS, PROBLEMS, Problem


def predictions(problem: Problem, rows: int = 120, new: float = 0.9, old: float = 0.7) -> pd.DataFrame:
    manifest, frame = made_up(problem, rows)
    given = {"challenger": answers(manifest, frame, new, 2), "champion": answers(manifest, frame, old, 3)}
    read = KINDS[problem].read
    return predictions_frame(
        frame, {name: read(found, frame, manifest, manifest.labels) for name, found in given.items()}
    )


def both(problem: Problem, rows: int = 120, new: float = 0.9, old: float = 0.7) -> Answers:
    manifest, _ = made_up(problem, rows)
    frame = predictions(problem, rows, new, old)
    return Answers(
        KINDS[problem], *(KINDS[problem].scored(frame, name, manifest) for name in ("challenger", "champion"))
    )


def test_every_problem_has_a_row() -> None:
    assert set(KINDS) == set(SLICE_METRICS) == set(PROBLEMS)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_answers_come_back_from_the_file_that_keeps_them(problem: Problem, tmp_path: Any) -> None:
    manifest, _ = made_up(problem)
    frame = predictions(problem)
    frame.to_parquet(tmp_path / "p.parquet", index=False)
    kept = pd.read_parquet(tmp_path / "p.parquet")
    kind = KINDS[problem]
    for model in ("challenger", "champion"):
        there, back = kind.scored(frame, model, manifest), kind.scored(kept, model, manifest)
        assert all(np.array_equal(left, right) for left, right in zip(there.arrays, back.arrays, strict=True))
    assert kind.metrics(kind.scored(kept, "challenger", manifest))[PRIMARY[problem]] > 0.5


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_metric_is_the_same_by_name_and_by_sums(problem: Problem) -> None:
    kind, scored = KINDS[problem], both(problem).challenger
    measured = kind.metrics(scored)
    assert set(measured) == set(METRICS[problem]) - ({"f1"} if problem == "single_label" else set())
    for name, value in measured.items():
        assert kind.metric(name, scored) == pytest.approx(value, abs=1e-9), name
    chance = np.random.default_rng(0)
    summed = {name: kind.by_sums(name, scored) for name in (*measured, SLICE_METRICS[problem])}
    assert any(found is not None for found in summed.values())
    for _ in range(20):
        drawn = chance.integers(0, len(scored), len(scored))
        for name, found in summed.items():
            if found is not None:
                value = kind.metric(name, scored.take(drawn))
                assert found.of(found.rows[drawn].sum(axis=0)) == pytest.approx(value, abs=1e-9), name


def test_a_positive_labels_f1_is_the_same_by_sums() -> None:
    chance = np.random.default_rng(0)
    scored = Scored((chance.integers(0, 2, 50), chance.dirichlet([1, 1], 50)), ("no", "yes"), 1)
    found = KINDS["single_label"].by_sums("f1", scored)
    assert found is not None
    expected = sklearn.f1_score(scored.arrays[0], scored.arrays[1].argmax(axis=1))
    assert found.of(found.rows.sum(axis=0)) == pytest.approx(expected)
    assert KINDS["single_label"].metric("f1", scored) == pytest.approx(expected)


def test_figures_are_those_of_the_libraries() -> None:
    frame = predictions("multi_label")
    manifest, _ = made_up("multi_label")
    true, given = (
        np.array([[name in json.loads(text) for name in manifest.labels] for text in frame[column]])
        for column in ("label", "challenger")
    )
    scored = both("multi_label").challenger
    assert KINDS["multi_label"].metrics(scored)["f1_macro"] == pytest.approx(
        sklearn.f1_score(true, given, average="macro")
    )
    probabilities = frame[[f"challenger:{name}" for name in manifest.labels]].to_numpy()
    area = sklearn.roc_auc_score(true, probabilities, average="weighted")
    assert KINDS["multi_label"].metric("auc_weighted", scored) == pytest.approx(area)

    frame = predictions("regression")
    found = KINDS["regression"].metrics(both("regression").challenger)
    assert found["pearson"] == pytest.approx(
        stats.pearsonr(frame["label"].astype(float), frame["challenger"]).statistic
    )
    assert found["r2"] == pytest.approx(sklearn.r2_score(frame["label"].astype(float), frame["challenger"]))

    frame = predictions("token_labels")
    tags = [[text.split() for text in frame[column]] for column in ("label", "challenger")]
    assert KINDS["token_labels"].metrics(both("token_labels").challenger)["f1"] == pytest.approx(entity_f1(*tags))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_better_model_is_told_from_a_worse_one(problem: Problem) -> None:
    answered = both(problem)
    found = compare(PRIMARY[problem], answered, 0.95)
    kind = KINDS[problem]
    new, old = (kind.metrics(scored)[PRIMARY[problem]] for scored in (answered.challenger, answered.champion))
    assert found.value == pytest.approx(new - old, abs=1e-9)
    assert 0 < found.low < found.value < found.high
    assert found == compare(PRIMARY[problem], answered, 0.95), "seeded"
    name, p_value = paired_test(PRIMARY[problem], answered)
    assert (name, p_value < 0.05) == ("paired permutation test", True)
    swapped = Answers(kind, answered.champion, answered.challenger)
    assert compare(PRIMARY[problem], swapped, 0.95).high == pytest.approx(-found.low)
    low, high = interval(PRIMARY[problem], kind, answered.challenger, 0.95)
    assert low < new < high


@pytest.mark.parametrize(("problem", "metric"), [("multi_label", "accuracy"), ("answer_spans", "exact_match")])
def test_shares_of_right_rows_are_tested_by_mcnemar(problem: Problem, metric: str) -> None:
    answered = both(problem)
    right = [KINDS[problem].right(metric, scored) for scored in (answered.challenger, answered.champion)]
    assert right[0] is not None
    assert right[0].mean() == pytest.approx(KINDS[problem].metric(metric, answered.challenger))
    gained, lost = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    expected = stats.binomtest(int(gained), int(gained + lost)).pvalue
    assert paired_test(metric, answered) == ("McNemar's exact test", pytest.approx(expected))
    assert KINDS["token_labels"].right("accuracy", both("token_labels").challenger) is None


def test_slices_of_numbers_are_compared_by_minus_the_mean_error() -> None:
    answered = both("regression")
    masks = {"first": np.arange(120) < 50, "one": np.arange(120) == 7}
    found = compare_slices("neg_mae", masks, answered, 0.95)
    errors = [np.abs(values - true) for true, values in (answered.challenger.arrays, answered.champion.arrays)]
    assert found["first"].value == pytest.approx(errors[1][:50].mean() - errors[0][:50].mean())
    assert found["first"].value > 0, "the challenger's error is smaller: more is better"
    assert found["one"].low < -1e300, "of one row nothing is known, and any margin is below"


def test_a_correlation_with_one_answer_to_everything_is_not_defined() -> None:
    kind = KINDS["regression"]
    scored = Scored((np.array([1.0, 2.0, 3.1]), np.array([0.1, 0.1, 0.1])))
    assert "pearson" not in kind.metrics(scored)
    for name in ("pearson", "spearman"):
        assert np.isnan(kind.metric(name, scored))
    summed = kind.by_sums("pearson", scored)
    assert summed is not None
    assert np.isnan(summed.of(summed.rows.sum(axis=0)))


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("single_label", {"mcc": 0.0}),
        ("multi_label", {"f1_micro": 0.0}),
        ("regression", {"r2": pytest.approx(0, abs=0.1)}),
        ("token_labels", {"f1": 0.0}),
        ("answer_spans", {"f1": 0.0, "exact_match": 0.0}),
    ],
)
def test_baselines_look_at_no_text(problem: Problem, expected: dict[str, float]) -> None:
    manifest, frame = made_up(problem)
    found = KINDS[problem].baseline(frame, manifest)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("problem", "rows"), [("token_labels", 3500), ("answer_spans", 10_000)])
def test_thousands_of_rows_are_compared_in_seconds(problem: Problem, rows: int) -> None:
    answered = both(problem, rows)
    started = time.process_time()
    compare("f1", answered, 0.95)
    paired_test("f1", answered)
    assert time.process_time() - started < 10


def _set(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what puts a value into the third row."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].tolist()
        values[2] = value
        return frame.assign(**{column: values})

    return edit


@pytest.mark.parametrize(
    ("problem", "edit", "message"),
    [
        ("single_label", _set("probabilities", [0.5, 0.6, 0.7]), "negative or do not sum to 1"),
        ("single_label", lambda frame: frame[1:], "not 120 × 3 finite numbers"),
        ("multi_label", _set("probabilities", [0.5, 0.6, float("nan"), 0.1]), "not 120 × 4 finite numbers"),
        ("multi_label", _set("probabilities", [0.5, 0.6, 1.7, 0.1]), "not between 0 and 1"),
        ("multi_label", _set("labels", ["anger", "fear", "joy", "trust", "anger"]), "to test row 2 it answers"),
        ("regression", _set("value", float("inf")), "not 120 finite numbers"),
        ("regression", lambda frame: frame[1:], "not 120 finite numbers"),
        ("token_labels", _set("tags", ["O"]), "1 tags for the .* words of test row 2"),
        ("token_labels", lambda frame: frame[1:], "it answers 119 rows; it was asked for 120"),
        ("answer_spans", _set("answer", "another"), "its answer to test row 2 is 'another'; from"),
        ("answer_spans", _set("end", 10_000), "lies from .* to 10000 of a context of"),
        ("answer_spans", _set("start", -1), "lies from -1"),
        ("answer_spans", _set("score", float("nan")), "scores are not 120 finite numbers"),
        ("answer_spans", lambda frame: frame[1:], "it answers 119 rows"),
    ],
)
def test_answers_that_are_none_are_refused(
    problem: Problem, edit: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    manifest, frame = made_up(problem)
    given = edit(answers(manifest, frame, 0.9)).reset_index(drop=True)
    with pytest.raises(InputError, match=message):
        KINDS[problem].read(given, frame, manifest, manifest.labels)


def test_a_tag_that_the_data_set_does_not_have_is_refused() -> None:
    manifest, frame = made_up("token_labels")
    given = answers(manifest, frame, 0.9)
    given.at[2, "tags"] = ["B-ORG", *given["tags"][2][1:]]
    with pytest.raises(InputError, match="'B-ORG' in test row 2 is none of the data set's tags"):
        KINDS["token_labels"].read(given, frame, manifest, manifest.labels)


@pytest.mark.parametrize("problem", ["single_label", "multi_label"])
def test_probabilities_in_another_order_are_lined_up(problem: Problem) -> None:
    manifest, frame = made_up(problem)
    given = answers(manifest, frame, 0.9)
    turned = given.assign(probabilities=[row[::-1] for row in given["probabilities"]])
    there = KINDS[problem].read(given, frame, manifest, manifest.labels)
    back = KINDS[problem].read(turned, frame, manifest, manifest.labels[::-1])
    assert list(there[""]) == list(back[""])
    assert back[f":{manifest.labels[0]}"] == pytest.approx(there[f":{manifest.labels[0]}"])


@pytest.mark.parametrize(
    ("problem", "edit", "message"),
    [
        ("multi_label", _set("challenger", '["joy", "trust", "anger"]'), "are not its labels of probability 0.5"),
        ("multi_label", _set("challenger:joy", 1.5), "not between 0 and 1"),
        ("multi_label", lambda frame: frame.drop(columns="challenger:joy"), "no probabilities of the challenger"),
        ("multi_label", _set("label", '["disgust"]'), "test row 2 has the label 'disgust'"),
        ("regression", _set("challenger", float("nan")), "not all finite numbers"),
        ("regression", _set("challenger", "high"), "the challenger's answers are no numbers"),
        ("token_labels", _set("challenger", "O O"), "the challenger's answers: 2 tags for the"),
        ("token_labels", lambda frame: frame.assign(challenger=frame["label"].str.replace("PER", "ORG")), "B-ORG"),
        ("answer_spans", _set("challenger", "nowhere"), "answer to test row 2 does not stand in the context"),
        ("answer_spans", lambda frame: frame.drop(columns="challenger:score"), "no scores of the challenger"),
        ("answer_spans", _set("challenger:score", float("nan")), "scores are not all finite"),
    ],
)
def test_kept_answers_that_are_none_are_refused(
    problem: Problem, edit: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    manifest, _ = made_up(problem)
    with pytest.raises(InputError, match=message):
        KINDS[problem].scored(edit(predictions(problem)), "challenger", manifest)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_row_is_no_figure(problem: Problem) -> None:
    manifest, frame = made_up(problem)
    kind = KINDS[problem]
    empty = predictions_frame(frame[:0], {"challenger": kind.empty(manifest)})
    scored = kind.scored(empty, "challenger", manifest)
    assert len(scored) == 0
    assert all(row["support"] == 0 and row["f1"] is None for row in kind.per_label(scored))


def test_names_without_rows_are_told() -> None:
    manifest: DatasetManifest
    manifest, frame = made_up("multi_label")
    assert KINDS["multi_label"].unmeasured(frame.assign(label='["joy"]'), manifest) == ("anger", "fear", "trust")
    manifest, frame = made_up("token_labels")
    tags = frame["label"].str.replace("B-LOC", "O").str.replace("I-LOC", "O")
    assert KINDS["token_labels"].unmeasured(frame.assign(label=tags), manifest) == ("LOC",)
    assert KINDS["token_labels"].unmeasured(frame, manifest) == ()
