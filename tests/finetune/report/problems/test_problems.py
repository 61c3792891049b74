"""The report of each problem: what its page and its brief say, and that texts stay texts."""

import json
import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from finetune.answers import Scored
from finetune.report.brief import render_brief
from finetune.report.facts import Facts
from finetune.report.page import render_page
from finetune.report.problems import REPORTS
from finetune.report.problems.answer_spans import length_masks, question_masks, question_word, wrong_answers
from finetune.report.problems.multi_label import frequent_mistakes, pairs_reliability, wrong_pairs
from finetune.report.problems.regression import large_errors, range_rows
from finetune.report.problems.token_labels import Piece, pieces, word_confusion, wrong_sentences
from finetune.tasks import PROBLEMS, Problem
from finetune.verdict import CHALLENGER, CHAMPION

MakeFacts = Callable[..., Facts]
OTHERS = [problem for problem in PROBLEMS if problem != "single_label"]
FIGURES: dict[Problem, list[str]] = {
    "multi_label": ["roc", "precision-recall", "reliability"],
    "regression": ["answers-challenger", "answers-champion", "residuals", "residual-ranges"],
    "token_labels": ["confusion-challenger", "confusion-champion"],
    "answer_spans": ["f1-distribution", "question-words", "context-lengths"],
}
NASTY = '<script>document.title="taken"</script>'


def test_every_problem_has_a_report() -> None:
    assert set(REPORTS) == set(PROBLEMS)


@pytest.mark.parametrize("problem", OTHERS)
def test_page_and_brief_say_what_metrics_and_verdict_say(make_problem_facts: MakeFacts, problem: Problem) -> None:
    facts = make_problem_facts(problem)
    assert facts.verdict["promoted"] is True
    page, brief = render_page(facts), render_brief(facts)
    for name in (CHALLENGER, CHAMPION):
        for value in facts.metrics["metrics"][name].values():
            assert f"{value:.4f}" in page
            assert f"{value:.4f}" in brief
    for row in facts.metrics["labels"]:
        assert f"{row['label']}</bdi></th><td>{row['support']}</td><td>{row['precision']:.4f}" in page
        assert f"| {row['label']} | {row['support']} | {row['precision']:.4f} |" in brief
    titles = re.findall(r'<title id="([a-z0-9-]+)-title">', page)
    assert titles[: len(FIGURES[problem]) + 1] == [*FIGURES[problem], "slices"]
    for target in re.findall(r'href="#([a-z]+)"', page):
        assert page.count(f'id="{target}"') == 1
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.encode()) < 1_000_000
    assert "For want of space" not in brief
    assert brief.startswith("## ✅ Promoted\n")
    assert facts.kind.baseline_name in brief


@pytest.mark.parametrize("problem", OTHERS)
def test_a_first_model_has_no_champion_to_show(make_problem_facts: MakeFacts, problem: Problem) -> None:
    facts = make_problem_facts(problem, champion=None)
    page = render_page(facts)
    assert "answers-champion" not in page
    assert "confusion-champion" not in page
    assert "with the bootstrap’s interval; without a measured champion the gate judges no slice" in page
    assert "Nothing serves at messages yet" in render_brief(facts)


@pytest.mark.parametrize("problem", OTHERS)
def test_texts_are_shown_and_not_obeyed(make_problem_facts: MakeFacts, problem: Problem) -> None:
    column = "question" if problem == "answer_spans" else "text"

    def nasty(frame: pd.DataFrame) -> pd.DataFrame:
        words = [text.split() for text in frame[column]]
        return frame.assign(**{column: [" ".join([NASTY, *found[1:]]) for found in words]})

    facts = make_problem_facts(problem, edit=nasty, skill=0.6)
    page, brief = render_page(facts), render_brief(facts)
    assert "<script" not in page + brief
    assert "&lt;script&gt;document.title=" in page
    assert "&#60;script&#62;" in brief


@pytest.mark.parametrize("problem", OTHERS)
def test_a_model_without_a_mistake(make_problem_facts: MakeFacts, problem: Problem) -> None:
    facts = make_problem_facts(problem, champion=None, skill=1.05 if problem == "regression" else 1.0)
    assert "None: every answer is right." in render_page(facts)
    assert "None: every answer is right." in render_brief(facts)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_without_a_row_nothing_is_shown_as_measured(make_problem_facts: MakeFacts, problem: Problem) -> None:
    facts = make_problem_facts(problem, champion=None, rows=30)
    kept = {
        **facts.metrics,
        "rows": 0,
        "labels": [{**row, "support": 0, "f1": None} for row in facts.metrics["labels"]],
    }
    empty = Facts(kept, facts.verdict, facts.manifest, facts.predictions[:0])
    assert "no row was measured" in render_page(empty).lower()
    assert "no row was measured" in render_brief(empty).lower()


