"""Plain values against declared types: what fits, and how it is written into a command."""

from __future__ import annotations

import math

from amlocal.reader.model import LITERAL_TYPES, InputSpec
from amlocal.reader.search import Literal


def coerce(value: object, type_name: str) -> Literal:
    """Turn a value into a type the way azure-ai-ml does.

    Args:
        value: what the YAML says; numbers and booleans may be written as text.
        type_name: string, number, integer or boolean.

    Returns:
        The value; its ``str()`` is what a command sees.

    Raises:
        ValueError: when it does not fit; the message says what was expected.
    """
    if type_name == "string":
        return str(value)
    text = str(value).strip()
    if type_name == "boolean":
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"expected a boolean, found {value!r}")
        return text.lower() == "true"
    article = "an integer" if type_name == "integer" else "a number"
    if isinstance(value, bool):
        raise ValueError(f"expected {article}, found the boolean {value!r}")
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"expected {article}, found {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"expected {article} that is finite, found {value!r}")
    if type_name == "integer":
        if number != int(number):
            raise ValueError(f"expected an integer, found {value!r}")
        return int(text) if text.lstrip("+-").isdigit() else int(number)
    return value if isinstance(value, (int, float)) else number


def fit(value: object, spec: InputSpec) -> Literal:
    """Check a value against everything an input declares.

    Returns:
        The value in the declared type.

    Raises:
        ValueError: when the type, ``enum``, ``min`` or ``max`` rules it out.
    """
    if spec.type is not None and spec.type not in LITERAL_TYPES:
        raise ValueError(f"expected a {spec.type} (type and path), found {value!r}")
    result = coerce(value, spec.type) if spec.type else _untyped(value)
    if spec.enum and str(result) not in spec.enum:
        raise ValueError(f"expected one of {', '.join(spec.enum)}, found {value!r}")
    if spec.type in {"number", "integer"} and not isinstance(result, str):
        if spec.minimum is not None and result < spec.minimum:
            raise ValueError(f"expected at least {spec.minimum}, found {value!r}")
        if spec.maximum is not None and result > spec.maximum:
            raise ValueError(f"expected at most {spec.maximum}, found {value!r}")
    return result


def _untyped(value: object) -> Literal:
    return value if isinstance(value, (str, bool, int, float)) else str(value)
