"""GitHub's expression language, as far as the workflows use it; whatever else occurs is refused.

https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MARKED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<operator>\|\||&&|==|!=|[!().,\[\]])"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*))"
)
STATUS_FUNCTIONS = ("success", "failure", "always", "cancelled")
FUNCTIONS = ("contains", "startsWith", "endsWith", "format", "toJSON", "fromJSON")


class ExpressionError(Exception):
    """An expression that this evaluator does not understand, or that asks for what is not there."""


@dataclass(frozen=True)
class Scope:
    """What an expression sees.

    Attributes:
        contexts: `github`, `inputs`, `vars`, `needs`, `steps` … A name that is not there is refused.
        status: "success", "failure" or "cancelled", for the functions of that name.
        open: Contexts (dotted) whose missing properties are empty, as GitHub has it: payloads that differ by event.
    """

    contexts: Mapping[str, Any]
    status: str = "success"
    open: tuple[str, ...] = ("github.event", "inputs", "vars")


def interpolate(text: str, scope: Scope) -> str:
    """Replace every `${{ … }}` of a text by its value."""
    return MARKED.sub(lambda found: to_text(evaluate(found[1], scope)), text)


def evaluate_condition(text: str | None, scope: Scope) -> bool:
    """Evaluate an `if:`; one without a status function holds only while all went well."""
    text = "success()" if text is None else str(text)
    found = MARKED.fullmatch(text.strip())
    expression = found[1] if found else text
    if "${{" in expression:
        raise ExpressionError(f"if: {text!r}: partly marked conditions are always true on GitHub")
    value = truthy(evaluate(expression, scope))
    if not any(re.search(rf"\b{name}\s*\(", expression) for name in STATUS_FUNCTIONS):
        return value and scope.status == "success"
    return value


def evaluate(text: str, scope: Scope) -> Any:
    """Evaluate one expression without its marks."""
    parser = _Parser(_tokens(text), scope, text)
    value = parser.either()
    if parser.peek() is not None:
        raise ExpressionError(f"{text!r}: unexpected {parser.peek()[1]!r}")
    return value


def truthy(value: Any) -> bool:
    """Return what GitHub takes a value for in a condition."""
    return value not in (None, False, 0, "")


def to_text(value: Any) -> str:
    """Return what a value becomes within a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list):
        raise ExpressionError(f"{value!r} cannot be a text")
    return str(value)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while text[position:].strip():
        found = TOKEN.match(text, position)
        if found is None:
            raise ExpressionError(f"{text!r}: cannot read {text[position:]!r}")
        tokens.append((str(found.lastgroup), found[found.lastgroup]))
        position = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], scope: Scope, text: str) -> None:
        self._tokens, self._scope, self._text, self._next = tokens, scope, text, 0

    def peek(self) -> tuple[str, str] | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, *operators: str) -> str | None:
        token = self.peek()
        if token is not None and token[0] == "operator" and token[1] in operators:
            self._next += 1
            return token[1]
        return None

    def _expect(self, operator: str) -> None:
        if self._take(operator) is None:
            raise ExpressionError(f"{self._text!r}: expected {operator!r}")

    def either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value if truthy(value) else other
        return value

    def _both(self) -> Any:
        value = self._compared()
        while self._take("&&"):
            other = self._compared()
            value = other if truthy(value) else value
        return value

    def _compared(self) -> Any:
        value = self._negated()
        if operator := self._take("==", "!="):
            return _equal(value, self._negated()) == (operator == "==")
        return value

    def _negated(self) -> Any:
        return not truthy(self._negated()) if self._take("!") else self._value()

    def _value(self) -> Any:
        if self._take("("):
            value = self.either()
            self._expect(")")
            return value
        token = self.peek()
        if token is None or token[0] == "operator":
            raise ExpressionError(f"{self._text!r}: expected a value")
        self._next += 1
        kind, text = token
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text) if "." in text else int(text)
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        if self._take("("):
            return self._call(text)
        if text not in self._scope.contexts:
            raise ExpressionError(f"{self._text!r}: no context {text!r}")
        return self._properties(text)

    def _properties(self, path: str) -> Any:
        value = self._scope.contexts[path]
        while True:
            if self._take("."):
                token = self.peek()
                if token is None or token[0] != "name":
                    raise ExpressionError(f"{self._text!r}: expected a name after '.'")
                self._next += 1
                key = token[1]
            elif self._take("["):
                key = to_text(self.either())
                self._expect("]")
            else:
                return value
            value, path = self._property(value, path, key), f"{path}.{key}"

    def _property(self, value: Any, path: str, key: str) -> Any:
        if isinstance(value, Mapping) and key in value:
            return value[key]
        if any(path == name or path.startswith(f"{name}.") for name in self._scope.open):
            return None
        raise ExpressionError(f"{self._text!r}: {path} has no {key!r}")

    def _call(self, name: str) -> Any:
        arguments = []
        if not self._take(")"):
            arguments.append(self.either())
            while self._take(","):
                arguments.append(self.either())
            self._expect(")")
        if name in STATUS_FUNCTIONS:
            return name == "always" or self._scope.status == {"cancelled": "cancelled"}.get(name, name)
        if name not in FUNCTIONS:
            raise ExpressionError(f"{self._text!r}: no function {name!r}")
        return _FUNCTIONS[name](*arguments)


def _equal(one: Any, other: Any) -> bool:
    """Compare as GitHub does: texts without their case; values of different kinds as numbers."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    if type(one) is type(other):
        return one == other
    return _number(one) == _number(other)


def _number(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _contains(where: Any, what: Any) -> bool:
    if isinstance(where, list):
        return any(_equal(part, what) for part in where)
    return to_text(what).lower() in to_text(where).lower()


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "contains": _contains,
    "startsWith": lambda text, start: to_text(text).lower().startswith(to_text(start).lower()),
    "endsWith": lambda text, end: to_text(text).lower().endswith(to_text(end).lower()),
    "format": lambda text, *values: text.format(*map(to_text, values)),
    "toJSON": lambda value: json.dumps(value, indent=2),
    "fromJSON": json.loads,
}
