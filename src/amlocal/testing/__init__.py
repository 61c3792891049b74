"""For tests of code that talks to Azure ML: a workspace of this machine, without a way out of it.

Pytest fixtures, which are used by importing their names into a ``conftest.py``: ``in_process_workspace`` and
``in_process_client`` for all that runs in the process of the test, with faults at every call; ``workspace``,
``client_environment``, ``ml_client`` and ``client_faults`` for what starts processes of its own.
"""

from amlocal.testing.faults import Call, Faults, ProcessKilled
from amlocal.testing.in_process import (
    InProcessWorkspace,
    in_process,
    in_process_client,
    in_process_workspace,
    make_client,
)
from amlocal.testing.loopback import (
    client_environment,
    client_faults,
    faulty,
    ml_client,
    processes_of,
    running_workspace,
    workspace,
)
from amlocal.testing.scoring import ScoringAnswer, ScoringProcessDied, ScoringRequest

__all__ = [
    "Call",
    "Faults",
    "InProcessWorkspace",
    "ProcessKilled",
    "ScoringAnswer",
    "ScoringProcessDied",
    "ScoringRequest",
    "client_environment",
    "client_faults",
    "faulty",
    "in_process",
    "in_process_client",
    "in_process_workspace",
    "make_client",
    "ml_client",
    "processes_of",
    "running_workspace",
    "workspace",
]
