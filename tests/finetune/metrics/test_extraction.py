import pytest

from finetune.metrics.extraction import exact_match, extraction_metrics, extraction_scores, normalised, word_f1


def test_case_punctuation_and_articles_do_not_count() -> None:
    assert normalised(" The  Denver-Broncos, a team. ") == "denverbroncos team"
    assert exact_match("the Broncos!", ["Panthers", "broncos"]) == 1.0
    assert exact_match("Denver Broncos", ["broncos"]) == 0.0


def test_the_nearest_accepted_answer_counts() -> None:
    assert word_f1("Denver Broncos", ["Carolina Panthers", "Broncos"]) == pytest.approx(2 / 3)
    assert word_f1("nothing", ["Broncos"]) == 0.0
    assert word_f1("", ["Broncos"]) == 0.0


def test_metrics_are_means_over_rows() -> None:
    scores = extraction_scores(["Broncos", "Denver Broncos"], [["Broncos"], ["Broncos"]])
    assert extraction_metrics(scores) == {"f1": pytest.approx((1 + 2 / 3) / 2), "exact_match": 0.5}
