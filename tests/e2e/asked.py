"""Requests through the mesh of `ways`: what is predicted of them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.scene import Scene, Station
from pilotfish.explain.trace import End, Outcome, Side, Stage, Step, Trace
from pilotfish.explain.walk import explain
from pilotfish.model.addresses import host_port
from pilotfish.runtime.echo.calls import Result, build_calls, client_command, read_results
from tests.e2e.harness import Mesh
from tests.e2e.ways import AUTHORITIES, CLIENTS, DRAWN, GATEWAY, HEADERS, PATHS, PORTS

_LOGGED = (Stage.ROUTE, Stage.CLUSTER, Stage.ENDPOINT)
_SCHEMES = {"http": "http", "http2": "http", "tcp": "tcp", "tls": "https"}


@dataclass(frozen=True, slots=True)
class Asked:
    client: str
    """The app that asks."""
    host: str
    port: int
    protocol: str = "http"
    """Or http2, tcp, tls (HTTP/1 in TLS)."""
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ask(self) -> Ask:
        headers = [f"{name}: {value}" for name, value in self.headers.items()]
        url = f"{_SCHEMES[self.protocol]}://{host_port(self.host, self.port)}{self.path}"
        return parse(url, method=self.method, headers=headers, http2=self.protocol == "http2")

    def predicted(self, scene: Scene) -> Trace:
        return explain(scene, station_of(scene, self.client), self.ask)


def station_of(scene: Scene, app: str) -> Station:
    return next(each for name, each in scene.stations.items() if name.startswith(f"{app}-"))


_PATHS = (
    "/", "/who", "/who/1", "/fault", "/old", "/direct", "/subset", "/nowhere", "/rewritten", "/split", "/re12", "/rex",
    "/case", "/other", "/cors", "/again", "/who?x=1", "/a/../who", "/%77ho",
)  # fmt: skip
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"user": "jason"},
    {"user": "other"},
    {"host": "shop"},
    {"host": "nobody.example"},
    {"host": "each:80"},
    {"origin": "http://a.example", "access-control-request-method": "GET"},
    {"content-type": "application/grpc"},
)
_HOSTS = (
    "shop", "shop.default", "shop.default.svc.cluster.local", "raw", "each.default", "bare", "bare.default", "open",
    "empty", "split", "absent-svc",
)  # fmt: skip
_METHODS = ("GET", "POST", "OPTIONS")


def generate(seed: int, scene: Scene, count: int) -> Iterator[Asked]:
    """To what is routed by hand, to what is routed by drawn rules, by gateways, and to anything by any protocol."""
    random = Random(seed)
    servers = ("shop-", "bare-", "open-")
    pods = [each.addresses[0] for name, each in scene.stations.items() if name.startswith(servers)]
    kinds = (_draw_routed, _draw_drawn, _draw_drawn, _draw_gateway, _draw_any, _draw_any)
    for number in range(count):
        yield kinds[number % len(kinds)](random, pods)


def _draw_routed(random: Random, _: Sequence[str]) -> Asked:
    host = random.choice(("shop", "shop.default", "bare", "bare.default"))
    client = random.choice(("client", "client", "scoped" if "." in host else "client"))
    protocol = random.choice(("http", "http", "http2"))
    path, headers = random.choice(_PATHS), random.choice(_HEADERS)
    return Asked(client, host, random.choice((80, 80, 83, 84)), protocol, random.choice(_METHODS), path, headers)


def _draw_drawn(random: Random, _: Sequence[str]) -> Asked:
    authority = random.choice(AUTHORITIES)
    headers = random.choice(HEADERS) | ({"host": authority} if authority and random.random() < 0.3 else {})
    client, protocol = random.choice(("client", "client", "narrow")), random.choice(("http", "http", "http2"))
    port, method = random.choice((80, 80, 80, 83)), random.choice(_METHODS)
    return Asked(client, random.choice(DRAWN), port, protocol, method, random.choice(PATHS), headers)


def _draw_gateway(random: Random, _: Sequence[str]) -> Asked:
    client, host = random.choice(CLIENTS), random.choice(("shop.example.com", "a.wild.example.com", "other", ""))
    if random.random() < 0.2:
        return Asked(client, GATEWAY, random.choice((80, 443, 81)), random.choice(("tls", "tcp")))
    headers = {"host": host} if host else {}
    protocol = random.choice(("http", "http", "http2"))
    return Asked(client, GATEWAY, random.choice((80, 80, 80, 443)), protocol, "GET", random.choice(_PATHS), headers)


def _draw_any(random: Random, pods: Sequence[str]) -> Asked:
    client, protocol = random.choice(CLIENTS), random.choice(("http", "http", "http2", "tcp", "tcp", "tls"))
    host, port = random.choice((*_HOSTS, *pods)), random.choice((*PORTS, 8000, 8002, 7000))
    if random.random() < 0.1 and client == "client":
        host, port = "outside.example.com", random.choice((80, 90))
    if protocol in ("tcp", "tls"):
        return Asked(client, host, port, protocol)
    return Asked(client, host, port, protocol, random.choice(_METHODS), random.choice(_PATHS), random.choice(_HEADERS))


def pod_of(mesh: Mesh, app: str) -> str:
    pod = mesh.pods(app)[0]
    return f"{pod['name']}.{pod['namespace']}"


def perform(mesh: Mesh, client: str, asked: Sequence[Asked]) -> list[Result]:
    """What becomes of them, sent one after the other from the client's pod."""
    calls = build_calls(each.ask for each in asked).decode()
    said = mesh.exec(pod_of(mesh, client), *client_command(), stdin=calls, timeout=600)
    return read_results(said.stdout.encode())


def agrees(outcome: Outcome, seen: Result) -> bool:
    if outcome.kind is End.DELIVERED:
        return outcome.pod != "" and seen.echo == outcome.pod.rpartition(".")[0]
    if outcome.kind is End.RESPONSE:
        return seen.status == outcome.status and not seen.echo
    return seen.end == outcome.kind.value


def logs(trace: Trace, outcome: Outcome, entry: AccessLogEntry) -> bool:
    """The client's proxy wrote of the request what was predicted; its flags, if it was the one that failed."""
    own = [s for s in _back(trace, outcome) if s.side is Side.CLIENT]
    named = {stage: next((s.name for s in own if s.stage is stage), "") for stage in _LOGGED}
    is_http = bool(entry.method)
    if outcome.pod == trace.steps[0].pod:
        flags: tuple[str, ...] = (outcome.flag,)
        named[Stage.CLUSTER] = outcome.cluster  # a filter answers before it is asked
    else:
        # Who passes a reset on writes down how it came: by RST, or with bytes that nobody had read, UR.
        flags = ("", "URX") if is_http else ("", "UR")
        # Where one process is both sides, it may be closed before the client's handshake is over.
        flags += (outcome.flag,) if outcome.machine and not is_http else ()
    return (
        ",".join(entry.response_flags) in flags
        and entry.upstream_cluster == named[Stage.CLUSTER]
        and entry.upstream_host == named[Stage.ENDPOINT].replace("none", "")
        and (not is_http or outcome.kind is not End.RESPONSE or entry.response_code == outcome.status)
        and (not entry.route_name or entry.route_name == named[Stage.ROUTE])
    )


def _back(trace: Trace, outcome: Outcome) -> Iterator[Step]:
    at: int | None = outcome.last_step
    while at is not None:
        yield trace.steps[at]
        at = trace.steps[at].parent
