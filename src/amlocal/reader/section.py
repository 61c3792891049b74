"""Reading one mapping, so that no key of it goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from amlocal.reader.assets import Assets, NoAssets, UriMapping
from amlocal.reader.expressions import ExpressionError, Template, parse
from amlocal.reader.source import Located, Place, Problem, UnreadableError, plain

T = TypeVar("T")

RECORDED = ("id", "creation_context", "status", "log_files", "parameters", "parent_job_name", "auto_delete_setting")
"""What the service writes into a definition that is shown or downloaded (azure-ai-ml's ``dump_only`` fields)."""


@dataclass
class Report:
    """What reading a job may ask, and what it found besides the job.

    Attributes:
        assets: where registered assets and datastores are looked up.
        mappings: local paths that stand in for addresses,
        used_mappings: and the URIs of those that did.
        problems: what makes it unfit to run.
        unresolved: what it names that is not on this machine.
        ignored: settings without a meaning on one machine, with the first place of each.
    """

    assets: Assets = field(default_factory=NoAssets)
    mappings: tuple[UriMapping, ...] = ()
    used_mappings: set[str] = field(default_factory=set)
    unresolved: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ignored: dict[str, Place] = field(default_factory=dict)

    def problem(self, place: Place, rule: str, message: str) -> None:
        """Note a problem and go on reading."""
        self.problems.append(Problem(place, rule, message))

    def unresolve(self, place: Place, rule: str, message: str) -> None:
        """Note something that is not on this machine, and go on reading."""
        self.unresolved.append(Problem(place, rule, message))

    def ignore(self, setting: str, place: Place) -> None:
        """Note that a setting has no effect here."""
        self.ignored.setdefault(setting, place)


def template(node: Located, text: str, rule: str = "expression") -> Template:
    """Parse an expression, with errors that name its place.

    Raises:
        UnreadableError: when the text is no valid template.
    """
    try:
        return parse(text)
    except ExpressionError as error:
        line_offset = text.count("\n", 0, error.offset)
        # A block scalar starts on the line after its key; its first line holds the first character.
        block = 1 if "\n" in text else 0
        place = Place(node.place.file, node.place.line + line_offset + block, node.place.option)
        raise UnreadableError(place, rule, str(error)) from None


class Section:
    """One mapping; keys are taken one by one and ``finish`` reports those that nobody took.

    Attributes:
        readable: False when a part of it could not be read; what that was is in the report.
    """

    def __init__(self, node: Located, what: str, report: Report) -> None:
        if node.value is not None and not isinstance(node.value, dict):
            raise UnreadableError(node.place, "type", f"{what} must be a mapping, found {plain(node)!r}")
        self.place = node.place
        self.what = what
        self.report = report
        self.readable = True
        self._left: dict[str, Located] = dict(node.value or {})
        self._known: list[str] = []

    def take(self, key: str) -> Located | None:
        """Take a value; None when absent or stated as null."""
        self._known.append(key)
        node = self._left.pop(key, None)
        return None if node is None or node.value is None else node

    def require(self, key: str, siblings: Iterable[str] = ()) -> Located:
        """Take a value that must be there.

        Args:
            key: its key.
            siblings: keys that are taken later, and are no misspelling of this one.
        """
        node = self.take(key)
        if node is None:
            unknown = [name for name in self._left if name not in siblings]
            typo = next(iter(get_close_matches(key, unknown, n=1, cutoff=0.5 if siblings else 0.75)), None)
            if typo is not None:
                message = f"{self.what} has no key {typo!r}; did you mean {key!r}?"
                raise UnreadableError(self._left.pop(typo).place, "unknown-key", message)
            raise UnreadableError(self.place, "required", f"{self.what} needs {key!r}")
        return node

    def has(self, key: str) -> bool:
        """Tell whether a key is still there, without taking it."""
        return key in self._left

    def look(self, key: str) -> Located | None:
        """Give a value without taking it."""
        return self._left.get(key)

    def texts(self, key: str) -> Iterator[str]:
        """Give every text below a key, without taking it."""
        if key in self._left:
            yield from _texts(self._left[key])

    def section(self, key: str, what: str | None = None) -> Section:
        """Take a mapping; an absent one is empty."""
        node = self.take(key) or Located(None, self.place)
        return Section(node, what or f"{self.what} {key}", self.report)

    def entries(self, key: str) -> dict[str, Located]:
        """Take a mapping whose keys are names of the author's own."""
        node = self.take(key)
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            message = f"{self.what} {key} must be a mapping, found {plain(node)!r}"
            raise UnreadableError(node.place, "type", message)
        return dict(node.value)

    def drop_empty(self, *keys: str) -> None:
        """Leave out the entries of these mappings that state nothing."""
        for key in keys:
            node = self._left.get(key)
            if node is not None and isinstance(node.value, dict):
                stated = {name: child for name, child in node.value.items() if child.value is not None}
                self._left[key] = Located(stated, node.place)

    def each(self, key: str, read: Callable[[str, Located], T], instead: Callable[[str, Located], T]) -> dict[str, T]:
        """Take a mapping and read its entries; one that cannot be read is noted and replaced.

        Args:
            key: the mapping.
            read: reads an entry, given its name and value.
            instead: what stands in for an entry that cannot be read, so that nothing is reported twice.
        """
        result: dict[str, T] = {}
        entries = self.attempt(lambda: self.entries(key)) or {}
        for name, node in entries.items():
            try:
                result[name] = read(name, node)
            except UnreadableError as error:
                self.failed(error)
                result[name] = instead(name, node)
        return result

    def attempt(self, read: Callable[[], T]) -> T | None:
        """Read a part; when it cannot be read, note the problem and go on with None."""
        try:
            return read()
        except UnreadableError as error:
            self.failed(error)
            return None

    def failed(self, error: UnreadableError) -> None:
        """Note that a part could not be read."""
        self.report.problems.append(error.problem)
        self.readable = False

    def items(self, key: str) -> list[Located]:
        """Take a list; an absent one is empty."""
        node = self.take(key)
        if node is None:
            return []
        if not isinstance(node.value, list):
            raise UnreadableError(node.place, "type", f"{key} must be a list, found {plain(node)!r}")
        return node.value

    def text(self, key: str) -> str | None:
        """Take a text; other scalars are turned into text as azure-ai-ml does."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node.value, (dict, list)):
            raise UnreadableError(node.place, "type", f"{key} must be text, found {plain(node)!r}")
        return str(node.value)

    def boolean(self, key: str, default: bool = False) -> bool:
        """Take a boolean, also one written as text."""
        node = self.take(key)
        if node is None:
            return default
        value = {"true": True, "false": False}.get(str(node.value).lower())
        if value is None:
            raise UnreadableError(node.place, "type", f"{key} must be true or false, found {plain(node)!r}")
        return value

    def integer(self, key: str, minimum: int | None = None) -> int | None:
        """Take a whole number, also one written as text."""
        node = self.take(key)
        if node is None:
            return None
        value = as_number(node, key)
        if value != int(value):
            raise UnreadableError(node.place, "type", f"{key} must be a whole number, found {value!r}")
        if minimum is not None and value < minimum:
            raise UnreadableError(node.place, "range", f"{key} must be at least {minimum}, found {int(value)}")
        return int(value)

    def number(self, key: str) -> float | None:
        """Take a number, also one written as text (YAML 1.1 reads ``1e-3`` as text)."""
        node = self.take(key)
        if node is None:
            return None
        return as_number(node, key)

    def ignore(self, *keys: str, prefix: str = "") -> None:
        """Take keys that have no meaning on one machine."""
        for key in keys:
            node = self.take(key)
            if node is not None:
                self.report.ignore(prefix + key, node.place)

    def skip(self, *keys: str) -> None:
        """Take keys that describe and change nothing (descriptions, tags)."""
        for key in keys:
            self.take(key)

    def skip_rest(self) -> None:
        """Take every key that is left, where nobody can say what belongs there."""
        self._left.clear()

    def finish(self) -> None:
        """Report every key that was not taken."""
        for key, node in self._left.items():
            message = f"{self.what} has no key {key!r}; {suggestion(key, self._known)}"
            self.report.problem(node.place, "unknown-key", message)
            self.readable = False


def suggestion(found: str, known: Iterable[str]) -> str:
    """Say what was probably meant, else what there is."""
    names = sorted(set(known))
    close = get_close_matches(found, names, n=1, cutoff=0.75)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"


def as_number(node: Located, what: str) -> float:
    """Read a finite number.

    Raises:
        UnreadableError: when it is none.
    """
    value: Any = node.value
    try:
        if isinstance(value, (bool, dict, list)):
            raise ValueError
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError
    except (TypeError, ValueError):
        raise UnreadableError(node.place, "type", f"{what} must be a number, found {plain(node)!r}") from None
    return int(number) if isinstance(value, int) else number


def _texts(node: Located) -> Iterator[str]:
    if isinstance(node.value, str):
        yield node.value
    elif isinstance(node.value, (dict, list)):
        for child in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from _texts(child)
