"""A browser without a screen, asked over the Chrome DevTools Protocol through a pair of pipes: no driver, no port.

Source: https://chromedevtools.github.io/devtools-protocol/ and, for the pipes, `--remote-debugging-pipe`.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
_PATIENCE = 20.0
Message = dict[str, Any]


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Page:
    """A tab. What it did is in `events`."""

    _to: int
    _from: int
    _session: str = ""
    _sent: int = 0
    _buffer: bytes = b""
    events: list[Message] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> Any:
        """Its result. AssertionError for what the browser refuses, or does not answer."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._answer(self._sent, method)

    def _answer(self, number: int, method: str) -> Any:
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self.events.append(message)

    def _read(self) -> Message:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser says nothing"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser is gone"
            self._buffer += piece
        first, _, self._buffer = self._buffer.partition(b"\0")
        message: Message = json.loads(first)
        return message

    def open(self, file: Path, width: int = 1100, height: int = 900, **features: str) -> None:
        """And wait until it is shown. `features`: media features, such as prefers_color_scheme="dark"."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def run(self, expression: str) -> Any:
        """The value of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def requests(self) -> list[str]:
        """The addresses that were asked for since it was opened."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[Message]:
        """What stands in its console."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in methods]


@contextmanager
def browse(program: str, folder: Path) -> Iterator[Page]:
    """A browser with one tab. `folder`: for what it keeps."""
    read_there, write_here = os.pipe()
    read_here, write_there = os.pipe()
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    process = subprocess.Popen(
        # It reads from descriptor 3 and writes to 4.
        ["bash", "-c", f'exec "$0" "$@" 3<&{read_there} 4>&{write_there}', program, *flags, *quiet,
         f"--user-data-dir={folder}", "about:blank"],
        pass_fds=(read_there, write_there), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    os.close(read_there)
    os.close(write_there)
    try:
        page = Page(write_here, read_here)
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page._session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        yield page
        page._session = ""
        page.call("Browser.close")
        process.wait(_PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait(_PATIENCE)
        os.close(write_here)
        os.close(read_here)
