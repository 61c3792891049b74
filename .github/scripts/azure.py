"""The `az` command with a session that does not run out.

GitHub's OIDC assertion lives for minutes, and `az` cannot ask for another: it presents the one it was given whenever it
needs an access token that it does not have, or not any more (azure-cli issue 28708). Whoever waits for a training job
therefore logs in again with a fresh assertion, which the runner hands out while a job with `id-token: write` runs.
"""

import base64
import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from typing import Any

AUDIENCE = "api://AzureADTokenExchange"
"""What Entra ID wants an assertion to be for."""
MARGIN_SECONDS = 60.0
"""No call begins with an assertion that has less than this to live."""


class AzureError(Exception):
    """`az` failed, or cannot be called; the message says why."""


class Azure:
    """Runs `az` as AZURE_CLIENT_ID of AZURE_TENANT_ID in AZURE_SUBSCRIPTION_ID.

    `az` itself reads resource group and workspace from AZURE_DEFAULTS_GROUP and AZURE_DEFAULTS_WORKSPACE.
    """

    def __init__(self) -> None:
        """Start without a session; the first call makes one."""
        self._log_in_again_at = 0.0

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run `az` and return the object that it prints, or an empty one.

        Args:
            arguments: the command line after `az`, without --output.

        Raises:
            AzureError: it ended with another code than 0.
        """
        if time.time() >= self._log_in_again_at:
            self._log_in()
        return _az(*arguments)

    def exists(self, *arguments: str) -> bool:
        """Say whether a `show` command finds what it names.

        Raises:
            AzureError: it failed for another reason than that nothing is there.
        """
        try:
            self.run(*arguments)
        except AzureError as error:
            if "NotFound" in str(error) or "not found" in str(error):
                return False
            raise
        return True

    def _log_in(self) -> None:
        client, tenant, subscription = (
            read_variable(f"AZURE_{name}_ID") for name in ("CLIENT", "TENANT", "SUBSCRIPTION")
        )
        assertion = _fetch_assertion()
        _az("login", "--service-principal", "--username", client, "--tenant", tenant, "--federated-token", assertion)
        _az("account", "set", "--subscription", subscription)
        self._log_in_again_at = _expiry(assertion) - MARGIN_SECONDS


def read_variable(name: str) -> str:
    """Return an environment variable.

    Raises:
        AzureError: it is empty or not set.
    """
    value = os.environ.get(name)
    if not value:
        hint = "the job needs `permissions: id-token: write`" if name.startswith("ACTIONS_") else "see docs/azure.md"
        raise AzureError(f"{name} is not set; {hint}")
    return value


def _az(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        ["az", *arguments, "--output", "json", "--only-show-errors"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        # Not the whole command: login's arguments hold the assertion.
        command = " ".join(arguments[:3]) if arguments[0] == "ml" else arguments[0]
        raise AzureError(f"az {command}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    value = json.loads(done.stdout) if done.stdout.strip() else {}
    return value if isinstance(value, dict) else {"value": value}


def _fetch_assertion() -> str:
    """Ask the runner for an OIDC assertion."""
    address, token = (read_variable(f"ACTIONS_ID_TOKEN_REQUEST_{part}") for part in ("URL", "TOKEN"))
    separator = "&" if "?" in address else "?"
    request = urllib.request.Request(  # noqa: S310 - the runner names the address
        f"{address}{separator}audience={urllib.parse.quote(AUDIENCE, safe='')}",
        headers={"Authorization": f"bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return str(json.load(response)["value"])


def _expiry(assertion: str) -> float:
    """Return when a JWT expires, in seconds since the epoch."""
    payload = assertion.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
