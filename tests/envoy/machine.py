"""One real Envoy for the pods of a machine: a mesh's own network, capture rules in each pod, and the agents' secrets.

async with Machine.running(directory, authority, {"webapp-0.vm": 2, "other-0.shop": 3}, MESH) as machine:
    await machine.app("calculator-0.vm", 8888)
    assert "..." in await machine.request("webapp-0.vm", "10.96.0.7", 8888, "calculator")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Set
from pathlib import Path

import yaml
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from pilotfish.capture import ALL, CaptureSpec
from pilotfish.config import load
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import LISTENER
from pilotfish.identity.sds import Secret as ServedSecret
from pilotfish.identity.sds import Secrets
from pilotfish.mesh import inputs
from pilotfish.mesh.problems import across
from pilotfish.model import Proxy, Severity
from pilotfish.model.private import PrivateBytes
from pilotfish.model.proxy import ProxyType
from pilotfish.runtime import capture
from pilotfish.runtime.agent.sds import SecretServer
from pilotfish.runtime.linux.netns import DIRECTORY, NetNs
from pilotfish.runtime.net.leftovers import sweep
from pilotfish.runtime.net.names import pod_name
from pilotfish.runtime.net.network import MeshNetwork
from tests.certificates import issue
from tests.envoy.authority import Authority
from tests.envoy.calls import call
from tests.envoy.conftest import APP, Ads, UnixConnection, envoy_command
from tests.waiting import until

NAME = "machine-0"


def pod_object(pod: str, address: str, labels: Mapping[str, str], **annotations: str) -> str:
    """A pod that the machine's proxy serves: as the node tells discovery of it."""
    name, _, namespace = pod.partition(".")
    account = labels.get("app", name)
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"security.istio.io/tlsMode": "istio", **labels},
        "annotations": {"pilotfish.io/proxy": "node", **annotations},
    }
    spec = {"nodeName": NAME, "serviceAccountName": account, "containers": [{"name": "app", "command": ["x"]}]}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": address}}
    )


