"""pilotfish in the cluster of the tests: installed by its own command, from the image that users build, and removed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.model.wellknown import MONITORING_PORT, ROOT_NAMESPACE
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs
from tests.cluster import images
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.node import Node
from tests.waiting import wait_until

MESHED = {"istio-injection": "enabled"}
"""Of a Namespace whose pods get a sidecar."""
PILOTFISH = Path(sys.executable).parent / "pilotfish"
_SETTINGS = (
    f"hub={images.OWN_HUB}",
    f"tag={images.OWN_TAG}",
    # Many pods share two processors here.
    "discovery.resources.requests.cpu=100m",
    "proxy.resources.requests.cpu=10m",
    "proxy.resources.requests.memory=32Mi",
)


@dataclass(frozen=True)
class Mesh:
    node: Node

    @cached_property
    def root(self) -> Kubectl:
        """kubectl in the namespace of the control plane."""
        return self.node.kubectl.within(ROOT_NAMESPACE)

    def pilotfish(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command of this checkout, as somebody at the node types it."""
        return self.node.run(PILOTFISH, *arguments, **options)

    def replicas(self) -> list[Object]:
        """The running pods of discovery."""
        pods = self.root.items("pods", "-l", "app=istiod")
        return [
            pod for pod in pods if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def ask(self, replica: Object, path: str) -> Any:
        """What a replica of discovery answers on its monitoring port: on its loopback, where everything may be read."""
        pid = self.node.pids(replica["status"]["containerStatuses"][0]["containerID"])[0]
        inside = NetNs(Path(f"/proc/{pid}/ns/net")).socket()
        return json.loads(blocking.ask(inside, ("127.0.0.1", MONITORING_PORT), Request("GET", path), 5).body)

    def routes(self, replicas: Sequence[Object]) -> dict[str, str]:
        """Sidecar → the nonce of the routes that it acknowledged last; "" while it has some to acknowledge."""
        rows = [row for replica in replicas for row in self.ask(replica, "/debug/syncz")]
        rows = [row for row in rows if row["proxy_type"] == "sidecar"]
        return {row["proxy"]: row["route_acked"] if row["route_sent"] == row["route_acked"] else "" for row in rows}

    def change_took(self, kubectl: Kubectl, change: Object) -> float:
        """Seconds from the end of `kubectl apply` until all sidecars have acknowledged new routes."""
        replicas = self.replicas()
        before = self.routes(replicas)

        def is_everywhere() -> bool:
            return all(nonce not in ("", before[proxy]) for proxy, nonce in self.routes(replicas).items())

        kubectl.apply(change)
        began = time.monotonic()
        wait_until("all sidecars have acknowledged new routes", is_everywhere)
        return time.monotonic() - began

    def logged(self, kubectl: Kubectl, pod: str, request_id: str) -> AccessLogEntry:
        """The access log's entry of a request, at a pod's sidecar."""

        def find() -> AccessLogEntry | None:
            lines = kubectl.logs(pod, "istio-proxy", "--tail", "500").splitlines()
            entries = (parse_access_log(line) for line in lines if line.startswith("["))
            return next((entry for entry in entries if entry and entry.request_id == request_id), None)

        entry: AccessLogEntry = wait_until(f"{request_id} in the access log of {pod}", find)
        return entry


@contextmanager
def installed(node: Node, *settings: str) -> Iterator[Mesh]:
    """Of this checkout. What is left after `uninstall --purge` fails the test."""
    node.load(images.pilotfish())
    mesh = Mesh(node)
    before = _objects(node.kubectl)
    chosen = [word for each in (*_SETTINGS, *settings) for word in ("--set", each)]
    try:
        mesh.pilotfish("install", *chosen, timeout=120)
        yield mesh
    finally:
        done = mesh.pilotfish("uninstall", "--purge", "--yes", check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    with suppress(AssertionError):  # what goes takes its time
        wait_until("nothing is left", lambda: _objects(node.kubectl) == before, 30)
    assert _objects(node.kubectl) - before == set(), done.stdout


def _objects(kubectl: Kubectl) -> set[str]:
    """All that the cluster holds, but for what comes and goes by itself."""
    kinds = [
        *kubectl("api-resources", "--verbs=list", "--output", "name", "--namespaced=true").split(),
        *kubectl("api-resources", "--verbs=list", "--output", "name", "--namespaced=false").split(),
    ]
    wanted = ",".join(kind for kind in kinds if kind.partition(".")[0] not in ("events", "componentstatuses", "leases"))
    # A kind that is about to go is listed for a moment, and can't be asked for.
    return set(kubectl.run("get", wanted, "--all-namespaces", "--output", "name", check=False).stdout.split())
