"""Inputs given by URL: downloaded once before anything runs, reused, and never left half-written."""

import http.server
import json
import threading
from contextlib import contextmanager

import pytest
from rich.console import Console

from amlocal.reader.source import InvalidJobError
from amlocal.run.create import Request, create_job
from amlocal.run.download_view import ConsoleDownloads

JOB = """\
type: command
inputs:
  data: {type: uri_file, path: URL}
outputs:
  out: {type: uri_folder}
environment: azureml:any:1
command: cat ${{inputs.data}} > ${{outputs.out}}/copy; basename ${{inputs.data}} >> ${{outputs.out}}/copy
"""


class Site:
    """A web server whose pages are changed at will."""

    def __init__(self):
        self.pages = {"/data.csv": b"a,b\n"}
        self.requests = []
        self.cut = False

    @contextmanager
    def serving(self):
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.partition("?")[0]
                site.requests.append(path)
                if path not in site.pages:
                    self.send_error(404)
                    return
                body = site.pages[path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if site.cut else body)

            def log_message(self, *arguments):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}/data.csv"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def site():
    with Site().serving() as site:
        yield site


@pytest.fixture
def job(site, write):
    return write("job.yml", JOB.replace("URL", f"'{site.url}?key=1'"))


def downloads(machine):
    return machine.home / "cache" / "downloads"


def copied(machine, record):
    return (machine.home / "jobs" / record.name / "outputs" / "out" / "copy").read_text()


def test_a_url_is_downloaded_once_and_the_step_reused(machine, job, site):
    first = machine.create(job)
    second = machine.create(job)

    assert copied(machine, first) == "a,b\ndata.csv\n"
    assert second.steps["command"].reused_from == first.name
    assert site.requests == ["/data.csv"]
    (sidecar,) = downloads(machine).glob("*.json")
    assert json.loads(sidecar.read_text())["url"] == f"{site.url}?key=1"


def test_what_was_changed_on_disk_is_downloaded_again(machine, job, site):
    first = machine.create(job)
    (file,) = downloads(machine).glob("*/data.csv")
    file.write_text("spoilt")
    second = machine.create(job)

    assert copied(machine, second) == "a,b\ndata.csv\n"
    assert site.requests == ["/data.csv"] * 2
    assert second.steps["command"].reused_from == first.name


def test_new_content_at_the_url_runs_the_step_again(machine, job, site):
    machine.create(job)
    site.pages["/data.csv"] = b"other\n"
    (file,) = downloads(machine).glob("*/data.csv")
    file.unlink()
    second = machine.create(job)

    assert second.steps["command"].reason == "input data changed"
    assert copied(machine, second) == "other\ndata.csv\n"


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (lambda site: site.pages.clear(), "the server answers 404 Not Found"),
        (lambda site: setattr(site, "cut", True), "cannot be downloaded: "),
    ],
)
def test_a_failed_download_is_named_and_leaves_nothing(machine, job, site, breaking, message):
    breaking(site)

    with pytest.raises(InvalidJobError) as caught:
        machine.create(job)

    assert f"job.yml:3: download: {site.url}?key=1: {message}" in str(caught.value)
    assert list(downloads(machine).iterdir()) == []
    assert not (machine.home / "jobs").exists()


def test_a_server_that_is_not_there(machine, write):
    job = write("job.yml", JOB.replace("URL", "'http://127.0.0.1:1/x'"))

    with pytest.raises(InvalidJobError, match=r"job\.yml:3: download: http://127.0.0.1:1/x: cannot be downloaded"):
        machine.create(job)


def test_each_download_is_told_in_one_line(machine, job, site, capsys):
    view = ConsoleDownloads(Console(width=200))
    request = Request(job, machine.home, poll_seconds=0.05)
    create_job(request, machine.backend, downloads=view)
    create_job(request, machine.backend, downloads=view)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"downloaded 4 bytes: {site.url}?key=1"
    assert lines[1].startswith("reuses the download of 20")
    assert len(lines) == 2


def test_a_mapped_url_is_not_downloaded(machine, job, site, write):
    local = write("mine.csv", "mine\n")
    record = machine.create(job, mappings=(f"{site.url}?key=1={local}",))

    assert copied(machine, record) == "mine\nmine.csv\n"
    assert site.requests == []
