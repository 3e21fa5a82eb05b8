"""Processes of a cluster: they write to a file, and do not outlive whoever started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

BOUND = ("setpriv", "--pdeathsig", "KILL")
"""What a command begins with whose process ends with the thread that started it."""


class Process:
    """Runs in the folder of its log."""

    def __init__(self, log: Path, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [*BOUND, *map(str, command)],
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Control-C is pytest's
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, within: float) -> None:
        """Until it ends by itself. Raises subprocess.TimeoutExpired."""
        self._process.wait(within)

    def end(self, number: signal.Signals = signal.SIGTERM, within: float = 10) -> None:
        """Told to, and killed if it does not."""
        self.send(number)
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait()
