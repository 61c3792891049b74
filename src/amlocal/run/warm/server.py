"""Imports what a script imports, and then starts the script again and again by forking: ``server.py SOCKET``.

Runs in the Python of the scripts, which may not have amlocal: the standard library alone, and Python 3.8 on. SOCKET is
the number of a file descriptor. Over it come and go JSON objects, one a line:

- first what to import, answered with ``ready`` or ``refused``;
- then one script to start at a time, answered with its process or the reason why it has to start otherwise;
- and how each ended, when it has.

What is forked is what a fresh interpreter would be at the script's first line, but for modules that are loaded already:
working directory, arguments, environment, output, session, signals, ``sys.path`` and chance are the script's own. No
other thread may be there: what one holds at that moment is held for ever in the child. Libraries that start threads at
import and stop them for a fork (OpenBLAS) are given one to do so; where any is left, nothing is forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import json
import os
import selectors
import signal
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/accel", "/dev/habanalabs")
_SETTLE_SECONDS = 1.0
_MOVED = frozenset({"PATH", "VIRTUAL_ENV", "AMLOCAL_STEP_PYTHON"})
"""Variables that name the layer over Python, which is empty here as in a script that just starts."""


class RefusedError(Exception):
    """A script cannot be forked and be what it would be otherwise."""


class ReadVariables:
    """The names of the environment variables that Python code asks for.

    A copy of the whole environment reads those alone that are set: the ones that differ from script to script are not.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note them for a while."""
        encode = os.environ.encodekey

        def noting(name: Any) -> Any:
            encoded = encode(name)
            self.names.add(name)
            return encoded

        variables: Any = os.environ
        variables.encodekey = noting
        try:
            yield
        finally:
            variables.encodekey = encode


def main(number: int) -> None:
    """Serve until the other end is closed; in a child, run the script.

    Args:
        number: the file descriptor to talk over.
    """
    run = serve(socket.socket(fileno=number))
    if run is not None:
        run()


def serve(connection: socket.socket) -> Callable[[], None] | None:
    """Import, and start scripts.

    Returns:
        In each child what it is to run; None when nothing can be forked.
    """
    asked = Lines(connection)
    order = json.loads(asked.read()[0])
    read = ReadVariables()
    variables = dict(os.environ)
    try:
        with read.noted(), arrow_without_thread():
            import_all(order["imports"])
        refuse_shadowed(order["local"])
        settle()
    except RefusedError as reason:
        tell(connection, refused=str(reason), cpu_seconds=time.process_time())
        return None
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page that holds an object
    tell(connection, ready=True, cpu_seconds=time.process_time())
    with wakeups() as woken, selectors.DefaultSelector() as selector, connection:
        children: dict[int, int] = {}
        selector.register(connection, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 4096)
                reap(children, connection)
            if connection not in ready:
                continue
            lines = asked.read()
            if not lines:
                os._exit(0)
            for line in lines:
                task = json.loads(line)
                try:
                    pid = start(task, variables, read.names, connection)
                except (RefusedError, OSError) as reason:
                    tell(connection, number=task["number"], refused=str(reason))
                    continue
                if pid == 0:
                    return lambda: run_script(task["script"])
                children[pid] = task["number"]


class Lines:
    """Reads lines, and gives all of them that have come: one kept back would wait for the next to make it seen."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def read(self) -> list[bytes]:
        """Wait for a line; give it and those that came with it, none at the end."""
        while True:
            received = self._connection.recv(1 << 16)
            *lines, self._rest = (self._rest + received).split(b"\n")
            if lines or not received:
                return lines


def import_all(wanted: list[dict[str, Any]]) -> None:
    """Import modules in order.

    Raises:
        RefusedError: when one that a script cannot do without is not there.
    """
    for each in wanted:
        try:
            # As the statement does: a name may be a module, or made when it is first asked for.
            __import__(each["module"], fromlist=each["names"])
            module = sys.modules[each["module"]]
            for name in (*each["names"], *each["attributes"]):
                asked: Any = module
                for part in name.split("."):
                    asked = getattr(asked, part, None)
        except ImportError as error:
            if not each["optional"]:
                raise RefusedError(f"{each['module']} cannot be imported: {error}") from error


@contextlib.contextmanager
def arrow_without_thread() -> Iterator[None]:
    """Have pyarrow's allocator (jemalloc) give memory back as it goes, not in a thread that it starts when loaded."""
    name = "JE_ARROW_MALLOC_CONF"
    before = os.environ.get(name)
    os.environ[name] = ",".join(filter(None, [before, "background_thread:false"]))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def refuse_shadowed(local: list[str]) -> None:
    """Refuse where a module of the script's folder would have come before one that was loaded.

    Raises:
        RefusedError: naming it.
    """
    loaded = {name.partition(".")[0] for name in sys.modules}
    for name in sorted(loaded.intersection(local) - {"__main__"}):
        raise RefusedError(f"the code has a module {name} of its own, and what it imports has loaded another one")


def settle() -> None:
    """See to it that a fork is safe.

    Raises:
        RefusedError: when it is not.
    """
    devices = sorted(set(opened_devices()))
    if devices:
        raise RefusedError(f"an import has opened {devices[0]}, which a fork cannot share")
    pid = os.fork()  # has libraries stop their threads, which they start again when they need them
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while len(threads()) > 1 and time.monotonic() < deadline:
        time.sleep(0.005)  # a thread that was joined may still be listed for a moment
    refuse_threads()


