"""Our reading and writing of MLflow runs against MLflow's own server and client."""

import http.server
import math
import threading
import uuid

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from amlocal.errors import AmlocalError
from amlocal.run import tracking as tracking_module
from amlocal.run.tracking import FINISHED, KILLED, MlflowTracking


@pytest.fixture
def tracking(workspace):
    return MlflowTracking(workspace.mlflow_tracking_uri, workspace.key)


@pytest.fixture
def client(client_environment, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", client_environment.key)
    return MlflowClient(client_environment.mlflow_tracking_uri)


@pytest.fixture
def experiment():
    return f"tracking & more {uuid.uuid4().hex}"


def test_experiment_is_made_once(tracking, client, experiment):
    made = tracking.experiment(experiment)

    assert tracking.experiment(experiment) == made == client.get_experiment_by_name(experiment).experiment_id


def test_deleted_experiment_is_refused(tracking, client, experiment):
    client.delete_experiment(tracking.experiment(experiment))

    with pytest.raises(AmlocalError, match="is deleted; restore it"):
        tracking.experiment(experiment)


def test_runs_nest_and_end(tracking, client, experiment):
    number = tracking.experiment(experiment)
    parent = tracking.start_run(number, "job", None, {"amlocal.job": "jöb"})
    child = tracking.start_run(number, "step", parent, {})
    tracking.end_run(child, KILLED, {"amlocal.reason": "too slow"})
    tracking.end_run(parent, FINISHED, {})

    runs = {run.info.run_id: run for run in client.search_runs([number], run_view_type=ViewType.ACTIVE_ONLY)}
    assert (runs[parent].info.run_name, runs[parent].info.status) == ("job", "FINISHED")
    assert runs[parent].data.tags["amlocal.job"] == "jöb"
    assert (runs[child].info.run_name, runs[child].info.status) == ("step", "KILLED")
    assert runs[child].data.tags["mlflow.parentRunId"] == parent
    assert runs[child].data.tags["amlocal.reason"] == "too slow"
    assert 0 <= runs[child].info.end_time - runs[child].info.start_time < 60_000


def test_open_runs_of_a_job(tracking, experiment):
    number = tracking.experiment(experiment)
    mine, ended = (tracking.start_run(number, "run", None, {"amlocal.job": "a.b-c_1"}) for _ in range(2))
    tracking.start_run(number, "run", None, {"amlocal.job": "other"})
    tracking.end_run(ended, FINISHED, {})

    assert tracking.open_runs(number, "a.b-c_1") == (mine,)


def test_metrics_come_in_the_order_of_logging(tracking, client, experiment):
    run = tracking.start_run(tracking.experiment(experiment), "trial", None, {})
    for step, value in enumerate((0.5, math.nan, 0.25)):
        client.log_metric(run, "score", value, timestamp=1000 + step, step=step)
    client.log_metric(run, "a/b", 1.0)

    first, middle, last = tracking.curve(run, "score")
    assert (first, math.isnan(middle), last) == (0.5, True, 0.25)
    assert tracking.curve(run, "none") == ()
    assert tracking.metrics_of(run) == ("a/b", "score")


def test_text_becomes_an_artefact(tracking, client, experiment):
    run = tracking.start_run(tracking.experiment(experiment), "sweep", None, {})
    tracking.log_text(run, "trials.json", "[1]")

    assert [file.path for file in client.list_artifacts(run)] == ["trials.json"]


def test_refusal_is_one_clear_line(tracking, workspace):
    with pytest.raises(AmlocalError, match=r"MLflow: POST mlflow/runs/update was answered with 404: .*none"):
        tracking.end_run("none", FINISHED, {})
    with pytest.raises(AmlocalError, match="answered with 401"):
        MlflowTracking(workspace.mlflow_tracking_uri, "wrong").experiment("x")


class Flaky(http.server.BaseHTTPRequestHandler):
    """Closes the first connection without an answer, refuses once, then answers."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        if self.asked == 1:
            self.close_connection = True
            return
        text = b'{"metrics": [{"value": 2, "timestamp": "1"}]}'
        self.send_response(503 if self.asked == 2 else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def test_tries_again_where_that_may_help(monkeypatch):
    monkeypatch.setattr(tracking_module, "_PAUSES_SECONDS", (0.0, 0.0))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        assert MlflowTracking(uri).curve("run", "score") == (2.0,)
        server.shutdown()
    with pytest.raises(AmlocalError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        MlflowTracking(uri).curve("run", "score")
