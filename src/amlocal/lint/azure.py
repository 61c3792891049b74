"""What azure-ai-ml itself refuses, with the line of the field it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from amlocal.lint.files import Kind
from amlocal.reader.azure import cause, origin, quiet, validation_messages
from amlocal.reader.source import Located, Place, Problem, set_value

RULE = "azure-ai-ml"
_LOADERS: Mapping[Kind, str] = {
    Kind.JOB: "load_job",
    Kind.COMPONENT: "load_component",
    Kind.ENVIRONMENT: "load_environment",
    Kind.DATA: "load_data",
    Kind.MODEL: "load_model",
    Kind.COMPUTE: "load_compute",
    Kind.DATASTORE: "load_datastore",
    Kind.SCHEDULE: "load_schedule",
    Kind.ONLINE_ENDPOINT: "load_online_endpoint",
    Kind.ONLINE_DEPLOYMENT: "load_online_deployment",
    Kind.BATCH_ENDPOINT: "load_batch_endpoint",
    Kind.BATCH_DEPLOYMENT: "load_batch_deployment",
    Kind.WORKSPACE: "load_workspace",
    Kind.CONNECTION: "load_connection",
    Kind.REGISTRY: "load_registry",
    Kind.FEATURE_SET: "load_feature_set",
    Kind.FEATURE_STORE: "load_feature_store",
    Kind.FEATURE_STORE_ENTITY: "load_feature_store_entity",
}
_BOX = re.compile(r"[─━═│┃╭╮╰╯┌┐└┘-]{3,}|\x1b\[[0-9;]*m")
_UNKNOWN, _MISSING = "Unknown field.", "Missing data for required field."
# Said by rules of our own, which know which line it is and how sure one can be.
_OURS = re.compile(
    r"compute not set|Component name should only contain|Traffic rule percentages|Pipeline node name should",
    re.IGNORECASE,
)
_SCHEMA_NAME = re.compile(r"Validation for (\w+) failed")
_MOST = 400


def refusals(kind: Kind, root: Located, path: Path, overrides: Sequence[str] = ()) -> list[Problem]:
    """Load a file with azure-ai-ml, offline, and validate it where there is a validator.

    Args:
        kind: what kind of file it is.
        root: its content.
        path: the file.
        overrides: ``--set`` texts.

    Returns:
        What is refused, each at the line of its field.
    """
    with quiet():
        from azure.ai.ml.entities import _load_functions as loaders
        from azure.core.exceptions import AzureError
        from marshmallow.exceptions import MarshmallowError

    params = [{key: set_value(value)} for key, _, value in (text.partition("=") for text in overrides)]
    if kind is Kind.COMPONENT and not _has(root, "name"):
        params.append({"name": "unnamed"})  # a pipeline that names the file takes it without
    with quiet():
        try:
            loaded = getattr(loaders, _loader(kind, root))(path, params_override=params)
        # These are what the loaders let through; a wrong file may end in any of them.
        except (AzureError, MarshmallowError, TypeError, ValueError, KeyError, AttributeError, OSError) as error:
            found = list(_from_error(error, root))
        else:
            found = []
            for key, text in validation_messages(loaded).items() if kind is Kind.JOB else ():
                found.append(Problem(_place(root, key.split(".")), RULE, f"{key}: {_clean(text)}"))
    return [problem for problem in found if not _OURS.search(problem.message)]


def _loader(kind: Kind, root: Located) -> str:
    """Name the loading function; batch deployments have one for each of their types."""
    stated = _child(root, "type")
    by_type = {"model": "load_model_batch_deployment", "pipeline": "load_pipeline_component_batch_deployment"}
    if kind is Kind.BATCH_DEPLOYMENT and stated is not None:
        return by_type.get(str(stated.value), _LOADERS[kind])
    return _LOADERS[kind]


def _from_error(error: BaseException, root: Located) -> Iterator[Problem]:
    messages = getattr(origin(error), "messages", None)
    if not isinstance(messages, dict):
        yield Problem(root.place, RULE, _clean(cause(error)))
        return
    named = _SCHEMA_NAME.search(str(error))
    schema: tuple[Any, ...] = (_schema(named[1]),) if named else ()
    yield from _walk(messages, root, "", schema)


def _walk(messages: Any, node: Located, path: str, schemas: Sequence[Any]) -> Iterator[Problem]:
    """Follow marshmallow's nested messages and the file side by side."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            if key is None or key in {"_schema", "value"} or (key == "key" and not _has(node, "key")):
                yield from _walk(inner, node, path, schemas)
                continue
            child = _child(node, key)
            if inner == [_UNKNOWN] or (child is None and _UNKNOWN in str(inner)):
                place = child.place if child is not None else node.place
                yield Problem(place, "unknown-key", f"{path or 'the file'} has no key {key!r}{_hint(key, schemas)}")
            elif child is None:
                missing = inner == [_MISSING]
                text = f"{path or 'the file'} needs {key!r}" if missing else f"{key}: {_clean(str(inner))}"
                yield Problem(node.place, "required" if missing else RULE, text)
            else:
                name = f"{path}.{key}".strip(".") if isinstance(key, str) else path
                yield from _walk(inner, child, name, _nested(schemas, key))
    elif isinstance(messages, list) and any(isinstance(item, dict) for item in messages):
        yield from _walk(_best(messages, node), node, path, schemas)
    else:
        texts = messages if isinstance(messages, list) else [messages]
        text = "; ".join(dict.fromkeys(_clean(str(item)) for item in texts))
        yield Problem(node.place, RULE, f"{path}: {text}" if path else text)


