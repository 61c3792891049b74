"""Holds a script's arguments against a command line: argparse itself says what does not fit."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from amlocal.lint.script.arguments import Argument, Interface
from amlocal.lint.script.shell import Word
from amlocal.reader.expressions import Reference

_PLACEHOLDER = "\ue000"
_VALUE_ERROR = re.compile(r"argument (\S+): (invalid .*)", re.DOTALL)
_NEGATIVE = re.compile(r"-\d+$|-\d*\.\d+$")


@dataclass(frozen=True)
class Misfit:
    """One thing that does not fit.

    Attributes:
        kind: "unknown", "value", "missing" or "usage"; "allowed" for a value that may be given and would not fit.
        word: the word of the command it is about, if it is about one.
        text: the argument's name, or argparse's message.
    """

    kind: str
    word: Word | None
    text: str


class _Refusal(Exception):
    """What argparse says before it would exit."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Refusal(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise _Refusal("")


class _AnyOf(tuple[Any, ...]):
    """Choices that a value not known yet is among."""

    def __contains__(self, value: object) -> bool:
        return (isinstance(value, str) and _PLACEHOLDER in value) or super().__contains__(value)


def misfits_of(
    interface: Interface, words: Sequence[Word], values: Mapping[Reference, str], several: Set[Reference] = frozenset()
) -> Iterator[Misfit]:
    """Find what of a command line a script would refuse.

    Args:
        interface: what the script takes.
        words: what it is given.
        values: the values of references that are plain values; others fit everything.
        several: references to text, which may hold several arguments where it is given as one of its own.
    """
    words = [replace(word, dynamic=True) if _names_file(word, interface) else word for word in words]
    unknown, whole = _unknown(interface, words, several)
    yield from unknown
    dynamic = not whole or any(word.dynamic for word in words)
    texts = [_unseen(word.text) if word.dynamic else word.filled(dict(values)) for word in words]
    flags = {name for argument in interface.arguments for name in argument.names if argument.takes_value}
    while True:
        message = _refused(_parser(interface, required=False), texts)
        match = _VALUE_ERROR.match(message or "")
        index = _culprit(match, words, texts, interface) if match else None
        if match is None or index is None:
            break
        # Of what a word that is not seen moves about, only a flag's own value is certain.
        if not dynamic or texts[index].partition("=")[0] in flags or (index and words[index - 1].text in flags):
            yield Misfit("value", words[index], f"{match[1]}: {match[2]}")
        texts[index] = _PLACEHOLDER
    if message and not dynamic and ("expected" in message or "ambiguous" in message):
        name = message.removeprefix("argument ").split(":")[0].split("/")[-1]
        word = next((word for word in words if word.text.split("=")[0] == name), None)
        yield Misfit("usage", word, message)
    elif interface.certain and not dynamic:
        kept = [text for text, word in zip(texts, words, strict=True) if not word.optional]
        message = _refused(_parser(interface, required=True), kept) or ""
        _, found, names = message.partition("arguments are required: ")
        if found:
            for name in names.split(", "):
                yield Misfit("missing", None, name)


def _names_file(word: Word, interface: Interface) -> bool:
    """Tell whether the script may take a word for a file with more arguments in it."""
    return bool(interface.file_prefixes) and word.text.startswith((*interface.file_prefixes, _PLACEHOLDER))


def _unseen(text: str) -> str:
    """Stand in for what the shell or a file puts in the place of a word; a flag with ``=`` stays."""
    flag, equals, _ = text.partition("=")
    return f"{flag}={_PLACEHOLDER}" if equals and flag.startswith("-") and "$" not in flag else _PLACEHOLDER


def _unknown(interface: Interface, words: Sequence[Word], several: Set[Reference]) -> tuple[list[Misfit], bool]:
    """Find the words that no argument takes; the second value is False when some word may be several."""
    found: list[Misfit] = []
    try:
        _, left = _parser(interface, required=False, plain=True).parse_known_args([word.text for word in words])
    except _Refusal:
        return found, True
    flags = {name for argument in interface.arguments for name in argument.names if not argument.takes_value}
    position = 0
    before_unknown = False
    for text in left:
        while position < len(words) and words[position].text != text:
            position += 1
            before_unknown = False
        word = words[position] if position < len(words) else None
        if word is None or word.dynamic or (not word.text.startswith("-") and several & set(word.references)):
            return found, False
        if text.startswith("-") and text != "--" and not _NEGATIVE.match(text):
            found.append(Misfit("unknown", word, word.shown().partition("=")[0]))
            before_unknown = True
        elif not before_unknown:
            previous = words[position - 1].text if position else ""
            if previous in flags:
                found.append(Misfit("usage", words[position - 1], f"{previous} takes no value, found {word.shown()!r}"))
            elif not any(argument.positional for argument in interface.arguments):
                found.append(Misfit("unknown", word, word.shown()))
        position += 1
    return found, True


def _culprit(match: re.Match[str], words: Sequence[Word], texts: Sequence[str], interface: Interface) -> int | None:
    """Find the word that argparse refuses: the value behind the flag that it names."""
    names = match[1].split("/")
    found = re.search(r"(?:value|choice): '?(.*?)'?(?: \(choose from.*)?$", match[2], re.DOTALL)
    value = found[1] if found else None
    for index, text in enumerate(texts):
        flag, equals, given = text.partition("=")
        if equals and given == value and flag in names:
            return index
        if text == value and (index == 0 or any(texts[at] in names for at in range(index)) or not _flagged(names)):
            return index
    return None


def _flagged(names: Sequence[str]) -> bool:
    return any(name.startswith("-") for name in names)


def _refused(parser: _Parser, texts: Sequence[str]) -> str | None:
    try:
        parser.parse_known_args(list(texts))
    except _Refusal as refusal:
        return str(refusal)
    return None


def _parser(interface: Interface, required: bool, plain: bool = False) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=interface.abbreviations, prog="script", conflict_handler="resolve")
    parser.add_argument("-h", "--help", action="store_true")
    for argument in interface.arguments:
        try:
            parser.add_argument(*argument.names, **_options(argument, required, plain))
        # Options that do not go together, or the same positional twice.
        except (argparse.ArgumentError, ValueError, TypeError):
            continue
    return parser


def _options(argument: Argument, required: bool, plain: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"action": argument.action}
    if argument.action in {"store_const", "append_const"}:
        options["const"] = True
    if argument.action == "version":
        options["version"] = ""
    if argument.takes_value and argument.action != "version":
        nargs: int | str | None = argument.nargs
        if argument.positional and not (required and argument.required):
            nargs = {None: "?", "?": "?", "...": "..."}.get(str(nargs) if nargs else None, "*")
        options["nargs"] = nargs
        if not plain:
            options["type"] = _converter(argument.type)
            if argument.choices:
                options["choices"] = _AnyOf(argument.choices)
    if not argument.positional:
        options["required"] = required and argument.required
    return options


def _converter(kind: str | None) -> Any:
    convert = {"int": int, "float": float}.get(kind or "")

    def read(text: str) -> Any:
        return text if convert is None or _PLACEHOLDER in text else convert(text)

    read.__name__ = kind or "str"
    return read
