"""Asking a pod's Envoy on its admin port, which listens on the pod's own loopback only."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

from pilotfish.cli.failure import Failure
from pilotfish.model.wellknown import ADMIN_PORT
from pilotfish.runtime.control.views import PodView
from pilotfish.runtime.linux.netns import NetNs

_ADDRESS = ("127.0.0.1", ADMIN_PORT)


def read_json(pod: PodView, path: str, timeout: float = 10) -> dict[str, object]:
    """The answer to GET `path`. Raises Failure where the pod has no Envoy, or it does not answer."""
    place = f"{pod.name}.{pod.namespace}"
    if not pod.captured:
        raise Failure(f"pod {place} has no sidecar, so there is no proxy configuration; it asked not to have one")
    try:
        status, body = _get(NetNs(Path(pod.netns)), path, timeout)
    except (OSError, http.client.HTTPException) as error:
        hint = f"'pilotfish logs {place} -c istio-proxy' shows why"
        raise Failure(f"Envoy of pod {place} does not answer on its admin port: {error}; {hint}") from error
    if status != 200:
        raise Failure(f"Envoy of pod {place} answers {status} to {path}: {body[:200].decode(errors='replace')}")
    answer = json.loads(body)
    return answer if isinstance(answer, dict) else {}


def _get(netns: NetNs, path: str, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*_ADDRESS, timeout=timeout)
    connection.sock = _connect(netns, timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _connect(netns: NetNs, timeout: float) -> socket.socket:
    """A socket belongs to the namespace that it was made in, wherever the process is when it connects."""
    stream = netns.socket()
    stream.settimeout(timeout)
    try:
        stream.connect(_ADDRESS)
    except OSError:
        stream.close()
        raise
    return stream
