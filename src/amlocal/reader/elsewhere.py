"""Kinds of jobs and nodes that Azure ML has and one machine has not."""

from __future__ import annotations

from amlocal.reader.section import Report
from amlocal.reader.source import Place

_SERVICES = {
    "data_transfer": "copies between the service's storage accounts and databases",
    "distillation": "is run by the model distillation service",
    "do_while": "is a loop that the service controls",
    "finetuning": "is run by the fine-tuning service",
    "if_else": "is a condition that the service evaluates",
    "import": "imports from databases through the service",
    "parallel_for": "is a loop that the service controls",
    "promptflow_parallel": "is run by the prompt flow service",
    "spark": "needs a Spark pool",
}


def is_elsewhere(kind: str) -> bool:
    """Tell whether a type exists, and only in the service."""
    return kind in _SERVICES


def note_elsewhere(what: str, kind: str, supported: tuple[str, ...], place: Place, report: Report) -> None:
    """Note that something of such a type cannot run here."""
    message = f"{what} is of type {kind}, which {_SERVICES[kind]}; supported here: {', '.join(supported)}"
    report.unresolve(place, "not-on-this-machine", message)
