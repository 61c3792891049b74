import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ANSWERS = {"/good": (200, b'[{"label": "a"}]'), "/busy": (503, b"try later"), "/odd": (200, b"<p>hello</p>")}


class Deployment(BaseHTTPRequestHandler):
    """Answers by the path, and keeps what it was asked."""

    asked: list[tuple[str, str | None, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.headers["Authorization"], self.headers["azureml-model-deployment"], body))
        status, answer = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Deployment.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Deployment) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_answer_is_read_and_timed(deploy: Any, address: str) -> None:
    ask, target = deploy.probes.make_ask(), deploy.probes.ScoringTarget
    answer = ask(target(f"{address}/good", "k", "green"), {"input_data": ["x"]})
    assert (answer.value, answer.problem, answer.decisions) == ([{"label": "a"}], None, ("a",))
    assert 0 < answer.seconds < 30
    ask(target(f"{address}/good", "k", None), {"input_data": ["y"]})
    assert Deployment.asked == [
        ("Bearer k", "green", {"input_data": ["x"]}),
        ("Bearer k", None, {"input_data": ["y"]}),
    ]


def test_what_is_no_answer_is_a_problem(deploy: Any, address: str) -> None:
    ask, target = deploy.probes.make_ask(), deploy.probes.ScoringTarget
    assert ask(target(f"{address}/busy", "k", None), {}).problem == "status 503, expected 200: try later"
    assert ask(target(f"{address}/odd", "k", None), {}).problem == "the answer is not JSON: <p>hello</p>"
    assert len(Deployment.asked) == 2
    with ThreadingHTTPServer(("127.0.0.1", 0), Deployment) as server:
        gone = f"http://127.0.0.1:{server.server_port}"
    assert ask(target(gone, "k", None), {}).problem.startswith("no answer: ConnectError")


def test_the_certificates_are_read_once(deploy: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, read = ssl.create_default_context, []
    monkeypatch.setattr(ssl, "create_default_context", lambda **given: read.append(given) or real(**given))
    ask = deploy.probes.make_ask()
    for _ in range(3):
        assert ask(deploy.probes.ScoringTarget(f"{address}/good", "k", None), {}).problem is None
    assert len(read) == 1
