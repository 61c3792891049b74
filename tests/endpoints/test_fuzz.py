"""Whatever it is sent, the scoring script answers it or says what is wrong; `make fuzz` asks the real server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from problem_data import PAIRS
from request_bodies import Asked, bodies, complaint
from support import load_score

COLUMNS = {"text": ("text",), PAIRS: ("text", "text_pair"), "answer_spans": ("question", "context")}


@pytest.mark.parametrize("kind", COLUMNS)
def test_any_body_is_answered_or_refused_with_the_reason(
    kind: str, trained_model: Path, trained_problem: Callable[[str], Path]
) -> None:
    score = load_score(trained_model if kind == "text" else trained_problem(kind) / "model")

    # The same bodies in every run: a failure is the change's, and not chance.
    @settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(COLUMNS[kind]))
    def check(asked: Asked) -> None:
        try:
            given = asked.content.decode()
        except UnicodeDecodeError:
            given = asked.content  # the server refuses such a body itself
        answer = score.run(given)
        status, content = (200, json.dumps(answer).encode()) if isinstance(answer, list) else _read(answer)
        assert complaint(asked, status, content) is None

    check()


def _read(response) -> tuple[int, bytes]:
    return response.status_code, response.get_data()


@pytest.mark.parametrize(
    ("asked", "status", "content", "said"),
    [
        (Asked(b"", 2), 200, b"[{}]", "expected 2 rows"),
        (Asked(b"", None), 200, b"[]", "expected None rows"),
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
