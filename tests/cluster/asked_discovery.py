"""A discovery that an API server asks about pods and objects, by the names that its certificate has."""

from __future__ import annotations

import base64
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pilotfish.config.injection import Revision
from pilotfish.inject.webhooks import Answerer, build_injection_webhooks, build_validation_webhooks
from tests.cluster.kubectl import Kubectl
from tests.cluster.process import Process
from tests.waiting import wait_until

_RUN = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
_SERVICE = "istiod"
_ROOT = "istio-system"


@dataclass
class AskedDiscovery:
    kubectl: Kubectl
    folder: Path
    port: int
    monitoring: int
    process: Process | None = None

    @property
    def roots(self) -> bytes:
        return (self.folder / "state" / "ca" / "root-cert.pem").read_bytes()

    def start(self) -> None:
        """Until it answers. One that runs goes on."""
        if self.process is not None and not self.process.has_ended:
            return
        addresses = {
            "xds": "127.0.0.1:0",
            "monitoring": f"127.0.0.1:{self.monitoring}",
            "secure": "127.0.0.1:0",
            "webhook": f"127.0.0.1:{self.port}",
        }
        options = [f"--{name}-address={address}" for name, address in addresses.items()]
        folders = (f"--config={self.folder / 'manifests'}", f"--state={self.folder / 'state'}")
        self.process = Process(self.folder / "log", sys.executable, "-c", _RUN, "discovery", *folders, *options)
        wait_until("discovery answers", self._answers, within=60)

    def stop(self) -> None:
        if self.process is not None:
            self.process.end()

    def _answers(self) -> bool:
        assert self.process is not None
        assert not self.process.has_ended, self.process.last_words()
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def asked_discovery(kubectl: Kubectl, folder: Path, injection: Mapping[str, Any]) -> Iterator[AskedDiscovery]:
    """Its API server asks it about all pods and objects that Istio's labels mean. `injection`: the installation's
    values."""
    (folder / "manifests").mkdir()
    data = {"injection": yaml.safe_dump(dict(injection))}
    metadata = {"name": "istio", "namespace": _ROOT}
    values = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    (folder / "manifests" / "values.yaml").write_text(yaml.safe_dump(values))
    found = AskedDiscovery(kubectl, folder, _free_port(), _free_port())
    try:
        found.start()
        kubectl("create", "namespace", _ROOT)
        # The API server asks at the loopback, by a Service's name.
        service = {"type": "ExternalName", "externalName": "localhost"}
        head = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _SERVICE, "namespace": _ROOT}}
        kubectl.apply({**head, "spec": service})
        answerer = Answerer(_SERVICE, _ROOT, found.port, ca_bundle=base64.b64encode(found.roots).decode())
        for build in (build_injection_webhooks, build_validation_webhooks):
            kubectl.apply(build("pilotfish", Revision(), answerer))
        yield found
    finally:
        found.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
