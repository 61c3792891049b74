"""Commands that run as several processes: ``distribution``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amlocal.reader.bind import Scope, Source
from amlocal.reader.model import CommandComponent, DistributionSpec
from amlocal.reader.section import Section
from amlocal.reader.settings import number, read_setting
from amlocal.reader.source import UnreadableError

_PROCESS_COUNT = "process_count_per_instance"


@dataclass(frozen=True)
class Processes:
    """The processes that a distributed command runs as.

    Attributes:
        type: pytorch, tensorflow or mpi.
        nodes: how many machines they pretend to be on.
        per_node: how many on each.
        parameter_servers: for tensorflow, how many of them come after the workers.
    """

    type: str
    nodes: int
    per_node: int
    parameter_servers: int = 0

    @property
    def count(self) -> int:
        """How many processes there are in all."""
        return self.nodes * self.per_node + self.parameter_servers


def read_distribution(section: Section) -> DistributionSpec | None:
    """Read ``distribution``.

    Raises:
        UnreadableError: for a type that does not exist.
    """
    node = section.take("distribution")
    if node is None:
        return None
    inner = Section(node, "distribution", section.report)
    stated = inner.require("type")
    kind = str(stated.value).lower()
    if kind == "ray":
        message = "distribution of type ray starts a Ray cluster, which is not on this machine"
        section.report.unresolve(stated.place, "not-on-this-machine", f"{message}; supported: pytorch, tensorflow, mpi")
        return None
    if kind not in {"pytorch", "tensorflow", "mpi"}:
        message = f"distribution type must be pytorch, tensorflow or mpi, found {stated.value!r}"
        raise UnreadableError(stated.place, "type", message)
    if kind == "tensorflow":
        spec = DistributionSpec(
            kind,
            node.place,
            worker_count=read_setting(inner, "worker_count", 1),
            parameter_server_count=read_setting(inner, "parameter_server_count", 0),
        )
    else:
        spec = DistributionSpec(kind, node.place, process_count_per_instance=read_setting(inner, _PROCESS_COUNT, 1))
    inner.finish()
    return spec


def processes_of(component: CommandComponent, scope: Scope | None, inputs: Mapping[str, Source]) -> Processes | None:
    """Work out the processes of a command; None for one that is not distributed.

    Raises:
        UnreadableError: when a count is not known before the job runs.
    """
    spec = component.distribution
    if spec is None:
        return None
    nodes = number(component.instance_count, 1, scope, inputs)
    if spec.type == "tensorflow":
        workers = number(spec.worker_count, nodes, scope, inputs)
        return Processes(spec.type, workers, 1, number(spec.parameter_server_count, 0, scope, inputs))
    return Processes(spec.type, nodes, number(spec.process_count_per_instance, 1, scope, inputs))
