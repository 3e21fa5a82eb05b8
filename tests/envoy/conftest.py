"""A real Envoy in a namespace of its own, fed with a ResourceSet over a minimal ADS server.

    client ns ──veth── pod ns: capture rules, Envoy, an app

What is tested is the resources: the server knows no versions, and the capture rules are the fewest that will do.

A live test takes the fixture `start` (`Start` is its type), which has all that such tests begin with:

    def test_which_app_answers(start: Start) -> None:
        live = start(MESH)                            # the objects' YAML; the pod's proxy is WEBAPP
        live.start_app(live.peer, PEER4, 80, "app")   # or tests/envoy/wire.py: start_wire
        assert "app GET /" in live.request(live.netns, "10.96.0.7", 80, "app.example.com")

Without root it is skipped. Problems of single objects, what Envoy refuses and what it warns of (a deprecated field)
fail the test, unless it says that they are meant: `problems={"NoEffect"}`, `refused=True`. `proxy=` is for whom the
resources are made: `proxy=EDGE` starts a gateway. meshConfig is read where it stands among the objects, in the
ConfigMap `istio`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from pilotfish.config import load
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.derive import Graph
from pilotfish.envoy.bootstrap import BootstrapSpec, Counted, bootstrap
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.mesh.discovery_selectors import within
from pilotfish.mesh.ingresses import with_ingresses
from pilotfish.model import Proxy
from pilotfish.model.private import reveal
from pilotfish.model.proxy import ProxyType
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.files import FileSecrets
from pilotfish.runtime.linux.netns import NetNs
from tests.envoy.calls import call
from tests.waiting import wait_until

POD4, POD6 = "10.245.1.1", "fd00:245::1"
PEER4, PEER6 = "10.245.1.2", "fd00:245::2"
WEBAPP = Proxy.of_pod("webapp-0", "vm", (POD4, POD6), labels={"app": "webapp"})
EDGE = Proxy.of_pod("edge-0", "edge", (POD4, POD6), labels={"istio": "edge"}, type=ProxyType.ROUTER)
"""A gateway: nothing is captured, and whoever calls it does so from `peer`, at POD4."""


@dataclass
class Ads:
    """Answers each subscription with all that there is; notes what Envoy refuses."""

    resources: ResourceSet
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """What the agent would serve: those of a proxy that has certificates of the mesh."""
    nacks: list[str] = field(default_factory=list)
    version: int = 1
    """Of the resources."""
    taken: dict[str, str] = field(default_factory=dict)
    """The version that Envoy has, by type."""
    _events: SimpleQueue[DiscoveryRequest | Ads | None] = field(default_factory=SimpleQueue)
    """Requests; itself where its resources are new; None at the end."""

    def update(self, resources: ResourceSet) -> None:
        """Send these in the place of the others."""
        self.resources = resources
        self.version += 1
        self._events.put(self)

    def stream(self, requests: Iterator[DiscoveryRequest], context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(lambda: self._events.put(None))
        Thread(target=self._listen, args=(requests,), daemon=True).start()
        asked: dict[str, tuple[str, ...]] = {}
        for count, request in enumerate(iter(self._events.get, None)):
            if isinstance(request, Ads):
                yield from (self._answer(type_url, f"{count}.{i}") for i, type_url in enumerate(sorted(asked)))
                continue
            if request.HasField("error_detail"):
                self.nacks.append(request.error_detail.message)
                continue
            names = tuple(request.resource_names)
            if not names and asked.get(request.type_url):  # it wants no more of them
                del asked[request.type_url], self.taken[request.type_url]
                continue
            self.taken[request.type_url] = request.version_info
            if asked.get(request.type_url) == names:
                continue
            asked[request.type_url] = names
            yield self._answer(request.type_url, str(count))

    def _stream_secrets(self, requests: Iterator[DiscoveryRequest], _: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            if not request.response_nonce:
                response = DiscoveryResponse(type_url=request.type_url, version_info="1", nonce="1")
                for name in request.resource_names:
                    response.resources.add().Pack(self.secrets[name])
                yield response

    def _listen(self, requests: Iterator[DiscoveryRequest]) -> None:
        with contextlib.suppress(grpc.RpcError):
            for request in requests:
                self._events.put(request)

    def _answer(self, type_url: str, nonce: str) -> DiscoveryResponse:
        response = DiscoveryResponse(type_url=type_url, version_info=str(self.version), nonce=nonce)
        for resource in self.resources.resources(type_url):
            response.resources.add(type_url=type_url, value=reveal(resource.body))
        return response

    def serve(self, path: Path) -> grpc.Server:
        server = grpc.server(ThreadPoolExecutor(4))
        method = grpc.stream_stream_rpc_method_handler(
            self.stream, DiscoveryRequest.FromString, DiscoveryResponse.SerializeToString
        )
        name = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        service = grpc.method_handlers_generic_handler(name, {"StreamAggregatedResources": method})
        agents = grpc.stream_stream_rpc_method_handler(
            self._stream_secrets, DiscoveryRequest.FromString, DiscoveryResponse.SerializeToString
        )
        name = "envoy.service.secret.v3.SecretDiscoveryService"
        secrets = grpc.method_handlers_generic_handler(name, {"StreamSecrets": agents})
        server.add_generic_rpc_handlers((service, secrets))
        server.add_insecure_port(f"unix:{path}")
        server.start()
        return server


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


class Files:
    """The agent's part: it reads files for Envoy."""

    def __init__(self, netns: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._secrets = asyncio.run_coroutine_threadsafe(self._start(netns), self._loop).result(10)

    async def _start(self, netns: str) -> FileSecrets:
        secrets = FileSecrets((1337, 1337), lambda: None)
        await secrets.start(NetNs.named(netns))
        return secrets

    def unusable(self) -> dict[str, str]:
        """Why Envoy is not given what it asks for, by the paths."""
        return {" ".join(each.paths): each.why for each in self._secrets.unusable}

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._secrets.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class LiveEnvoy:
    netns: str
    peer: str
    admin: Path
    log: Path
    ads: Ads
    processes: list[subprocess.Popen[bytes]]
    files: Files

    def get(self, path: str) -> str:
        connection = UnixConnection(self.admin)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def config_dump(self) -> dict[str, Any]:
        return {c["@type"].rpartition(".")[2]: c for c in json.loads(self.get("/config_dump?include_eds"))["configs"]}

    def listeners(self) -> list[str]:
        return sorted(s["name"] for s in json.loads(self.get("/listeners?format=json")).get("listener_statuses", ()))

    def wait_ready(self) -> None:
        """Envoy takes connections, at every listener that there should be, or has refused something."""
        wanted = {r.name for r in self.ads.resources.resources("type.googleapis.com/envoy.config.listener.v3.Listener")}
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self.ads.nacks:
                return
            try:
                if wanted <= set(self.listeners()) and self.get("/ready") == "LIVE\n":
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"{wanted - set(self.listeners())} missing: {self.log.read_text()[-4000:]}")

    def update(self, mesh: str, proxy: Proxy = WEBAPP) -> None:
        """Put these objects in the place of the others; returns when Envoy acts by them."""
        self.ads.update(resource_set(_read(mesh, frozenset())[0], proxy))
        wait_until("Envoy has all", lambda: self.ads.nacks or set(self.ads.taken.values()) == {str(self.ads.version)})
        assert not self.ads.nacks

    def start_app(self, netns: str, address: str, port: int, name: str) -> None:
        """An HTTP server that answers `NAME METHOD PATH from CLIENT`, and sends back all that comes over an upgrade.

        `…/after/SECONDS` answers only then; `…/during/SECONDS` answers at once, with a body that takes so long. The
        header `x-answer` is the status of the answer; with `x-show` the body has the request's headers, too, one a
        line. `/seen` answers with the heads of all other requests so far.
        """
        process = subprocess.Popen(
            ["ip", "netns", "exec", netns, sys.executable, "-Sc", APP, address, str(port), name],
            stdout=subprocess.PIPE,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def call(self, netns: str, address: str, port: int, sent: str) -> str:
        """What comes back over one TCP connection (`calls.call`); text that begins with ERROR if none could be made."""
        try:
            return call(netns, address, port, [(0, sent)])[0].replace("\r\n", "\n")
        except OSError as error:
            return f"ERROR {error}"

    def request(self, netns: str, address: str, port: int, host: str, path: str = "/") -> str:
        return self.call(netns, address, port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")


APP = """
import sys, http.server, socket, socketserver, time
address, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for the ACK of its head
    def do_GET(self):
        if "Upgrade" in self.headers:
            return self.echo()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        *_, when, seconds = ("", *self.path.split("/"))
        body = f"{name} {self.command} {self.path} from {self.client_address[0]}\\n"
        if self.path == "/seen":
            body = "".join(seen)
        else:
            seen.append(f"{self.command} {self.path} {self.headers['Host']}\\n")
        if "x-show" in self.headers:
            body += "".join(f"{key.lower()}: {value}\\n" for key, value in self.headers.items())
        body = body.encode()
        if when == "after":
            time.sleep(float(seconds))
        self.send_response(int(self.headers.get("x-answer", 200)))
        self.send_header("x-app", name)
        self.send_header("x-old", "yes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if when == "during":
            self.wfile.write(body[:1])
            time.sleep(float(seconds))
            body = body[1:]
        self.wfile.write(body)
    do_POST = do_OPTIONS = do_PUT = do_GET
    def echo(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.end_headers()
        while data := self.connection.recv(65536):
            self.wfile.write(data)
        self.close_connection = True
    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # Whoever asked has given up.
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own would look the host's name up.
        self.server_name, self.server_port = address, port
server = Server((address, port), Handler)
print("ready", flush=True)
server.serve_forever()
"""


_LACKING = "REST config: initial fetch timeout for /v3/discovery:secrets"
"""Said where a file of a certificate is not there: who needs it is not waited for any longer."""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _make_namespaces(pod: str, peer: str) -> None:
    for netns in (pod, peer):
        _run("ip", "netns", "add", netns)
        _run("ip", "-n", netns, "link", "set", "lo", "up")
    _run("ip", "-n", pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer)
    for netns, v4, v6 in ((pod, POD4, POD6), (peer, PEER4, PEER6)):
        _run("ip", "-n", netns, "addr", "add", f"{v4}/24", "dev", "eth0")
        _run("ip", "-n", netns, "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
        _run("ip", "-n", netns, "link", "set", "eth0", "up")
    # Virtual addresses are captured before they are routed, yet must have a route to be sent to at all.
    _run("ip", "-n", pod, "route", "add", "default", "via", PEER4)
    _run("ip", "-n", pod, "-6", "route", "add", "default", "via", PEER6)
    _run("ip", "-n", pod, "addr", "add", "::6/128", "dev", "lo")
    # As in a mesh's node: what nobody has is refused at once.
    NetNs.named(peer).sysctl({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
    for version in ("-4", "-6"):
        _run("ip", "-n", peer, version, "route", "add", "unreachable", "default")
    # A gateway, which is not root, opens such ports too.
    NetNs.named(pod).sysctl({"ipv4/ip_unprivileged_port_start": "0"})


def _capture(netns: str) -> None:
    rules = "*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 15006\n"
    rules += "-A OUTPUT ! -o lo -p tcp -m owner ! --uid-owner 1337 -j REDIRECT --to-ports 15001\nCOMMIT\n"
    for restore in ("iptables-restore", "ip6tables-restore"):
        subprocess.run(["ip", "netns", "exec", netns, restore], input=rules.encode(), check=True, capture_output=True)


def envoy_command(proxy: Proxy, admin: Path, xds: Path, sds: Path | None, own: ProxyConfig) -> list[str]:
    """The agent's bootstrap, but for where the admin and discovery are; `sds`: None without certificates."""
    spec = BootstrapSpec(
        proxy,
        "127.0.0.1",
        sds_socket=str(sds) if sds is not None else "",
        connection_limit=own.connection_settings.global_downstream_connection_limit,
        counted=Counted(own.proxy_stats_matcher.inclusion_prefixes),
    )
    config = bootstrap(spec)
    config["admin"]["address"] = {"pipe": {"path": str(admin)}}
    config["dynamic_resources"]["ads_config"]["api_type"] = "GRPC"
    cluster = next(c for c in config["static_resources"]["clusters"] if c["name"] == "xds-grpc")
    pipe = {"endpoint": {"address": {"pipe": {"path": str(xds)}}}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [pipe]
    options = ("--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "100")
    return [str(find_envoy()), "--config-yaml", json.dumps(config), *options]


def _read(mesh: str, problems: Set[str]) -> tuple[Graph, MeshConfig]:
    """What the objects come to; the reasons of their problems are these."""
    loaded = load(mesh, "in.yaml", "vm")
    assert {problem.reason for problem in loaded.problems} == problems, loaded.problems
    graph, config = Graph(), loaded.mesh_config.config if loaded.mesh_config is not None else MeshConfig()
    manifests = {manifest.ref: manifest for manifest in loaded.manifests}
    inputs.apply(graph, with_ingresses(within(manifests, config), config))
    inputs.apply_mesh_config(graph, config)
    return graph, config


class Start:
    """Starts one Envoy, and removes all that was made for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pod, self.peer = f"pft-pod-{os.getpid()}", f"pft-peer-{os.getpid()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.server: grpc.Server | None = None
        self.files: Files | None = None
        self.config = ProxyConfig()

    def __call__(
        self,
        mesh: str,
        *,
        proxy: Proxy = WEBAPP,
        problems: Set[str] = frozenset(),
        refused: bool = False,
        secrets: Mapping[str, Secret] = MappingProxyType({}),
    ) -> LiveEnvoy:
        """With what the objects come to for the proxy. `problems` are the reasons of those that are meant; `secrets`
        are the agent's."""
        graph, config = _read(mesh, problems)
        self.config = config.default_config
        return self.serving(resource_set(graph, proxy), proxy, refused, secrets)

    def serving(
        self,
        resources: ResourceSet,
        proxy: Proxy = WEBAPP,
        refused: bool = False,
        secrets: Mapping[str, Secret] = MappingProxyType({}),
    ) -> LiveEnvoy:
        """With these resources; unless Envoy is to refuse some of them, it must take all, and warn of nothing."""
        live = self._launch(Ads(resources, secrets), proxy)
        assert refused == bool(live.ads.nacks), live.ads.nacks
        said = [line for line in live.log.read_text().splitlines() if _LACKING not in line]
        assert refused or said == [], "a field is deprecated"
        return live

    def _launch(self, ads: Ads, proxy: Proxy) -> LiveEnvoy:
        _make_namespaces(self.pod, self.peer)
        if proxy.type is ProxyType.SIDECAR:
            _capture(self.pod)
        self.files = Files(self.pod)
        # A socket's path has at most 107 characters: pytest's directories may be longer.
        xds, admin = Path(f"/tmp/pft-{os.getpid()}.xds"), Path(f"/tmp/pft-{os.getpid()}.admin")
        self.sockets = (xds, admin)
        self.server = ads.serve(xds)
        xds.chmod(0o777)
        command = envoy_command(proxy, admin, xds, xds if proxy.certified else None, self.config)
        log = self.directory / "envoy.log"
        with log.open("wb") as out:
            # Envoy opens /dev/stdout anew, as itself.
            os.chown(log, 1337, 1337)
            as_envoy = ["setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups", "--inh-caps=-all"]
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.pod, *as_envoy, *command, "-l", "warning"],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )
        live = LiveEnvoy(self.pod, self.peer, admin, log, ads, self.processes, self.files)
        live.wait_ready()
        return live

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self.server is not None:
            self.server.stop(None).wait()
        if self.files is not None:
            self.files.close()
        for netns in (self.pod, self.peer):
            subprocess.run(["ip", "netns", "del", netns], check=False, capture_output=True)
        for path in getattr(self, "sockets", ()):
            path.unlink(missing_ok=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces")
    starting = Start(tmp_path)
    try:
        yield starting
    finally:
        starting.close()