def _best(alternatives: list[Any], node: Located) -> Any:
    """Choose, of the forms that a field may take, the one that the file comes closest to."""

    def distance(messages: Any) -> tuple[bool, int, int, int]:
        reference = not isinstance(messages, dict) or set(messages) <= {"_schema", None}
        text = str(messages)
        # A form that does not know the keys, or is of another type, is further away than one with a wrong value.
        other_type = isinstance(messages, dict) and "type" in messages and messages["type"] != [_UNKNOWN]
        return reference == isinstance(node.value, dict), text.count(_UNKNOWN), int(other_type), text.count("[")

    return min(alternatives, key=distance)


def _has(node: Located, key: object) -> bool:
    return isinstance(node.value, dict) and key in node.value


def _child(node: Located, key: object) -> Located | None:
    if isinstance(node.value, dict):
        return node.value.get(str(key))
    if isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


def _place(node: Located, keys: Sequence[str]) -> Place:
    """Follow a dotted path as far as the file goes."""
    for key in keys:
        child = _child(node, key)
        if child is None:
            break
        node = child
    return node.place


def _schema(name: str) -> Any:
    from marshmallow import class_registry
    from marshmallow.exceptions import RegistryError

    try:
        found = class_registry.get_class(name, all=True)
    except RegistryError:
        return None
    return found[0] if isinstance(found, list) else found


def _nested(schemas: Sequence[Any], key: object) -> list[Any]:
    """Give the schemas that a key's value may have."""
    result: list[Any] = []
    for schema in schemas:
        field = _fields(schema).get(key) if isinstance(key, str) else schema
        for inner in [field, *getattr(field, "union_fields", ())]:
            nested = getattr(inner, "nested", None) or getattr(getattr(inner, "inner", None), "nested", None)
            if nested is not None:
                result.append(nested)
    return result


def _fields(schema: Any) -> Mapping[str, Any]:
    declared = getattr(schema, "_declared_fields", None) or {}
    return {field.data_key or name: field for name, field in declared.items()}


def _hint(key: object, schemas: Sequence[Any]) -> str:
    known = sorted({name for schema in schemas for name, field in _fields(schema).items() if not field.dump_only})
    close = get_close_matches(str(key), known, n=1, cutoff=0.75)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _clean(text: str) -> str:
    """Put a message on one line, without the boxes drawn around it."""
    text = text.replace("an existing None", "a registered asset")  # fields that name no type of theirs
    words = _BOX.sub(" ", text).split()
    line = " ".join(words)
    return line if len(line) <= _MOST else f"{line[:_MOST]} …"
