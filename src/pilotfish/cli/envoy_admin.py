"""Asking a pod's Envoy on its admin port, which listens on the pod's own loopback only."""

from __future__ import annotations

from pathlib import Path

from pilotfish.cli.failure import Failure
from pilotfish.runtime.control.views import PodView
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import AnswerError, Request
from pilotfish.runtime.linux.netns import NetNs

_TIMEOUT = 10.0


def read_json(pod: PodView, path: str) -> dict[str, object]:
    """The answer to GET `path`. Raises Failure where the pod has no Envoy, or it does not answer."""
    place = f"{pod.name}.{pod.namespace}"
    if not pod.captured:
        raise Failure(f"pod {place} has no sidecar, so there is no proxy configuration; it asked not to have one")
    try:
        # A socket belongs to the namespace that it was made in, wherever the process is when it connects.
        stream = NetNs(Path(pod.netns)).socket()
        answer = blocking.ask(stream, ("127.0.0.1", pod.admin_port), Request("GET", path), _TIMEOUT)
    except OSError as error:
        hint = f"'pilotfish logs {place} -c istio-proxy' shows why"
        raise Failure(f"Envoy of pod {place} does not answer on its admin port: {error}; {hint}") from error
    try:
        return answer.read(dict[str, object])
    except AnswerError as error:
        raise Failure(f"Envoy of pod {place} answers {path} with {error}") from error
