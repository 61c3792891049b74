"""Works through the mini batches of a parallel node. Run by path, in the step's own Python.

It must run where amlocal is not installed, so it imports the standard library alone; its work is a JSON file:

    entry_script, arguments      what each worker loads, and what that finds in sys.argv
    logging_level, logs          for the script's logger, and the folder of the workers' logs
    batches, workers             what there is to do, and how many processes do it
    timeout, overhead_timeout    seconds for one run(), and for what comes before it
    startup_timeout              seconds for loading the script and its init()
    max_retries                  how often a mini batch is tried again
    failed_batches, failed_items, failed_percent      how many may fail; -1 for any number
    append_to, header, rows      the file for what run() returns, with column names or not; a folder for its parts
    summary                      the file that says how it went
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing.connection
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

_WAKE_SECONDS = 0.5


class StoppedError(Exception):
    """The step has failed elsewhere: give up."""


class LostWorkerError(Exception):
    """A process has died or does not answer, and is of no more use."""


class Worker:
    """One process that has the script loaded."""

    def __init__(self, number: int, task: dict[str, Any], stop: threading.Event) -> None:
        self.number = number
        self._stop = stop
        ours, theirs = socket.socketpair()
        logs = {name: Path(task["logs"], "user", name) for name in ("stdout", "stderr")}
        for folder in logs.values():
            folder.mkdir(parents=True, exist_ok=True)
        names = [folder / f"process{number:03d}.{name}.txt" for name, folder in logs.items()]
        with theirs, names[0].open("ab") as output, names[1].open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        self._connection = multiprocessing.connection.Connection(ours.detach())
        keys = ("entry_script", "arguments", "logging_level", "logs")
        self.send({"number": number, **{key: task[key] for key in keys}})

    def send(self, message: Any) -> None:
        """Send a message; that nobody reads it any more shows when an answer is expected."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def receive(self, seconds: float, doing: str) -> dict[str, Any]:
        """Wait for a message.

        Raises:
            LostWorkerError: when none comes in time, or the process has died.
            StoppedError: when the step has failed meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not self._connection.poll(max(0.0, min(_WAKE_SECONDS, deadline - time.monotonic()))):
            if self._stop.is_set():
                raise StoppedError
            if self._process.poll() is not None and not self._connection.poll(0):
                raise LostWorkerError(self._death(doing))
            if time.monotonic() >= deadline:
                raise LostWorkerError(f"{doing} took more than {seconds:g} s")
        try:
            message: dict[str, Any] = self._connection.recv()
            return message
        except (EOFError, OSError):
            self._process.wait()
            raise LostWorkerError(self._death(doing)) from None

    def _death(self, doing: str) -> str:
        code = self._process.returncode
        return f"its process died during {doing} ({f'signal {-code}' if code < 0 else f'exit code {code}'})"

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def finish(self, seconds: float) -> dict[str, Any]:
        """Let the script's shutdown() run."""
        self.send(None)
        try:
            return self.receive(seconds, "shutdown()")
        finally:
            self.kill()


class Totals:
    """What has been done; shared by the threads under one lock."""

    def __init__(self) -> None:
        self.batches = self.succeeded = self.failed = self.retried = 0
        self.items = self.processed = self.failed_items = 0
        self.message: str | None = None


