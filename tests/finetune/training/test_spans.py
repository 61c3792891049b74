"""An answer is read from windows alike by training and by the model's own script."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import finetune.tasks
from finetune.data import encoders, tokenise
from finetune.training import spans

CONTEXT = "one two three four five six seven eight nine ten"
PLACES = np.array([(start, start + len(word)) for word in CONTEXT.split() for start in [CONTEXT.index(word)]])


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(finetune.tasks.__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def window(best: dict[int, float], ends: dict[int, float], first: int = 0, last: int = 10):
    """Return a window with a question of two tokens before the context's."""
    starts, closes = np.zeros(last - first + 2), np.zeros(last - first + 2)
    for token, logit in best.items():
        starts[token - first + 2] = logit
    for token, logit in ends.items():
        closes[token - first + 2] = logit
    return starts, closes, np.concatenate([np.full((2, 2), -1), PLACES[first:last]])


@pytest.mark.parametrize("read", [spans.best_span, script("answer_model").best_span])
def test_the_likeliest_span_wins(read) -> None:
    start, end, score = read([window({2: 5.0}, {3: 5.0})], CONTEXT)
    assert CONTEXT[start:end] == "three four"
    assert 0.9 < score < 1
    # An end before the start is no span; the question is no answer.
    backwards = window({6: 5.0}, {3: 5.0, 7: 1.0})
    backwards[0][0] = backwards[1][0] = 50.0
    start, end, _ = read([backwards], CONTEXT)
    assert CONTEXT[start:end] == "seven eight"
    # The window that is surer says it, and a span that two windows hold counts once.
    start, end, _ = read([window({1: 2.0}, {1: 2.0}, 0, 6), window({7: 3.0}, {7: 3.0}, 4, 10)], CONTEXT)
    assert CONTEXT[start:end] == "eight"
    once = read([window({5: 9.0}, {5: 9.0})], CONTEXT)
    assert read([window({5: 9.0}, {5: 9.0})] * 2, CONTEXT) == once
    assert read([], CONTEXT) == (0, 0, 0.0)


def test_answers_have_at_most_thirty_tokens() -> None:
    words = " ".join(f"w{i:02}" for i in range(50))
    places = np.array([(4 * i, 4 * i + 3) for i in range(50)])
    starts, ends = np.zeros(50), np.zeros(50)
    starts[0], ends[29], ends[30] = 9.0, 8.0, 9.0
    start, end, _ = spans.best_span([(starts, ends, places)], words)
    assert len(words[start:end].split()) == 30


def test_both_read_the_same_from_any_logits() -> None:
    other = script("answer_model").best_span
    chance = np.random.default_rng(0)
    for _ in range(50):
        windows = []
        for _ in range(int(chance.integers(1, 4))):
            first = int(chance.integers(0, 5))
            starts, ends, places = window({}, {}, first, int(chance.integers(first + 1, 11)))
            windows.append((chance.normal(size=len(starts)), chance.normal(size=len(ends)), places))
        assert spans.best_span(windows, CONTEXT) == other(windows, CONTEXT)


def test_words_find_their_first_tokens_alike() -> None:
    other = script("token_model").first_tokens
    words = ["EU", "rejects", "U.S.", "call"]
    # EU | re jects | " U" . S . | space alone | nothing of the last word.
    offsets = [(0, 0), (0, 2), (3, 5), (5, 10), (10, 12), (12, 13), (13, 14), (14, 15), (15, 16), (0, 0)]
    assert encoders.first_tokens(words, offsets).tolist() == other(words, offsets).tolist() == [1, 2, 4, -1]


def test_questions_are_cut_alike(tiny_checkpoint: Path) -> None:
    tokenizer = tokenise.load_tokenizer(tiny_checkpoint)
    other = script("answer_model").cut_question
    for question in ("", "my order", "my  order is late the parcel was not charged money day"):
        cut = tokenise.cut_question(question, tokenizer, 32)
        assert cut == other(question, tokenizer, 32)
        assert len(cut.split()) <= 8
