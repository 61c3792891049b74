"""Shows downloads: a bar in a terminal, a line each elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from amlocal.run.downloads import Advance


class ConsoleDownloads:
    """Shows downloads on a console.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def reused(self, url: str, downloaded: float) -> None:
        """See ``DownloadView``."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(downloaded))
        self._say(f"reuses the download of {when}: {url}")

    @contextmanager
    def fetching(self, url: str) -> Iterator[Advance]:
        """See ``DownloadView``."""
        last = 0

        def note(arrived: int, total: int | None) -> None:
            del total
            nonlocal last
            last = arrived

        if self._console.is_terminal:
            columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            with Progress(*columns, console=self._console, transient=True) as progress:
                task = progress.add_task("", total=None)

                def advance(arrived: int, total: int | None) -> None:
                    note(arrived, total)
                    progress.update(task, completed=arrived, total=total)

                yield advance
        else:
            yield note
        self._say(f"downloaded {decimal(last)}: {url}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
