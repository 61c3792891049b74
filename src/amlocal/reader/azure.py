"""azure-ai-ml's own reading of a job: its loader and its validator, offline, with errors that can be read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.source import set_value, shown

OFFLINE = "computes are not looked up offline"


class _NoCredential:
    """Satisfies MLClient's constructor. Only looking up a compute by name would use it."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Refuse."""
        raise AmlocalError(OFFLINE)


def load_with_azure(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Load a job with ``azure.ai.ml.load_job``.

    Raises:
        AmlocalError: with the actual cause, when azure-ai-ml refuses the file.
    """
    with quiet():
        from azure.ai.ml import load_job
        from azure.core.exceptions import AzureError
        from marshmallow.exceptions import MarshmallowError

    params = [{key: set_value(value)} for key, _, value in (text.partition("=") for text in overrides)]
    with quiet():
        try:
            return load_job(path, params_override=params)
        # These are what the loader lets through; a wrong file may end in any of them.
        except (AzureError, MarshmallowError, TypeError, ValueError, KeyError, AttributeError, OSError) as error:
            raise AmlocalError(f"{shown(path)}: azure-ai-ml: {cause(error)}") from None


def validate(path: Path, overrides: Sequence[str] = ()) -> None:
    """Check a job with azure-ai-ml's validator, without a connection.

    Raises:
        AmlocalError: with azure-ai-ml's messages.
    """
    job = load_with_azure(path, overrides)
    messages = [f"{shown(path)}: azure-ai-ml: {key}: {text}" for key, text in validation_messages(job).items()]
    if messages:
        raise AmlocalError("\n  ".join(messages))


def validation_messages(job: Any) -> dict[str, str]:
    """Ask azure-ai-ml's validator about a loaded job.

    Returns:
        Its messages by the dotted path of the field that each is about.
    """
    from azure.ai.ml import MLClient
    from marshmallow.exceptions import MarshmallowError

    if job.type in {"sweep", "automl"}:
        return {}  # azure-ai-ml has no validator for these as jobs of their own beyond its loader
    client = MLClient(_NoCredential(), "00000000-0000-0000-0000-000000000000", "offline", "offline")
    with quiet():
        try:
            found: dict[str, str] = client.jobs.validate(job).error_messages
        except MarshmallowError:
            # 1.35.2 does so for an AutoML node of texts that states `sweep` (NlpSweepSettingsSchema.conversion).
            return {"jobs": "the client reads it and cannot write it out again, so it cannot submit it"}
    return {key: text for key, text in found.items() if text != OFFLINE}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep azure-ai-ml's notes about experimental classes out of the way."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def origin(error: BaseException) -> BaseException:
    """Go back to the exception that started a chain."""
    while error.__context__ is not None and not isinstance(error.__context__, (KeyError, AttributeError)):
        error = error.__context__
    return error


def cause(error: BaseException) -> str:
    """Find what is really wrong: the first exception of the chain, without the boxes drawn around it."""
    first = origin(error)
    messages = getattr(first, "messages", None)
    if isinstance(messages, dict):
        return "; ".join(dict.fromkeys(_leaves(messages, ())))[:1500]
    lines = [line.strip() for line in str(first).splitlines()]
    kept = [line for line in lines if line and not set(line) <= set("─-=_ ")]
    return " ".join(kept)[:1500] or type(first).__name__


def _leaves(messages: object, path: tuple[str, ...]) -> Iterator[str]:
    """Give the texts in marshmallow's nested messages, each with the path of the field it is about.

    Where a field may take several forms, marshmallow lists what each of them misses: one path, several texts.
    """
    if isinstance(messages, dict):
        for key, value in messages.items():
            # These are levels of marshmallow's own, not of the file.
            own = key is None or key in {"value", "_schema"}
            yield from _leaves(value, path if own else (*path, str(key)))
    elif isinstance(messages, (list, tuple)):
        for item in messages:
            yield from _leaves(item, path)
    else:
        yield f"{'.'.join(path)}: {messages}" if path else str(messages)
