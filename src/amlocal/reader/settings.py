"""Numbers that say how a node runs. Azure ML lets a pipeline's inputs give them."""

from __future__ import annotations

from collections.abc import Mapping

from amlocal.reader.bind import Scope, Source, follow
from amlocal.reader.expressions import Kind, has_expression
from amlocal.reader.model import LiteralBinding, Setting
from amlocal.reader.search import Literal
from amlocal.reader.section import Section, as_number, template
from amlocal.reader.source import Located, UnreadableError, plain


def read_setting(section: Section, key: str, minimum: int) -> Setting | None:
    """Take a whole number, or an expression that gives it.

    Raises:
        UnreadableError: when it is neither.
    """
    node = section.take(key)
    if node is None:
        return None
    if isinstance(node.value, str) and has_expression(node.value):
        return Setting(key, node.place, template(node, node.value), minimum)
    setting = Setting(key, node.place, plain(node), minimum)
    return Setting(key, node.place, _whole(setting, plain(node)), minimum)


def number(setting: Setting | None, default: int, scope: Scope | None, inputs: Mapping[str, Source]) -> int:
    """Give a setting's value.

    Args:
        setting: the setting; None when it is not stated.
        default: its value then.
        scope: the pipeline that ``${{parent.inputs.x}}`` refers to.
        inputs: the node's own inputs, for ``${{inputs.x}}``.

    Raises:
        UnreadableError: when the expression names nothing that is known before the job runs, or no fitting number.
    """
    return default if setting is None else _whole(setting, value_of(setting, scope, inputs))


def value_of(setting: Setting, scope: Scope | None, inputs: Mapping[str, Source]) -> Literal:
    """Give what a setting states, or what the input that it names holds.

    Raises:
        UnreadableError: when it names nothing that is known before the job runs.
    """
    if isinstance(setting.value, (str, bool, int, float)):
        return setting.value
    reference = setting.value.reference
    source: Source | None = None
    if reference is not None and reference.kind is Kind.INPUT:
        source = inputs.get(reference.name)
    elif reference is not None and reference.kind is Kind.PARENT_INPUT and scope is not None:
        source = follow(reference, scope, setting.place)
    if not isinstance(source, LiteralBinding):
        message = f"{setting.name}: {setting.value.text!r} is no plain value that is known before the job runs"
        raise UnreadableError(setting.place, "expression", message)
    return source.value


def _whole(setting: Setting, value: Literal) -> int:
    result = as_number(Located(value, setting.place), setting.name)
    if result != int(result):
        message = f"{setting.name} must be a whole number, found {value!r}"
        raise UnreadableError(setting.place, "type", message)
    if result < setting.minimum:
        message = f"{setting.name} must be at least {setting.minimum}, found {int(result)}"
        raise UnreadableError(setting.place, "range", message)
    return int(result)
