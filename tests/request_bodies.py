"""Request bodies that a scoring script may meet, good and bad, by chance: what hypothesis draws from."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from support import WORDS


@dataclass(frozen=True)
class Asked:
    """A request's body."""

    content: bytes
    rows: int | None
    """How many rows have to be answered; 0 where it has to be refused; None where either is right."""


MOST_ROWS, MOST_CHARACTERS, MOST_TOGETHER = 1000, 100_000, 1_000_000
"""What score.py takes."""
_COLUMN_NAMES = ("text", "text_pair", "question", "context", "Text", "label", "index", "", "\x00", "__class__", "0")


def bodies(columns: Sequence[str]) -> st.SearchStrategy[Asked]:
    """Draw bodies for a model of these input columns: good ones, nearly good ones, and anything else."""
    good = _good(columns).map(lambda data: _asked({"input_data": data}, len(_rows_of(data))))
    any_input = _values().map(lambda value: {"input_data": value})
    any_data = _values().map(lambda value: {"input_data": {"columns": list(columns), "data": value}})
    odd = st.one_of(_near(columns), any_input, any_data, _values())
    return st.one_of(
        good, good.flatmap(_spoilt), odd.map(_asked), odd.map(_asked), _raw(columns), _deep(), _beyond(columns)
    )


def texts() -> st.SearchStrategy[str]:
    """Draw texts that have to be answered: any characters but half ones, none to very many."""
    return st.one_of(
        st.text(max_size=80),
        st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),
        st.sampled_from(
            ["", " ", "\t\n", "\x00", "\ufeff", "\u200b" * 9, "\u202eabc", "e\u0301" * 50, "🙂‍↔️", "İ" * 30, "[SEP]"]
        ),
        st.tuples(st.sampled_from(["a", "ab ", "\x00", "漢", "🙂 ", "\u0300", " ", "."]), st.integers(1, 3000)).map(
            lambda drawn: drawn[0] * drawn[1]
        ),
    )


def _good(columns: Sequence[str]) -> st.SearchStrategy[Any]:
    rows = st.lists(st.fixed_dictionaries(dict.fromkeys(columns, texts())), min_size=1, max_size=5)
    # The order of the columns is the caller's.
    frame = st.tuples(st.permutations(list(columns)), rows).map(
        lambda drawn: {"columns": drawn[0], "data": [[row[name] for name in drawn[0]] for row in drawn[1]]}
    )
    named = st.one_of(rows, frame)
    return named if len(columns) > 1 else st.one_of(named, st.lists(texts(), min_size=1, max_size=5))


def _rows_of(data: Any) -> Sequence[Any]:
    return data["data"] if isinstance(data, dict) else data


def _near(columns: Sequence[str]) -> st.SearchStrategy[Any]:
    """Draw bodies of the right outline with something else in one of its places."""
    odd = st.one_of(_values(), st.text(st.characters(categories=["Cs", "Lu", "Nd"]), min_size=1, max_size=4))
    names = st.lists(st.one_of(st.sampled_from(_COLUMN_NAMES), st.sampled_from(list(columns)), _scalars()), max_size=4)
    row = st.one_of(
        st.fixed_dictionaries(dict.fromkeys(columns, st.one_of(texts(), odd))),
        st.dictionaries(st.sampled_from([*_COLUMN_NAMES, *columns]), texts(), max_size=4),
        texts(),
        odd,
    )
    frame = st.fixed_dictionaries(
        {"columns": st.one_of(names, st.just(list(columns)), odd)},
        optional={
            "data": st.one_of(st.lists(st.lists(st.one_of(texts(), odd), max_size=4), max_size=4), odd),
            "index": odd,
            "dtypes": odd,
        },
    )
    return st.fixed_dictionaries(
        {"input_data": st.one_of(st.lists(row, max_size=4), frame)}, optional={"params": odd, "method": odd}
    )


def _scalars() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(10**30, 10**40),
        st.floats(),
        st.text(max_size=20),
        # Halves of characters that only stand in pairs.
        st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3),
    )


def _values() -> st.SearchStrategy[Any]:
    """Draw any JSON, NaN and infinite numbers among it."""
    keys = st.one_of(st.sampled_from([*_COLUMN_NAMES, "columns", "data", "input_data"]), st.text(max_size=5))
    return st.recursive(
        _scalars(),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
        max_leaves=8,
    )