class Machine:
    """The pods of a mesh's network, and the one Envoy that serves them."""

    def __init__(self, network: MeshNetwork, directory: Path, authority: Authority) -> None:
        self.network = network
        self.log = directory / "envoy.log"
        self._authority = authority
        self._base = Path(f"/tmp/pft-{os.getpid()}")
        self._secrets = SecretServer()
        self._pods: dict[str, str] = {}
        """Their objects."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ads: Ads | None = None
        self._mesh = ""
        prefix = str(DIRECTORY / pod_name(network.mesh, "", "")).removesuffix(".")
        address = str(network.subnets.node[0])
        made = Proxy.of_pod(NAME, "istio-system", (address,), type=ProxyType.NODE)
        self.proxy = Proxy(
            made.id, made.name, made.namespace, made.domain, made.addresses, {}, type=made.type, certified=True,
            netns_prefix=prefix,
        )  # fmt: skip

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, directory: Path, mesh: str) -> AsyncIterator[Machine]:
        """With these objects, and no pod yet."""
        network = await MeshNetwork.create(f"t{os.getpid()}")
        machine = cls(network, directory, Authority(directory))
        try:
            await machine._start(mesh)
            yield machine
        finally:
            await machine._close()

    def address(self, number: int) -> str:
        return str(self.network.subnets.v4[number])

    def netns(self, pod: str) -> NetNs:
        name, _, namespace = pod.partition(".")
        return NetNs.named(pod_name(self.network.mesh, namespace, name))

    async def add_pod(self, pod: str, number: int, labels: Mapping[str, str], **annotations: str) -> None:
        """Its namespace with capture rules, its certificate, its object; returns when Envoy listens there."""
        name, _, namespace = pod.partition(".")
        addresses = (self.address(number), str(self.network.subnets.v6[number]))
        netns = await self.network.add_pod(namespace, name, addresses)
        everything = CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, enable_ipv6=True)
        await capture.apply(netns, everything)
        self._issue(pod, labels.get("app", name))
        self._pods[pod] = pod_object(pod, addresses[0], labels, **annotations)
        await self.update()

    async def remove_pod(self, pod: str) -> None:
        name, _, namespace = pod.partition(".")
        del self._pods[pod]
        await self.update()
        await self.network.remove_pod(namespace, name)

    async def update(self, mesh: str | None = None, problems: Set[str] = frozenset()) -> None:
        """These objects beside the pods; returns when Envoy acts by them. `problems`: the reasons of those between
        objects that are meant."""
        assert self._ads is not None
        self._mesh = self._mesh if mesh is None else mesh
        graph = self._graph()
        found = {problem.reason for problem in graph.get(across.problems) if problem.severity is not Severity.INFO}
        assert problems <= found
        self._ads.update(resource_set(graph, self.proxy))
        ads = self._ads
        await until("Envoy has all", lambda: ads.nacks or set(ads.taken.values()) == {str(ads.version)})
        assert not ads.nacks, ads.nacks
        await self._listening()

    async def app(self, pod: str, port: int, name: str) -> None:
        """An HTTP server in a pod (`conftest.APP`)."""
        await self.serve(self.netns(pod), "0.0.0.0", port, name)

    async def serve(self, netns: NetNs, address: str, port: int, name: str) -> None:
        self._run(f"{netns.name} {port}", netns, sys.executable, "-Sc", APP, address, str(port), name, pipe=True)
        process = self._processes[f"{netns.name} {port}"]
        assert process.stdout is not None
        ready = process.stdout
        assert await asyncio.to_thread(ready.readline) == b"ready\n"

    async def request(self, pod: str, address: str, port: int, host: str, path: str = "/") -> str:
        """What comes back, or why the connection ended; text that begins with ERROR where none can be made."""
        sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        netns = self.netns(pod).name

        def ask() -> str:
            try:
                return call(netns, address, port, [(0, sent)])[0].replace("\r\n", "\n")
            except OSError as error:
                return f"ERROR {error}"

        return await asyncio.to_thread(ask)

    def get(self, path: str) -> str:
        """Of Envoy's admin."""
        connection = UnixConnection(self._base.with_suffix(".admin"))
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def count(self, name: str) -> int:
        """Of Envoy's statistics."""
        found = json.loads(self.get(f"/stats?format=json&filter=^{name}$"))["stats"]
        return int(next((each["value"] for each in found if each.get("name") == name), 0))

    def descriptors(self) -> int:
        """How many Envoy has."""
        return len(list(Path(f"/proc/{self._processes['envoy'].pid}/fd").iterdir()))

    async def until_open(self, pod: str) -> None:
        """Somebody is connected to it, by way of Envoy."""
        await until("a connection is open", lambda: self._connections(pod) > 0)

    def _connections(self, pod: str) -> int:
        """Of others than its own, to the app."""
        found = subprocess.run(
            ["ip", "netns", "exec", self.netns(pod).name, "ss", "-Htn", "state", "established", "src", "127.0.0.6"],
            capture_output=True,
            text=True,
            check=True,
        )
        return len(found.stdout.splitlines())

    async def until_logged(self, text: str, times: int) -> None:
        await until(f"{text} in the log", lambda: self.log.read_text().count(text) >= times)

    def _graph(self) -> Graph:
        loaded = load("\n---\n".join((self._mesh, *self._pods.values())), "in.yaml", "vm")
        assert not loaded.problems, loaded.problems
        graph = Graph()
        inputs.apply(graph, {manifest.ref: manifest for manifest in loaded.manifests})
        inputs.apply_mesh_config(graph, loaded.mesh_config.config if loaded.mesh_config else MeshConfig())
        return graph

    def _issue(self, pod: str, account: str) -> None:
        namespace = pod.partition(".")[2]
        issued = issue(account, self._authority.root, f"spiffe://cluster.local/ns/{namespace}/sa/{account}")
        shown = Secret(name=str(self.netns(pod).path))
        shown.tls_certificate.certificate_chain.inline_string = issued.pem
        shown.tls_certificate.private_key.inline_string = issued.key
        self._secrets.update({**self._secrets.secrets, **_served(shown)})

    async def _start(self, mesh: str) -> None:
        self._mesh = mesh
        xds, sds, admin = (self._base.with_suffix(f".{name}") for name in ("xds", "sds", "admin"))
        self._ads = Ads(resource_set(self._graph(), self.proxy))
        self._server = self._ads.serve(xds)
        xds.chmod(0o777)
        await self._secrets.start(sds, 1337, 1337)
        self._secrets.update(_served(self._authority.secrets["ROOTCA"]))
        command = envoy_command(self.proxy, admin, xds, sds, ProxyConfig())
        as_envoy = ["setpriv", "--reuid=1337", "--regid=1337", "--clear-groups"]
        rights = ["--inh-caps=-all,+sys_admin", "--ambient-caps=-all,+sys_admin"]
        self._run("envoy", self.network.node, *as_envoy, *rights, *command)
        await self._listening()

    async def _listening(self) -> None:
        assert self._ads is not None
        wanted = {resource.name for resource in self._ads.resources.resources(LISTENER)}
        await until(f"{wanted} are listened at", lambda: wanted == self._listeners(), 20)

    def _listeners(self) -> set[str]:
        with contextlib.suppress(OSError):
            status = json.loads(self.get("/listeners?format=json")).get("listener_statuses", ())
            known = {each["name"] for each in status if not each["name"].startswith("static-")}
            return known if not self.count("listener_manager.total_listeners_warming") else set()
        return set()

    def _run(self, name: str, netns: NetNs, *command: str, pipe: bool = False) -> None:
        with self.log.open("ab") as log:
            os.chown(self.log, 1337, 1337)
            self._processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", netns.name, *command],
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
            )

    async def _close(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._ads is not None:
            await asyncio.to_thread(self._server.stop(None).wait)
        await self._secrets.close()
        await sweep(self.network.mesh)
        for name in ("xds", "admin"):
            self._base.with_suffix(f".{name}").unlink(missing_ok=True)


def _served(secret: Secret) -> Secrets:
    body = secret.SerializeToString()
    return {secret.name: ServedSecret(PrivateBytes(body), str(hash(body)))}
