"""The environment variable by which everything that a job started is found."""

from __future__ import annotations

from collections.abc import Mapping

JOB_VARIABLE = "AMLOCAL_JOB"
"""In the environment of every step: its job's folder."""


def without_job(variables: Mapping[str, str]) -> dict[str, str]:
    """Give environment variables for a process that is to outlive the job it is started from."""
    return {name: value for name, value in variables.items() if name != JOB_VARIABLE}