def _raw(columns: Sequence[str]) -> st.SearchStrategy[Asked]:
    """Draw bytes that are no JSON, or hardly: broken, other encodings, numbers without end."""
    numbers = st.one_of(
        st.integers(1, 6000).map(lambda digits: "9" * digits),
        st.sampled_from(["1e999999", "-1E400", "NaN", "-Infinity", "0" * 50, "-0", "1.", ".5", "0x1", "1_0", "１"]),
    )
    row = "".join(f'"{name}":%s,' for name in columns).rstrip(",")
    encoding = st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"])
    return st.one_of(
        st.binary(max_size=200),
        numbers.map(str.encode),
        numbers.map(lambda number: ('{"input_data":[{' + row.replace("%s", number) + "}]}").encode()),
        encoding.map(lambda name: json.dumps({"input_data": [dict.fromkeys(columns, "a")]}).encode(name)),
        st.sampled_from(
            [b"", b" ", b"null", b'""', b'"', b"{}", b"[]", b"\xef\xbb\xbf", b"\x00" * 100, b"input_data=a"]
        ),
    ).map(lambda content: Asked(content, None))


def _deep() -> st.SearchStrategy[Asked]:
    depth = st.one_of(st.integers(850, 1100), st.sampled_from([10, 10_000, 200_000]))
    return st.tuples(depth, st.sampled_from(_NESTED)).map(lambda drawn: Asked(drawn[1](drawn[0]), 0))


_NESTED: tuple[Callable[[int], bytes], ...] = (
    lambda depth: b"[" * depth,
    lambda depth: b'{"a":' * depth,
    lambda depth: b'{"input_data":' + b"[" * depth + b"]" * depth + b"}",
    lambda depth: b'{"input_data":' + b'{"input_data":' * depth + b"1" + b"}" * depth + b"}",
    lambda depth: b'{"input_data":{"columns":[' + b"[" * depth + b"]" * depth + b'],"data":[["a"]]}}',
    lambda depth: b'{"input_data":[{"text":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]}",
)
"""Depth → a body; at some depths it can just be read, and what is done with it then must not go deeper."""


def _beyond(columns: Sequence[str]) -> st.SearchStrategy[Asked]:
    """Draw bodies at the limits and beyond: rows, characters of a text, characters together."""

    def body(rows: int, characters: int, piece: str = "a") -> Asked:
        row = dict.fromkeys(columns, (piece * characters)[:characters])
        # Rows that are answered cost what they have in them, and some thousand bodies are to be sent.
        fits = rows <= MOST_ROWS and characters <= MOST_CHARACTERS and rows * characters * len(columns) <= MOST_TOGETHER
        return _asked({"input_data": [row] * rows}, rows if fits else 0)

    most = st.sampled_from([MOST_ROWS, MOST_ROWS + 1, 5000]).map(lambda rows: body(rows, 1))
    longest = st.sampled_from([MOST_CHARACTERS, MOST_CHARACTERS + 1, 300_000]).map(
        lambda characters: body(1, characters)
    )
    together = st.sampled_from([11, 40]).map(lambda rows: body(rows, MOST_CHARACTERS))
    # More tokens than models take, in as many rows as they take at once.
    widest = st.sampled_from([1, 8, 32]).map(lambda rows: body(rows, 2000, "my order "))
    # One in five: the largest of them take a second.
    rare = st.integers(0, 4).flatmap(
        lambda drawn: st.one_of(most, longest, together, widest) if drawn == 0 else st.none()
    )
    small = st.integers(0, 40).map(lambda rows: body(rows, 3) if rows else _asked({"input_data": []}, 0))
    return st.tuples(rare, small).map(lambda drawn: drawn[0] or drawn[1])


def _spoilt(good: Asked) -> st.SearchStrategy[Asked]:
    """Draw a body with a piece cut off, taken out, doubled, or other bytes in it."""
    content = good.content

    def spoil(seed: int) -> Asked:
        chance = random.Random(seed)
        start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        piece = content[start:end]
        changed = chance.choice(
            [b"", piece[:1], piece * 2, chance.randbytes(3), b'"', b"\\", b"\\ud800", b"}", b"\xff"]
        )
        return Asked(content[:start] + changed + content[end:], None)

    return st.integers(0, 2**32).map(spoil)


def _asked(body: Any, rows: int | None = None) -> Asked:
    return Asked(json.dumps(body).encode(), rows)


def complaint(asked: Asked, status: int, content: bytes) -> str | None:
    """Return what is wrong with an answer; None for one that is as it should be."""
    shown = content[:300]
    if b"Traceback" in content or b'File \\"' in content or b'File "' in content:
        return f"shows where it went wrong: {shown!r}"
    try:
        said = json.loads(content, parse_constant=_no_number)
    except ValueError as error:
        return f"status {status}, and the answer is no JSON: {error}: {shown!r}"
    if status == 200:
        fits = isinstance(said, list) and said and asked.rows in (None, len(said))
        return None if fits else f"expected {asked.rows} rows, found {shown!r}"
    if asked.rows:
        return f"a good request got status {status}: {shown!r}"
    reason = (said.get("error") or said.get("message")) if isinstance(said, dict) else None
    if not 400 <= status < 500 or not isinstance(reason, str) or not reason.strip():
        return f"status {status} without a reason that is the caller's: {shown!r}"
    return None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
