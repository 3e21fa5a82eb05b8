"""The live view of `up`: the mesh as it is now, drawn again whenever something changes."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live

from pilotfish.cli.render.live import render_line, render_live
from pilotfish.runtime.control.client import Client, Refused, Unreachable
from pilotfish.runtime.control.views import StatusView
from pilotfish.runtime.node.options import ProgressLine

_KEPT_LINES = 100
_LONGEST_WAIT = 5.0
"""Seconds that a question about changes stays open."""
_SHORTEST_PAUSE = 0.1
"""Seconds between two readings of the whole, so that a storm of changes costs little."""


class LiveView:
    """Draws on the terminal while it is entered. `on_progress` may be called from any thread."""

    def __init__(self, client: Client, name: str, console: Console | None = None) -> None:
        self._client = client
        self._name = name
        self._console = console or Console()
        self._view: StatusView | None = None
        self._lines: deque[ProgressLine] = deque(maxlen=_KEPT_LINES)
        self._ended = threading.Event()
        # The mesh's own process draws: the terminal must not keep it from ending.
        self._reader = threading.Thread(target=self._read, name="live-view", daemon=True)
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._live.stop()
        for line in self._lines:
            if line.severity != "info":
                self._console.print(render_line(line))
        if error is None:
            self._console.print(f"mesh {self._name} is down", highlight=False)

    def on_progress(self, line: ProgressLine) -> None:
        self._lines.append(line)

    def _draw(self) -> RenderableType:
        width, height = self._console.size
        return render_live(self._name, self._view, tuple(self._lines), time.time(), height, width)

    def _read(self) -> None:
        seen = -1
        while not self._ended.is_set():
            try:
                self._view = self._client.status()
                seen = self._client.events(since=seen, wait=_LONGEST_WAIT)
            except (Unreachable, Refused):
                # Not there yet, or going: what is said meanwhile tells.
                seen = -1
            self._ended.wait(_SHORTEST_PAUSE)