class Run:
    """One run over all mini batches."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._left = deque(enumerate(task["batches"]))
        self._total = len(task["batches"])
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._totals = Totals()
        self._headers: dict[int, str] = {}

    def run(self) -> Totals:
        """Work until all is done or too much has failed."""
        threads = [
            threading.Thread(target=self._guarded, args=(number,), name=f"worker-{number}")
            for number in range(min(self._task["workers"], self._total))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        totals = self._totals
        if totals.message is None and totals.batches and not totals.succeeded:
            totals.message = "no mini batch succeeded"
        return totals

    def append(self) -> None:
        """Put the rows that run() returned into the one file, in the order of the mini batches."""
        if self._task["append_to"] is None:
            return
        target = Path(self._task["append_to"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as output:
            if self._task["header"] and self._headers:
                output.write((self._headers[min(self._headers)] + "\n").encode())
            for number in range(self._total):
                path = Path(self._task["rows"], str(number))
                if path.exists():
                    with path.open("rb") as rows:
                        shutil.copyfileobj(rows, output)

    def _rows(self, number: int) -> str | None:
        return None if self._task["append_to"] is None else str(Path(self._task["rows"], str(number)))

    def _guarded(self, number: int) -> None:
        try:
            self._work(number)
        except StoppedError:
            pass
        except BaseException as error:
            self._fail(f"the driver itself failed: {type(error).__name__}: {error}")
            raise

    def _work(self, number: int) -> None:
        worker = None
        try:
            while not self._stop.is_set():
                try:
                    index, batch = self._left.popleft()
                except IndexError:
                    break
                for attempt in range(self._task["max_retries"] + 1):
                    if worker is None:
                        worker = self._start(number)
                    done = self._try(worker, index, batch)
                    if done.get("lost"):
                        worker.kill()
                        worker = None
                    if self._count(index, batch, attempt, done, number):
                        break
            if worker is not None and not self._stop.is_set():
                leaving, worker = worker, None
                self._shut_down(leaving)
        finally:
            if worker is not None:
                worker.kill()

    def _start(self, number: int) -> Worker:
        worker = Worker(number, self._task, self._stop)
        try:
            answer = worker.receive(self._task["startup_timeout"], "init()")
        except LostWorkerError as error:
            answer = {"error": str(error)}
        except StoppedError:
            worker.kill()
            raise
        if "error" in answer:
            worker.kill()
            self._fail(f"{self._task['entry_script']}: {answer['error']}")
            raise StoppedError
        return worker

    def _try(self, worker: Worker, index: int, batch: dict[str, Any]) -> dict[str, Any]:
        """Have a worker do a mini batch; where that loses the worker, the answer says so."""
        items = 0 if "reader" in batch else len(batch["files"])
        worker.send({"number": index, "batch": batch, "rows": self._rows(index)})
        try:
            answer = worker.receive(self._task["overhead_timeout"], "reading its data")
            if answer["event"] != "running":
                return {"items": items, **answer}
            items = answer["items"]
            return {"items": items, **worker.receive(self._task["timeout"], "run()")}
        except LostWorkerError as error:
            return {"items": items, "error": str(error), "lost": True}

    def _count(self, index: int, batch: dict[str, Any], attempt: int, done: dict[str, Any], worker: int) -> bool:
        """Count an attempt; tell whether the mini batch is through with."""
        last = attempt == self._task["max_retries"]
        items, returned = done["items"], done.get("returned", 0)
        error = done.get("error")
        if error is None and returned < items:
            error = f"run() returned {returned} of {items} items"
        with self._lock:
            totals = self._totals
            if error is None or last:
                totals.batches += 1 if items or error else 0
                totals.items += items
                totals.processed += min(returned, items)
                totals.failed_items += max(0, items - returned)
            if error is None:
                totals.succeeded += 1 if items else 0
                if done.get("header") is not None:
                    self._headers[index] = done["header"]
                seconds = done.get("seconds", 0.0)
                log(f"mini batch {index}: {items} items, {returned} returned, {seconds:.1f} s, process {worker}")
                return True
            files = ", ".join(batch["files"][:3]) + (" …" if len(batch["files"]) > 3 else "")
            tries = f"attempt {attempt + 1} of {self._task['max_retries'] + 1}"
            log(f"mini batch {index} failed ({tries}): {error}; files: {files}")
            self._keep(worker, index, attempt, done.get("traceback"))
            if not last:
                totals.retried += 1
                return False
            totals.failed += 1
            reason = self._too_much()
        if reason is not None:
            self._fail(f"{reason}; last: mini batch {index}: {error}")
        return True

    def _too_much(self) -> str | None:
        task, totals = self._task, self._totals
        if -1 < task["failed_batches"] < totals.failed:
            return f"{totals.failed} failed mini batches, mini_batch_error_threshold is {task['failed_batches']}"
        if -1 < task["failed_items"] < totals.failed_items:
            return f"{totals.failed_items} failed items, error_threshold is {task['failed_items']}"
        if totals.failed * 100 > task["failed_percent"] * self._total:
            of = f"{totals.failed} of {self._total} mini batches failed"
            return f"{of}, allowed_failed_percent is {task['failed_percent']:g}"
        return None

    def _keep(self, worker: int, index: int, attempt: int, text: str | None) -> None:
        if text:
            folder = Path(self._task["logs"], "user", "error")
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"process{worker:03d}.txt").open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"mini batch {index}, attempt {attempt + 1}\n{text}\n")

    def _shut_down(self, worker: Worker) -> None:
        try:
            answer = worker.finish(self._task["startup_timeout"])
        except LostWorkerError as error:
            answer = {"error": str(error)}
        if "error" in answer:
            self._fail(f"{self._task['entry_script']}: {answer['error']}")

    def _fail(self, message: str) -> None:
        with self._lock:
            if self._totals.message is None:
                self._totals.message = message
        self._stop.set()


def log(text: str) -> None:
    """Write a line to the step's log, whole even where several threads write."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(path: str) -> int:
    """Do the work that a file describes; give the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need be no UTF-8
    task = json.loads(Path(path).read_text(encoding="utf-8"))
    Path(task["rows"]).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    run = Run(task)
    totals = run.run()
    run.append()
    shutil.rmtree(task["rows"], ignore_errors=True)
    workers = min(task["workers"], len(task["batches"]))
    log(
        f"{totals.batches} of {len(task['batches'])} mini batches: {totals.succeeded} succeeded, "
        f"{totals.failed} failed, {totals.retried} retries; {totals.items} items: {totals.processed} processed, "
        f"{totals.failed_items} failed; {time.monotonic() - started:.1f} s, {workers} processes"
    )
    if totals.message is not None:
        log(f"failed: {totals.message}")
    Path(task["summary"]).write_text(json.dumps(vars(totals)), encoding="utf-8")
    return 0 if totals.message is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
