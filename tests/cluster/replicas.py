"""Replicas of discovery as processes, at an API server of the test's own, and pods that ask them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from pilotfish.identity.requests import build_request, new_key
from pilotfish.install.access import discovery_access
from pilotfish.install.crds import build_crds
from pilotfish.install.names import OURS, Names
from pilotfish.install.objects import account
from pilotfish.model.private import reveal
from pilotfish.model.wellknown import DISCOVERY_NAME
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.spec import AuthoritySpec
from pilotfish.runtime.discovery.address import Address
from tests.cluster.api_server import OwnApiServer
from tests.cluster.kubectl import Kubectl
from tests.cluster.process import Process
from tests.runtime.identities import Shown
from tests.waiting import wait_until

_SERVING = re.compile(r"serving xDS on (\S+) \(TLS\), (\S+), monitoring on (\S+)")
_PROGRAM = Path(sys.executable).with_name("pilotfish")
ROOT_MAP = "configmap/istio-ca-root-cert"


@dataclass(frozen=True)
class Replica:
    process: Process
    secure: Address
    monitoring: Address

    @property
    def name(self) -> str:
        """Its pod's."""
        return self.process.log.stem.replace("discovery", "istiod")

    @property
    def cpu(self) -> float:
        """Seconds of computing, so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Replicas:
    def __init__(self, server: OwnApiServer, folder: Path) -> None:
        self.server = server
        self.kubectl = server.api.kubectl
        self._folder = folder
        self._number = 0

    def begin(self, *options: str, kubeconfig: Path | None = None) -> Process:
        self._number += 1
        log = self._folder / f"discovery-{self._number}.log"
        anywhere = ("--secure-address=127.0.0.1:0", "--xds-address=127.0.0.1:0", "--monitoring-address=127.0.0.1:0")
        config = kubeconfig or self.server.api.kubeconfig
        environment = {"POD_NAME": f"istiod-{self._number}"}
        command = (_PROGRAM, "discovery", "--cluster", f"--kubeconfig={config}")
        return Process(log, *command, *anywhere, *options, environment=environment)

    def served(self, process: Process) -> Replica:
        """Once it serves."""

        def found() -> re.Match[str] | None:
            if process.has_ended:
                raise AssertionError(process.last_words())
            return _SERVING.search(process.log.read_text())

        secure, _, monitoring = wait_until(f"it serves ({process.log})", found, 40).groups()
        return Replica(process, Address.parse(secure), Address.parse(monitoring))

    def account(self) -> Path:
        """A kubeconfig of the account that an installation makes for discovery, which may do what that says."""
        names = Names()
        self.kubectl.apply(yaml.safe_dump_all((account(names.service, names, OURS), *discovery_access(names, OURS))))
        token = self.kubectl.within(names.namespace)("create", "token", names.service).strip()
        config = json.loads(self.kubectl("config", "view", "--raw", "--flatten", "--output", "json"))
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        config["contexts"][0]["context"]["user"] = "admin"
        path = self._folder / "account.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    @contextmanager
    def running(self, number: int, *options: str, kubeconfig: Path | None = None) -> Iterator[list[Replica]]:
        with ExitStack() as stack:
            begun = [self.begin(*options, kubeconfig=kubeconfig) for _ in range(number)]
            for process in begun:
                stack.callback(process.end, signal.SIGTERM, 5)
            yield [self.served(process) for process in begun]

    def pilotfish(self, *arguments: str) -> str:
        """What a command of ours prints about this cluster."""
        command = (str(_PROGRAM), *arguments, f"--kubeconfig={self.server.api.kubeconfig}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not done.returncode, done.stderr
        return done.stdout

    def leader(self) -> str:
        """The pod's name; "" of nobody."""
        done = self.kubectl.run("get", "lease/pilotfish-leader", "-n", "istio-system", "-o", "yaml", check=False)
        found = yaml.safe_load(done.stdout) if not done.returncode else {}
        holder: str = (found or {}).get("spec", {}).get("holderIdentity") or ""
        return holder.partition("_")[0]

    def pod(self, namespace: str, name: str, account: str = "default") -> str:
        """Makes one, which has no address yet. A token that is bound to it."""
        kubectl = self.kubectl.within(namespace)
        spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "none"}]}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={name}")
        return kubectl("create", "token", account, "--audience=istio-ca", *bound).strip()

    async def certificate(self, replica: Replica, token: str) -> Shown:
        """As an agent gets it that trusts the ConfigMap of its namespace."""
        roots = self._folder / "roots.pem"
        root = self.kubectl.within("istio-system")
        await asyncio.to_thread(root.wait, "create", ROOT_MAP)
        found = root.get(ROOT_MAP)
        roots.write_text(found["data"]["root-cert.pem"])
        spec = AuthoritySpec(str(replica.secure), roots, lambda: token, DISCOVERY_NAME)
        key = new_key()
        client = AuthorityClient(spec, lambda family: socket.socket(family))
        chain = await client.create(build_request(key), 3600, token)
        return Shown(key, b"".join(chain[:-1]), chain[-1])


def own_address() -> str:
    """One of this machine's that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        address: str = probe.getsockname()[0]
        return address


def channel(replica: Replica, shown: Shown) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(shown.roots, reveal(shown.key), shown.chain)
    options = (("grpc.ssl_target_name_override", DISCOVERY_NAME), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(str(replica.secure), credentials, options)


@contextmanager
def discovery_is_at(replicas: Replicas, made: Sequence[Replica]) -> Iterator[None]:
    """Its Service leads to these, which listen at `own_address`, as a cluster's controllers and kubelets have it."""
    root = replicas.kubectl.within("istio-system")
    root("create", "serviceaccount", "istiod")
    replicas.pod("istio-system", "istiod-1", "istiod")
    status = json.dumps({"status": {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}})
    root("patch", "pod/istiod-1", "--subresource=status", "--type=merge", "-p", status)
    for number, each in enumerate(made):
        root.apply(_serving_slice(number, each.monitoring.port))
    try:
        yield
    finally:
        root("delete", "pod/istiod-1", "serviceaccount/istiod", "--now")
        root("delete", "endpointslice", "--all")


def _serving_slice(number: int, port: int) -> dict[str, Any]:
    """As a cluster's controllers keep one of discovery's Service."""
    labels = {"kubernetes.io/service-name": "istiod"}
    head = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    ports = [{"name": "http-monitoring", "port": port}]
    # The API server lets no slice name loopback, which is this machine's address here.
    endpoints = [{"addresses": [own_address()], "conditions": {"ready": True}}]
    return {**head, "metadata": {"name": f"istiod-{number}", "labels": labels}, "endpoints": endpoints, "ports": ports}


def define_kinds(kubectl: Kubectl) -> None:
    """Istio's, and the namespaces that every installation has."""
    kubectl.apply(yaml.safe_dump_all(build_crds({})))
    kubectl("create", "namespace", "istio-system")
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def virtual_service(name: str, host: str, **more: Any) -> dict[str, Any]:
    spec = {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}], **more}]}
    head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}}
    return {**head, "spec": spec}
