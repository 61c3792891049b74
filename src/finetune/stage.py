"""What every stage's `main` does around its own work: arguments in, one clear message out."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from finetune.errors import InputError


def run_stage(main: Callable[[Sequence[str]], None]) -> None:
    """Run a stage's main function as a process.

    Args:
        main: takes the command line without the program's name and returns nothing.

    Raises:
        SystemExit: status 0 when main returns, 1 with the message on stderr when it raises `InputError`.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    _silence_progress_bars()
    for chatty, level in {"azure": logging.ERROR, "urllib3": logging.ERROR, "httpx": logging.WARNING}.items():
        logging.getLogger(chatty).setLevel(level)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _silence_progress_bars() -> None:
    """Keep libraries' progress bars out of a job's log, where each of their updates would be a line."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps a description's lines, and shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default is not None else action.help


def parse_arguments(dataclass_type: type, argv: Sequence[str], description: str | None) -> Any:
    """Parse a command line into one dataclass with `transformers.HfArgumentParser`.

    Args:
        dataclass_type: the stage's arguments; `metadata={"help": …}` of a field explains it in `--help`.
        argv: the command line without the program's name.
        description: what the stage does, for `--help`.

    Returns:
        An instance of `dataclass_type`.

    Raises:
        SystemExit: status 2 on an unknown or missing argument, 0 after `--help`.
    """
    from transformers import HfArgumentParser

    parser = HfArgumentParser(
        dataclass_type, description=description, formatter_class=HelpFormatter, allow_abbrev=False
    )
    (arguments,) = parser.parse_args_into_dataclasses(list(argv), look_for_args_file=False)
    return arguments
