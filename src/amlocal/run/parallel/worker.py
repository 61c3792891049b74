"""One process of a parallel node: loads the author's script and calls it with the mini batches it is sent.

Run by path from the driver, in the step's own Python; imports the standard library alone, and pandas for tables.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib.util
import inspect
import io
import logging
import multiprocessing.connection
import os
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Channel = multiprocessing.connection.Connection


class Script:
    """The author's script, loaded."""

    def __init__(self, path: Path) -> None:
        name = path.stem
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        for function in ("init", "run"):
            if not callable(getattr(module, function, None)):
                raise AttributeError(f"the script has no function {function}()")
        self.init, self._run = module.init, module.run
        self.shutdown = getattr(module, "shutdown", lambda: None)
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(self._run).parameters.values()
        self._takes_context = sum(parameter.kind in kinds for parameter in parameters) > 1

    def run(self, mini_batch: Any, number: int) -> Any:
        """Work on a mini batch; a function of two parameters also gets the context."""
        if not self._takes_context:
            return self._run(mini_batch)
        return self._run(mini_batch, types.SimpleNamespace(minibatch_index=str(number), dataset_index=0))


class Tables:
    """Reads parts of tables; keeps the file read last, whose next part usually comes next."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._frame: Any = None

    def part(self, batch: dict[str, Any]) -> Any:
        """Give the rows of a mini batch."""
        import pandas

        [path] = batch["files"]
        if path != self._path:
            reader = {"read_delimited": "read_csv", "read_json_lines": "read_json"}.get(batch["reader"])
            frame = getattr(pandas, reader or batch["reader"])(path, **batch["options"])
            if batch["options"].get("header", 0) is None:
                frame.columns = [f"Column{number}" for number in range(1, len(frame.columns) + 1)]
            if batch["columns"] is not None:
                frame = frame[list(batch["columns"])]
            frame = frame.drop(columns=list(batch["dropped"]))
            if batch["path_column"]:
                frame.insert(0, "Path", path)
            self._path, self._frame = path, frame
        rows, part, parts = len(self._frame), batch["part"], batch["parts"]
        return self._frame.iloc[rows * part // parts : rows * (part + 1) // parts].reset_index(drop=True)


def check(result: Any) -> None:
    """Refuse what run() may not return.

    Raises:
        TypeError: for anything but a list, tuple, array or data frame.
    """
    if isinstance(result, (str, bytes, dict)) or not hasattr(result, "__len__") or not hasattr(result, "__iter__"):
        found = "None" if result is None else f"a {type(result).__name__}"
        raise TypeError(f"run() returned {found}; expected a list, tuple, array or data frame")


def is_frame(result: Any) -> bool:
    """Tell a pandas data frame without importing pandas."""
    return hasattr(result, "to_csv") and hasattr(result, "columns")


def write_rows(result: Any, path: str) -> str | None:
    """Write a line per item, a data frame's values separated by blanks.

    Returns:
        A data frame's column names, likewise.
    """
    if is_frame(result):
        result.to_csv(path, sep=" ", header=False, index=False)
        line = io.StringIO()
        csv.writer(line, delimiter=" ", lineterminator="").writerow(result.columns)
        return line.getvalue()
    with Path(path).open("w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.writelines(f"{item}\n" for item in result)
    return None


def described(error: BaseException) -> dict[str, Any]:
    """Say what went wrong in the script: its last line, and the whole traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    if isinstance(error, SystemExit):
        text += "; Azure ML adds arguments of its own, so parse them with parse_known_args"
    return {"error": f"{text}{where}", "traceback": traceback.format_exc()}


def provide_entry_script(task: dict[str, Any]) -> None:
    """Provide ``azureml_user.parallel_run``, which scripts import for its logger."""
    folder = Path(task["logs"], "user", "entry_script_log")
    folder.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("EntryScript")
    logger.setLevel(task["logging_level"])
    handler = logging.FileHandler(folder / f"process{task['number']:03d}.log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)

    class EntryScript:
        """What Azure ML gives scripts of parallel nodes."""

        def __init__(self) -> None:
            self.logger = logger
            self.log_dir = str(folder.parent)
            self.working_dir = str(Path.cwd())

    package, module = types.ModuleType("azureml_user"), types.ModuleType("azureml_user.parallel_run")
    package.__path__ = []
    module.EntryScript = EntryScript  # type: ignore[attr-defined]
    package.parallel_run = module  # type: ignore[attr-defined]
    sys.modules.update({"azureml_user": package, "azureml_user.parallel_run": module})


def serve(connection: Channel) -> None:
    """Load the script and work until there is nothing more to do."""
    task = connection.recv()
    path = Path.cwd() / task["entry_script"]
    sys.argv = [str(path), *task["arguments"]]
    sys.path[0:1] = list(dict.fromkeys([str(path.parent), str(Path.cwd())]))
    provide_entry_script(task)
    script, problem = attempted(lambda: loaded(path))
    connection.send(problem or {"event": "ready"})
    if problem is not None:
        return
    tables = Tables()
    while True:
        message = connection.recv()
        if message is None:
            break
        done, problem = attempted(functools.partial(work, script, tables, message, connection))
        connection.send(problem or done)
    _, problem = attempted(script.shutdown)
    connection.send(problem or {"event": "over"})


def loaded(path: Path) -> Script:
    """Load the script and let it prepare itself."""
    script = Script(path)
    script.init()
    return script


def attempted(call: Callable[[], Any]) -> tuple[Any, dict[str, Any] | None]:
    """Call the author's code, which may raise anything, SystemExit included; give what it returns, or the problem."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        return None, {"event": "failed", **described(error)}


def work(script: Script, tables: Tables, message: dict[str, Any], connection: Channel) -> dict[str, Any]:
    """Do one mini batch; tell when run() starts, and give what came of it."""
    batch = message["batch"]
    mini_batch = tables.part(batch) if "reader" in batch else list(batch["files"])
    items = len(mini_batch)
    if items == 0:
        return {"event": "empty", "items": 0}
    if message["rows"] is not None:
        Path(message["rows"]).unlink(missing_ok=True)  # those of an earlier attempt
    connection.send({"event": "running", "items": items})
    started = time.monotonic()
    result = script.run(mini_batch, message["number"])
    check(result)
    header = None if message["rows"] is None else write_rows(result, message["rows"])
    return {"event": "done", "returned": len(result), "header": header, "seconds": time.monotonic() - started}


def main() -> None:
    """Serve the driver at the other end of the socket that it passed."""
    handle = int(sys.argv[1])
    os.set_inheritable(handle, False)
    # An error of the connection says that the driver is gone.
    with multiprocessing.connection.Connection(handle) as connection, contextlib.suppress(EOFError, OSError):
        serve(connection)


if __name__ == "__main__":
    main()
