"""Azure's own client, connected to the workspace of this machine."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from amlocal.errors import AmlocalError
from amlocal.reader.azure import cause, quiet

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def connect(home: Path) -> MLClient:
    """Start the workspace if needed and point this process's Azure clients at it, for as long as the process lives.

    Args:
        home: The ``--home`` folder.
    """
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    from amlocal.workspace.lifecycle import start

    connection = start(home)
    # There is no parameter for the cloud's addresses: the client reads them from the environment.
    os.environ.update(connection.client_environment())
    return MLClient(
        DefaultAzureCredential(),
        connection.subscription_id,
        connection.resource_group,
        connection.workspace_name,
    )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Keep azure-ai-ml quiet, and make what it raises one error that can be read.

    Its progress bars are shown in a terminal only.

    Args:
        what: What the error is about, as a file.

    Raises:
        AmlocalError: With the actual cause.
    """
    with quiet():
        from azure.core.exceptions import AzureError, HttpResponseError
        from marshmallow.exceptions import MarshmallowError

        progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
        try:
            with contextlib.redirect_stderr(progress):
                yield
        except HttpResponseError as error:
            raise AmlocalError(f"{what}: {error.error.message if error.error else error.message}") from None
        # These are what it lets through; a wrong file may end in any of them.
        except (AzureError, MarshmallowError, TypeError, ValueError, KeyError, AttributeError, OSError) as error:
            raise AmlocalError(f"{what}: azure-ai-ml: {cause(error)}") from None