def refuse_threads() -> None:
    """Refuse to fork beside other threads.

    Raises:
        RefusedError: naming them.
    """
    found = threads()
    if len(found) > 1:
        named = ", ".join(sorted(name for number, name in found.items() if number != os.getpid()))
        raise RefusedError(f"its imports have started threads: {named}")


def threads() -> dict[int, str]:
    """Name the threads of this process, by number."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found[int(thread.name)] = (thread / "comm").read_text().strip()
    return found


def opened_devices() -> Iterator[str]:
    """Give the accelerators' device files that are open."""
    for descriptor in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            path = str(descriptor.resolve())
            if path.startswith(_DEVICES):
                yield path


@contextlib.contextmanager
def wakeups() -> Iterator[int]:
    """Have the end of a child make a file descriptor readable."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(reading)
        os.close(writing)


def reap(children: dict[int, int], connection: socket.socket) -> None:
    """Tell how children ended."""
    for pid in list(children):
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            used = usage.ru_utime + usage.ru_stime
            tell(connection, number=children.pop(pid), status=status, cpu_seconds=used)


def start(task: dict[str, Any], variables: dict[str, str], read: set[str], connection: socket.socket) -> int:
    """Fork.

    Args:
        task: the script to start.
        variables: the environment in which this process imported.
        read: the variables that the imports asked for.
        connection: where the new process is made known before it does anything. Whoever knows of none starts the
            script in the usual way when this process ends, and it would run twice.

    Returns:
        The new process; 0 in it.

    Raises:
        RefusedError: when the script would not be what it is otherwise.
    """
    given: dict[str, str] = task["environment"]
    changed = {name for name in {*given, *variables} if given.get(name) != variables.get(name)} - _MOVED
    for name in sorted(changed & (read | variables.keys())):
        raise RefusedError(f"{name} differs from trial to trial, and an import may have read it")
    refuse_threads()
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    waiting, known = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.close(known)
        problem = "the process could not be set up"
        try:
            become(task)
            problem = ""
        except OSError as error:
            problem = str(error)
        finally:
            if problem:  # whatever it was: this must not go on as a second server
                os.write(writing, problem.encode(errors="replace"))
                os._exit(1)
        os.close(writing)
        if not os.read(waiting, 1):
            os._exit(1)
        os.close(waiting)
        return 0
    os.close(writing)
    os.close(waiting)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()  # its end: the child has a session of its own, and may be ended by its group
    with os.fdopen(known, "wb", buffering=0) as go:
        if not told:
            tell(connection, number=task["number"], pid=pid)
            with contextlib.suppress(BrokenPipeError):  # killed already, which its status will tell
                go.write(b".")
            return pid
    os.waitpid(pid, 0)
    raise RefusedError(told.decode(errors="replace"))


def become(task: dict[str, Any]) -> None:
    """Make this process, just forked, what a fresh one would be."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(task["log"]).open("ab") as log:
        log.write(Path(task["printed"]).read_bytes())  # what the imports said, as if they had been done here
        log.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    cwd = task["cwd"]
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(task["environment"])
    os.environ["PWD"] = cwd
    move_python(task["overlay"])
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, str(Path(cwd, task["script"]).parent.resolve()))
    sys.argv[:] = [task["script"], *task["arguments"]]
    if hasattr(sys, "orig_argv"):  # Python 3.10
        sys.orig_argv = ["python", *task["options"], *sys.argv]
    importlib.invalidate_caches()
    reseed()


def move_python(overlay: str) -> None:
    """Exchange the layer over Python in which this process was started for the script's own."""
    own = sys.prefix

    def moved(path: str) -> str:
        return overlay + path[len(own) :] if path == own or path.startswith(own + os.sep) else path

    sys.prefix, sys.exec_prefix = moved(sys.prefix), moved(sys.exec_prefix)
    sys.executable = moved(sys.executable)
    sys.path[:] = [moved(path) for path in sys.path]
    site = sys.modules.get("site")
    if site is not None:
        site.PREFIXES[:] = [moved(path) for path in site.PREFIXES]
    sysconfig: Any = sys.modules.get("sysconfig")
    if sysconfig is not None:
        sysconfig._PREFIX, sysconfig._EXEC_PREFIX = sys.prefix, sys.exec_prefix
        sysconfig._CONFIG_VARS = None
        if hasattr(sysconfig, "_CONFIG_VARS_INITIALIZED"):
            sysconfig._CONFIG_VARS_INITIALIZED = False
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = str(Path.cwd())
    spawn: Any = sys.modules.get("multiprocessing.spawn")
    if spawn is not None:
        spawn.set_executable(sys.executable)


def reseed() -> None:
    """Give numpy's generator chance of its own; Python's sees to that itself, and torch's starts from a constant."""
    random: Any = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def run_script(script: str) -> None:
    """Run a script as Python does: as ``__main__``, with its errors and exit codes."""
    path = Path(script) if sys.version_info < (3, 9) else Path.cwd() / script
    module = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", str(path))
    vars(module).update(__file__=str(path), __cached__=None, __loader__=loader, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - what this is for
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - as Python itself does with whatever a script lets through
        own_frame = error.__traceback__
        error.__traceback__ = own_frame and own_frame.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        sys.exit(1)


def tell(connection: socket.socket, **values: Any) -> None:
    """Send an object."""
    connection.sendall(json.dumps(values).encode() + b"\n")


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        sys.path.pop(0)  # the folder of this file, which no script knows
    main(int(sys.argv[1]))
