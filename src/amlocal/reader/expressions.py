"""Azure ML's data-binding expressions, as text in, text out.

A template is literal text with ``${{ … }}`` references and ``$[[ … ]]`` optional parts in it. Parsing
needs no job and rendering needs only a lookup function, so that everything about the syntax is decided,
and tested, here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What an expression refers to."""

    PARENT_INPUT = "parent.inputs"
    PARENT_OUTPUT = "parent.outputs"
    NODE_OUTPUT = "parent.jobs.outputs"
    NODE_INPUT = "parent.jobs.inputs"
    INPUT = "inputs"
    OUTPUT = "outputs"
    SEARCH_SPACE = "search_space"
    MACRO = "macro"


MACROS = frozenset({"name", "default_datastore", "output_name"})


@dataclass(frozen=True)
class Reference:
    """One ``${{ … }}``.

    Attributes:
        kind: what it refers to.
        name: the input, output, hyperparameter or macro.
        node: the node whose output or input it is, for ``NODE_OUTPUT`` and ``NODE_INPUT``.
    """

    kind: Kind
    name: str
    node: str | None = None

    def pattern(self) -> re.Pattern[str]:
        """Match the reference as a file may write it, with spaces or without."""
        inside = re.escape(str(self).removeprefix("${{").removesuffix("}}"))
        return re.compile(rf"\$\{{\{{\s*{inside}\s*\}}\}}")

    def __str__(self) -> str:
        if self.kind is Kind.MACRO:
            return f"${{{{{self.name}}}}}"
        if self.node is not None:
            side = "outputs" if self.kind is Kind.NODE_OUTPUT else "inputs"
            return f"${{{{parent.jobs.{self.node}.{side}.{self.name}}}}}"
        return f"${{{{{self.kind.value}.{self.name}}}}}"


@dataclass(frozen=True)
class Optional:
    """A ``$[[ … ]]`` part: dropped as a whole when an input inside has no value."""

    parts: tuple[str | Reference, ...]


@dataclass(frozen=True)
class Template:
    """A parsed text.

    Attributes:
        text: as it was written.
        parts: literal text, references and optional parts, in order.
    """

    text: str
    parts: tuple[str | Reference | Optional, ...]

    @property
    def reference(self) -> Reference | None:
        """The only reference of a template that consists of nothing else."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Reference):
            return self.parts[0]
        return None


class ExpressionError(ValueError):
    """A text that looks like an expression and is none; ``offset`` is where in the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class UnsetInputError(LookupError):
    """A reference outside ``$[[ ]]`` has no value."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"{reference} has no value")
        self.reference = reference


_NAME = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
_SHAPES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.NODE_OUTPUT, re.compile(rf"parent\.jobs\.(?P<node>[A-Za-z_][\w-]*)\.outputs\.(?P<name>{_NAME})")),
    (Kind.NODE_INPUT, re.compile(rf"parent\.jobs\.(?P<node>[A-Za-z_][\w-]*)\.inputs\.(?P<name>{_NAME})")),
    (Kind.PARENT_INPUT, re.compile(rf"parent\.inputs\.(?P<name>{_NAME})")),
    (Kind.PARENT_OUTPUT, re.compile(rf"parent\.outputs\.(?P<name>{_NAME})")),
    (Kind.INPUT, re.compile(rf"inputs\.(?P<name>{_NAME})")),
    (Kind.OUTPUT, re.compile(rf"outputs\.(?P<name>{_NAME})")),
    (Kind.SEARCH_SPACE, re.compile(rf"search_space\.(?P<name>{_NAME})")),
    (Kind.MACRO, re.compile(rf"(?P<name>{'|'.join(sorted(MACROS))})")),
)
_EXPECTED = (
    "parent.inputs.NAME, parent.outputs.NAME, parent.jobs.NODE.outputs.NAME, parent.jobs.NODE.inputs.NAME, "
    "inputs.NAME, outputs.NAME, search_space.NAME, name, default_datastore or output_name"
)


def has_expression(text: str) -> bool:
    """Tell whether a text holds anything this module would not pass through unchanged."""
    return "${{" in text or "$[[" in text


def parse(text: str) -> Template:
    """Split a text into literal parts, references and optional parts.

    Raises:
        ExpressionError: for an unclosed or unknown expression, or an optional part inside another.
    """
    parts: list[str | Reference | Optional] = []
    position = 0
    while position < len(text):
        start = text.find("$[[", position)
        head = text[position:] if start < 0 else text[position:start]
        parts.extend(_references(head, position))
        if start < 0:
            break
        end = text.find("]]", start)
        if end < 0:
            raise ExpressionError("'$[[' is never closed with ']]'", start)
        inner = text[start + 3 : end]
        if "$[[" in inner:
            raise ExpressionError("'$[[' inside '$[['", start + 3 + inner.index("$[["))
        parts.append(Optional(_references(inner, start + 3)))
        position = end + 2
    return Template(text, tuple(parts))


def _references(text: str, offset: int) -> tuple[str | Reference, ...]:
    parts: list[str | Reference] = []
    position = 0
    while (start := text.find("${{", position)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise ExpressionError("'${{' is never closed with '}}'", offset + start)
        if start > position:
            parts.append(text[position:start])
        parts.append(_reference(text[start + 3 : end], offset + start))
        position = end + 2
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def _reference(inner: str, offset: int) -> Reference:
    body = inner.strip()
    for kind, shape in _SHAPES:
        match = shape.fullmatch(body)
        if match:
            return Reference(kind, match["name"], match.groupdict().get("node"))
    raise ExpressionError(f"'${{{{{inner}}}}}' is no expression; expected {_EXPECTED}", offset)


def references(template: Template) -> Iterator[tuple[Reference, bool]]:
    """Give every reference of a template, and whether it stands inside ``$[[ ]]``."""
    for part in template.parts:
        if isinstance(part, Reference):
            yield part, False
        elif isinstance(part, Optional):
            yield from ((inner, True) for inner in part.parts if isinstance(inner, Reference))


def render(template: Template, lookup: Callable[[Reference], str | None]) -> str:
    """Put values into a template.

    Args:
        template: what to fill in.
        lookup: gives the text for a reference; None says that it is unset.

    Returns:
        The text. An optional part with an unset reference is left out.

    Raises:
        UnsetInputError: for an unset reference outside an optional part.
    """
    done: list[str] = []
    for part in template.parts:
        if isinstance(part, str):
            done.append(part)
        elif isinstance(part, Reference):
            value = lookup(part)
            if value is None:
                raise UnsetInputError(part)
            done.append(value)
        else:
            values = [inner if isinstance(inner, str) else lookup(inner) for inner in part.parts]
            if None not in values:
                done.append("".join(value for value in values if value is not None))
    return "".join(done)
