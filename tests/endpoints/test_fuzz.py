"""Whatever it is sent, the scoring script answers it or says what is wrong; `make fuzz` asks the real server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from problem_data import PAIRS
from request_bodies import MOST_CHARACTERS, MOST_ROWS, MOST_TOGETHER, Asked, bodies, complaint
from support import load_score

COLUMNS = {"text": ("text",), PAIRS: ("text", "text_pair"), "answer_spans": ("question", "context")}


# The same bodies in every run: a failure is the change's, and not chance.
SAME = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", COLUMNS)
def test_any_body_is_answered_or_refused_with_the_reason(
    kind: str, trained_model: Path, trained_problem: Callable[[str], Path]
) -> None:
    score = load_score(trained_model if kind == "text" else trained_problem(kind) / "model")

    @settings(SAME, max_examples=100)
    @given(bodies(COLUMNS[kind]))
    def check(asked: Asked) -> None:
        answer = score.run(_received(asked))
        status, content = (200, json.dumps(answer).encode()) if isinstance(answer, list) else _read(answer)
        assert complaint(asked, status, content) is None

    check()


@pytest.mark.parametrize("kind", COLUMNS)
def test_what_is_let_through_is_rows_of_texts_within_the_limits(kind: str) -> None:
    score, columns = load_score(), COLUMNS[kind]

    @settings(SAME, max_examples=1000)
    @given(bodies(columns))
    def check(asked: Asked) -> None:
        rows, reason = [], ""
        try:
            rows = score.parse_request(_received(asked), list(columns))
        except score.RequestError as error:
            reason = str(error)
        if reason:
            assert (bool(asked.rows), len(reason) < 1000) == (False, True), reason
            return
        assert asked.rows in (None, len(rows))
        assert 0 < len(rows) <= MOST_ROWS
        assert all(set(row) == set(columns) for row in rows)
        texts = [text for row in rows for text in row.values()]
        assert sum(map(len, texts)) <= MOST_TOGETHER
        for text in texts:
            assert isinstance(text, str)
            assert len(text) <= MOST_CHARACTERS
            text.encode()  # no half characters

    check()


def _received(asked: Asked) -> str | bytes:
    """Return what the server hands on; it refuses a body that is no UTF-8 itself."""
    try:
        return asked.content.decode()
    except UnicodeDecodeError:
        return asked.content


def _read(response) -> tuple[int, bytes]:
    return response.status_code, response.get_data()


@pytest.mark.parametrize(
    ("asked", "status", "content", "said"),
    [
        (Asked(b"", 2), 200, b"[{}]", "expected 2 rows"),
        (Asked(b"", None), 200, b"[]", "expected None rows"),
        (Asked(b"", 0), 200, b"[{}]", "expected 0 rows"),
        (Asked(b"", None), 200, b"[NaN]", "no JSON: NaN is no number"),
        (Asked(b"", 1), 400, b'{"error": "no"}', "a good request got status 400"),
        (Asked(b"", None), 400, b'{"error": " "}', "without a reason"),
        (Asked(b"", None), 400, b"<html>", "no JSON"),
        (Asked(b"", None), 500, b'{"message": "went wrong"}', "status 500"),
        (Asked(b"", None), 400, b'{"error": "Traceback (most recent call last)"}', "shows where it went wrong"),
    ],
)
def test_what_is_wrong_with_an_answer_is_found(asked: Asked, status: int, content: bytes, said: str) -> None:
    assert said in str(complaint(asked, status, content))
