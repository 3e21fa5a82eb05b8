"""Asking a pod's Envoy on its admin port, which listens on the pod's own loopback only."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pilotfish.cli.failure import Failure
from pilotfish.runtime.control.views import PodView
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Answer, AnswerError, Request
from pilotfish.runtime.linux.netns import NetNs

LISTENERS: Final = "/listeners?format=json"
CERTIFICATES: Final = "/certs"
ROUTES: Final = "dynamic_route_configs"
"""The section of a config dump."""
_TIMEOUT: Final = 10.0


def entry_of(section: str, name: str) -> str:
    """Of a config dump: one entry of a section."""
    return f"/config_dump?include_eds&resource={section}&name_regex={_exactly(name)}"


def cluster_of(name: str) -> str:
    """One cluster's endpoints, with their health."""
    return f"/clusters?format=json&filter={_exactly(name)}"


def read_json(pod: PodView, path: str) -> dict[str, object]:
    """The answer to GET `path`. Raises Failure where the pod has no Envoy, or it does not answer."""
    answer = _ask(pod, Request("GET", path))
    try:
        return answer.read(dict[str, object])
    except AnswerError as error:
        raise Failure(f"Envoy of pod {pod.name}.{pod.namespace} answers {path} with {error}") from error


def post(pod: PodView, path: str) -> str:
    """The text that a POST is answered with. Raises Failure as `read_json` does."""
    answer = _ask(pod, Request("POST", path))
    if answer.status != 200:
        raise Failure(f"Envoy of pod {pod.name}.{pod.namespace} answers {path} with {answer.status}: {answer.excerpt}")
    return answer.body.decode(errors="replace")


def _ask(pod: PodView, request: Request) -> Answer:
    place = f"{pod.name}.{pod.namespace}"
    if not pod.captured:
        raise Failure(f"pod {place} has no sidecar, so there is no proxy configuration; it asked not to have one")
    try:
        # A socket belongs to the namespace that it was made in, wherever the process is when it connects.
        stream = NetNs(Path(pod.netns)).socket()
        return blocking.ask(stream, ("127.0.0.1", pod.admin_port), request, _TIMEOUT)
    except OSError as error:
        hint = f"'pilotfish logs {place} -c istio-proxy' shows why"
        raise Failure(f"Envoy of pod {place} does not answer on its admin port: {error}; {hint}") from error


class Asked:
    """What Envoys answer while their mesh is looked at: each question is asked once, and one that is foreseen before it
    comes. An Envoy takes a tenth of a second to write down a thousand virtual hosts, and the caller as long to load
    what reads them."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], _Answer] = {}

    def foresee(self, pod: PodView, *paths: str) -> None:
        for path in paths if pod.captured else ():
            self._ask(pod, path)

    def read(self, pod: PodView, path: str) -> dict[str, object]:
        """As `read_json`."""
        return self._ask(pod, path).wait()

    def _ask(self, pod: PodView, path: str) -> _Answer:
        key = pod.netns, path
        if key not in self._answers:
            self._answers[key] = _Answer(pod, path)
            self._answers[key].start()
        return self._answers[key]


class _Answer(threading.Thread):
    def __init__(self, pod: PodView, path: str) -> None:
        super().__init__(daemon=True)
        self._pod = pod
        self._path = path
        self._found: dict[str, object] = {}
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._found = read_json(self._pod, self._path)
        except Exception as error:  # whoever waits is told
            self._error = error

    def wait(self) -> dict[str, object]:
        self.join()
        if self._error is not None:
            raise self._error
        return self._found


def _exactly(name: str) -> str:
    return quote(f"^{re.escape(name)}$", safe="")
