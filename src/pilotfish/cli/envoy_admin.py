"""Asking a pod's Envoy on its admin port, which listens on the pod's own loopback only."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pilotfish.cli.failure import Failure
from pilotfish.runtime.control.views import CertificateView, PodView
from pilotfish.runtime.http.message import Answer, AnswerError, Request

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh

LISTENERS: Final = "/listeners?format=json"
CERTIFICATES: Final = "/certs"
ROUTES: Final = "dynamic_route_configs"
"""The section of a config dump."""


def entry_of(section: str, name: str) -> str:
    """Of a config dump: one entry of a section."""
    return f"/config_dump?include_eds&resource={section}&name_regex={_exactly(name)}"


def cluster_of(name: str) -> str:
    """One cluster's endpoints, with their health."""
    return f"/clusters?format=json&filter={_exactly(name)}"


def read_json(mesh: Mesh, pod: PodView, path: str) -> dict[str, object]:
    """The answer to GET `path`. Raises Failure where the pod has no Envoy, or it does not answer."""
    answer = _ask(mesh, pod, Request("GET", path))
    try:
        return answer.read(dict[str, object])
    except AnswerError as error:
        raise Failure(f"Envoy of pod {pod.name}.{pod.namespace} answers {path} with {error}") from error


def post(mesh: Mesh, pod: PodView, path: str) -> str:
    """The text that a POST is answered with. Raises Failure as `read_json` does."""
    answer = _ask(mesh, pod, Request("POST", path))
    if answer.status != 200:
        raise Failure(f"Envoy of pod {pod.name}.{pod.namespace} answers {path} with {answer.status}: {answer.excerpt}")
    return answer.body.decode(errors="replace")


def _ask(mesh: Mesh, pod: PodView, request: Request) -> Answer:
    place = f"{pod.name}.{pod.namespace}"
    if not pod.captured:
        raise Failure(f"pod {place} has no sidecar, so there is no proxy configuration; it asked not to have one")
    try:
        return mesh.ask_envoy(pod, request)
    except OSError as error:
        whose, hint = f"pod {place}", f"'pilotfish logs {place} -c istio-proxy' shows why"
        if pod.machine:
            whose, hint = f"machine {pod.machine}", "proxy.log in the mesh's directory, which 'status' names, shows why"
        raise Failure(f"Envoy of {whose} does not answer on its admin port: {error}; {hint}") from error


class Asked:
    """What Envoys answer while their mesh is looked at: each question is asked once, and one that is foreseen before it
    comes. An Envoy takes a tenth of a second to write down a thousand virtual hosts, and the caller as long to load
    what reads them. Pods that one Envoy serves have the same answers."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._answers: dict[tuple[str, str, str], _Answer] = {}

    def foresee(self, pod: PodView, *paths: str) -> None:
        for path in paths if pod.captured else ():
            self._ask(pod, path)

    def read(self, pod: PodView, path: str) -> dict[str, object]:
        """As `read_json`."""
        return self._ask(pod, path).wait()

    def _ask(self, pod: PodView, path: str) -> _Answer:
        key = (*(("", pod.machine) if pod.machine else (pod.namespace, pod.name)), path)
        if key not in self._answers:
            self._answers[key] = _Answer(self._mesh, pod, path)
            self._answers[key].start()
        return self._answers[key]


class _Answer(threading.Thread):
    def __init__(self, mesh: Mesh, pod: PodView, path: str) -> None:
        super().__init__(daemon=True)
        self._mesh = mesh
        self._pod = pod
        self._path = path
        self._found: dict[str, object] = {}
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._found = read_json(self._mesh, self._pod, self._path)
        except Exception as error:  # whoever waits is told
            self._error = error

    def wait(self) -> dict[str, object]:
        self.join()
        if self._error is not None:
            raise self._error
        return self._found


def read_certificate(held: Mapping[str, Any]) -> CertificateView | None:
    """Of what it answers to CERTIFICATES: the one that it shows as a pod of the mesh; None if it has none. It tells of
    it once for each cluster."""
    for chain in (each for pair in held.get("certificates", ()) for each in pair.get("cert_chain", ())):
        names = (name.get("uri", "") for name in chain.get("subject_alt_names", ()))
        if name := next((name for name in names if name.startswith("spiffe://")), ""):
            begin, end = (_seconds(chain.get(key)) for key in ("valid_from", "expiration_time"))
            return CertificateView(
                subject=name, serial=str(chain.get("serial_number", "")), not_before=begin, not_after=end
            )
    return None


def _seconds(moment: object) -> float:
    return datetime.fromisoformat(str(moment)).timestamp() if moment else 0.0


def _exactly(name: str) -> str:
    return quote(f"^{re.escape(name)}$", safe="")
