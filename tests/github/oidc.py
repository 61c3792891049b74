"""GitHub's OIDC provider and Entra ID's answer to it: who may log in, and for how long."""

import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jwt

SIGNING_KEY = "the key of the provider in these tests, of 32 bytes or more"
AUDIENCE = "api://AzureADTokenExchange"


class LoginError(Exception):
    """Entra ID does not take the assertion."""


@dataclass
class Provider:
    """Hands out assertions to jobs by their request token.

    Attributes:
        seconds: How long an assertion lives.
        subjects: Subject of each request token that was given to a job.
        issued: Subjects of all assertions so far, in their order.
    """

    seconds: float = 300.0
    address: str = ""
    subjects: dict[str, str] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)

    def assertion(self, subject: str) -> str:
        """Make an assertion."""
        self.issued.append(subject)
        now = time.time()
        claims = {"sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + self.seconds}
        return jwt.encode(claims, SIGNING_KEY, algorithm="HS256")


def check_assertion(assertion: str, subjects: tuple[str, ...]) -> None:
    """Do what Entra ID does with a federated token.

    Raises:
        LoginError: it is not the provider's, has expired, or no federated credential has its subject.
    """
    try:
        claims = jwt.decode(assertion, SIGNING_KEY, algorithms=["HS256"], audience=AUDIENCE)
    except jwt.ExpiredSignatureError:
        raise LoginError("AADSTS700024: Client assertion is not within its valid time range.") from None
    except jwt.InvalidTokenError as error:
        raise LoginError(f"AADSTS50027: JWT token is invalid or malformed: {error}") from None
    if claims["sub"] not in subjects:
        raise LoginError(f"AADSTS700213: No matching federated identity record found for subject '{claims['sub']}'.")


@contextmanager
def serve(provider: Provider) -> Iterator[Provider]:
    """Answer ACTIONS_ID_TOKEN_REQUEST_URL on loopback while the context lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            token = self.headers.get("Authorization", "").removeprefix("bearer ")
            if token not in provider.subjects or query.get("audience") != [AUDIENCE]:
                self.send_error(401)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"value": provider.assertion(provider.subjects[token])}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        provider.address = f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
