from collections import Counter

import pytest


@pytest.fixture(scope="module")
def fuzz(benchmark):
    return benchmark("fuzz")


def states(fuzz, **last):
    same = {"processes": frozenset({1, 2, 3}), "threads": 9, "files": 20}
    return [
        fuzz.State(**same, megabytes=400.0),
        fuzz.State(**same, megabytes=500.0),
        fuzz.State(**{**same, "megabytes": 620.0, **last}),
    ]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, []),
        ({"processes": frozenset({1, 3, 4})}, ["processes were [1, 2, 3] and are [1, 3, 4]"]),
        ({"threads": 10}, ["threads were 9 and are 10"]),
        ({"files": 21}, ["files were 20 and are 21"]),
        ({"megabytes": 630.0}, ["a worker grew by 65.0 MiB after the first 1000; expected at most 64"]),
    ],
)
def test_what_has_changed_is_said(fuzz, last: dict, said: list[str]) -> None:
    assert fuzz.changes(states(fuzz, **last)) == said


class Refusing:
    """A server that refuses everything, the tenth time without a word."""

    def __init__(self, fuzz) -> None:
        self.fuzz, self.asked = fuzz, 0

    def ask(self, body: bytes, headers: dict, timeout: float):
        self.asked += 1
        if self.asked == 10:
            raise ConnectionResetError("gone")
        return self.fuzz.scoring.Answer(400, b"HTTP/1.1 400", b'{"error": "the body is not right"}')


def test_every_answer_is_looked_at_and_as_many_bodies_are_sent_as_asked_for(fuzz, tmp_path) -> None:
    found, server = fuzz.Found(), Refusing(fuzz)
    fuzz.send(server, ("text",), 60, 1, found, tmp_path)
    assert (found.sent, server.asked) == (60, 60)
    assert found.statuses == Counter({400: 59, 0: 1})
    assert any("ConnectionResetError" in said for said in found.complaints)
    good = [said for said in found.complaints if "a good request got status 400" in said]
    assert len(good) > 5
    assert len(list(tmp_path.glob("wrong-*.body"))) == len(found.complaints)
