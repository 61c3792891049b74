"""Secrets that clients present: bearer tokens and shared access signatures, made from the workspace's key."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import Mapping

from amlocal.workspace import names

TOKEN_SECONDS = 24 * 3600
RUN_TOKEN_SECONDS = 30 * 24 * 3600
"""How long a job's own token lives: mlflow's plain client takes it from the environment and never asks for another."""
SAS_VERSION = "2024-11-04"


def matches(presented: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(presented.encode(), expected.encode())


def issue_token(key: str, resource: str, seconds: int | None = None) -> tuple[str, int]:
    """Make an access token as Entra ID would.

    Args:
        key: The workspace's key, which signs it.
        resource: What the token is for, such as ``https://management.amlocal.test``.
        seconds: How long it lives; a day by default.

    Returns:
        The token (a JWT) and its expiry in seconds since the epoch.
    """
    now = int(time.time())
    expiry = now + (TOKEN_SECONDS if seconds is None else seconds)
    claims = {
        "aud": resource.rstrip("/"),
        "iss": f"https://{names.LOGIN_HOST}/{names.TENANT_ID}/",
        "iat": now,
        "nbf": now - 60,
        "exp": expiry,
        "oid": names.TENANT_ID,
        "tid": names.TENANT_ID,
        "name": "amlocal",
        "upn": "amlocal",
    }
    # Every job needs one, and PyJWT takes longer to import than a reused job to run.
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.digest(_signing_key(key, "token"), signed.encode(), hashlib.sha256)
    return f"{signed}.{_base64(signature)}", expiry


def token_is_valid(key: str, token: str) -> bool:
    """Say whether a token was issued by this workspace and has not expired.

    Args:
        key: The workspace's key.
        token: What the client presented.
    """
    import jwt

    try:
        # Every audience of the workspace is served by the same process, so the audience is not a boundary
        # here.
        jwt.decode(token, _signing_key(key, "token"), algorithms=["HS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError:
        return False
    return True


def issue_sas(key: str, container: str) -> str:
    """Make a shared access signature for one container.

    It looks like Azure's and lives as long as a token, but is signed with a key of ours over fewer fields.

    Args:
        key: The workspace's key.
        container: Name of the blob container it opens.

    Returns:
        A query string without the leading question mark.
    """
    expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + TOKEN_SECONDS))
    fields = {"sv": SAS_VERSION, "sr": "c", "sp": "racwdl", "se": expiry}
    return urllib.parse.urlencode(fields | {"sig": _sas_signature(key, container, fields)})


def sas_is_valid(key: str, container: str, query: Mapping[str, str]) -> bool:
    """Say whether a request's query carries a signature for a container that has not expired.

    Args:
        key: The workspace's key.
        container: Container the request is about.
        query: Query parameters of the request.
    """
    fields = {name: query.get(name, "") for name in ("sv", "sr", "sp", "se")}
    if not matches(query.get("sig", ""), _sas_signature(key, container, fields)):
        return False
    return fields["se"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _sas_signature(key: str, container: str, fields: Mapping[str, str]) -> str:
    message = "\n".join([container, *(fields[name] for name in ("sv", "sr", "sp", "se"))])
    return base64.b64encode(hmac.digest(_signing_key(key, "sas"), message.encode(), hashlib.sha256)).decode()


def _base64(data: bytes) -> str:
    """Spell bytes as JSON web tokens do."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signing_key(key: str, purpose: str) -> bytes:
    """Derive a key per purpose, so that one kind of secret can never pass for another."""
    return hmac.digest(key.encode(), purpose.encode(), hashlib.sha256)