def test_wrong_pairs_are_those_the_challenger_was_surest_of(make_problem_facts: MakeFacts) -> None:
    facts = make_problem_facts("multi_label")
    errors = wrong_pairs(facts, 10)
    sure = [abs(error.probability - 0.5) for error in errors]
    assert sure == sorted(sure, reverse=True)
    for error in errors:
        names = json.loads(facts.predictions["label"].iloc[error.row])
        given = json.loads(facts.predictions["challenger"].iloc[error.row])
        assert (error.label in names, error.label in given) == (error.there, not error.there)
    mistakes = frequent_mistakes(facts, facts.scored[CHALLENGER], 100)
    assert sum(count for _, _, count in mistakes) == len(wrong_pairs(facts, 10_000))


def test_calibration_of_labels_is_by_pairs() -> None:
    true = np.array([[True, False], [True, False], [False, False]])
    found = pairs_reliability(Scored((true, np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])), ("a", "b")))
    assert found is not None
    assert found.accuracy.tolist() == pytest.approx([0.0, 2 / 3])
    assert found.error == pytest.approx((0.1 + 0.9 - 2 / 3) / 2)


def test_errors_of_numbers_are_the_largest_and_ranges_hold_all_rows(make_problem_facts: MakeFacts) -> None:
    facts = make_problem_facts("regression")
    true, values = facts.scored[CHALLENGER].arrays
    found = large_errors(facts, 5)
    assert [abs(error.error) for error in found] == pytest.approx(sorted(np.abs(values - true), reverse=True)[:5])
    rows = range_rows(facts.scored[CHALLENGER], facts.scored[CHAMPION])
    assert sum(part.rows for part in rows) == len(true)
    assert all(before.high < after.low for before, after in pairwise(rows))
    mask = (true >= rows[0].low) & (true <= rows[0].high)
    assert rows[0].error == pytest.approx(np.abs(values - true)[mask].mean())
    assert rows[0].bias == pytest.approx((values - true)[mask].mean())
    same = range_rows(Scored((np.ones(4), np.zeros(4))), None)
    assert [(part.low, part.rows, part.champion_error) for part in same] == [(1.0, 4, None)]


def test_sentences_are_cut_into_entities() -> None:
    words = ["Anna", "Smith", "left", "New", "York", "today"]
    entities = {("PER", 0, 1), ("LOC", 3, 4)}
    assert pieces(words, entities, {("LOC", 3, 4)}, 0) == (
        Piece("Anna Smith", "PER"),
        Piece("left", None),
        Piece("New York", "LOC", wrong=True),
        Piece("today", None),
    )
    long = [f"w{i}" for i in range(100)]
    cut = pieces(long, {("PER", 50, 50)}, set(), 20)
    assert (cut[0].text, cut[1].text.split()[0], cut[-2].text.split()[-1], cut[-1].text) == ("…", "w20", "w79", "…")


def test_sentences_with_the_most_wrong_entities_come_first(make_problem_facts: MakeFacts) -> None:
    facts = make_problem_facts("token_labels")
    found = wrong_sentences(facts, 1000)
    counts = [error.missed + error.invented for error in found]
    assert counts == sorted(counts, reverse=True)
    right, answered, there = facts.scored[CHALLENGER].arrays[0].sum(axis=0)[:-2].reshape(-1, 3).sum(axis=0)
    assert (sum(error.missed for error in found), sum(error.invented for error in found)) == (
        there - right,
        answered - right,
    )
    matrix = word_confusion(facts, CHALLENGER)
    assert matrix.sum() == facts.scored[CHALLENGER].arrays[0][:, -1].sum()


def test_questions_are_told_apart_by_their_word() -> None:
    assert [question_word(text) for text in ("In what year?", "HOW many?", '"Who" is it', "Name it.")] == [
        *("what", "how", "who", "other")
    ]


def test_wrong_answers_are_the_farthest_first(make_problem_facts: MakeFacts) -> None:
    facts = make_problem_facts("answer_spans")
    f1 = facts.scored[CHALLENGER].arrays[0][:, 0]
    found = wrong_answers(facts, 1000)
    assert len(found) == (f1 < 1).sum()
    assert [error.f1 for error in found] == sorted(error.f1 for error in found)
    assert all(before.score >= after.score for before, after in pairwise(found) if before.f1 == after.f1)
    for masks in (question_masks(facts), length_masks(facts)):
        assert sum(mask.sum() for mask in masks.values()) == len(f1)
