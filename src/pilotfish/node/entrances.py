"""Where clients outside of the mesh come in: the ports of its gateways, and requests to try them with.

objects ─find_entrances─▶ Entrance ─render─▶ lines for a shell
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config import istio
from pilotfish.config.injection import asks_for_gateway
from pilotfish.config.kubernetes import Metadata, PodSpec, Service, ServiceSpec
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.mesh.gateway_names import gateway_name
from pilotfish.mesh.gateways.bindings import routed_here
from pilotfish.mesh.gateways.servers import Server, lower_servers
from pilotfish.mesh.ingresses import with_ingresses
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import bracketed, is_ipv4
from pilotfish.node.endpoints import Backend, find_port, target_port
from pilotfish.node.gateways import gateways, templates
from pilotfish.node.publish import Publish

_FIRST_FREE: Final = 1024
_OFFSET: Final = 8000
_NEXT: Final = 10000
_PORTS: Final = 65536


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that a gateway routes."""

    host: str
    """`*`: any."""
    path: str
    is_tls: bool

    def render(self, address: str, port: int) -> str:
        """For a shell. `-k`: who tries it out has made the certificate."""
        host = f"www{self.host[1:]}" if self.host.startswith("*.") else self.host
        place = bracketed(address)
        if host == "*":
            return f"curl {'-k https' if self.is_tls else 'http'}://{place}:{port}{self.path}"
        if self.is_tls:
            return f"curl -k --resolve {host}:{port}:{place} https://{host}:{port}{self.path}"
        return f"curl -H 'Host: {host}' http://{place}:{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Entrance:
    """A port of a gateway, as its Gateways have it."""

    gateway: ObjectRef
    """The Deployment or Pod."""
    port: int
    listener_port: int
    """Where its pods listen: what a Service makes of the port."""
    labels: Mapping[str, str]
    """Of its pods."""
    trials: tuple[Trial, ...] = ()
    http3: bool = False
    """It takes UDP, too."""

    @property
    def target(self) -> str:
        return f"{self.gateway.name}.{self.gateway.namespace}:{self.port}"

    def endpoints(self, backends: Iterable[Backend]) -> tuple[tuple[str, int], ...]:
        """Its ready pods."""
        namespace, labels = self.gateway.namespace, self.labels.items()
        pods = (pod for pod in backends if pod.ready and pod.namespace == namespace and labels <= pod.labels.items())
        return tuple((pod.address, self.listener_port) for pod in pods)


def find_entrances(written: Mapping[ObjectRef, Manifest], config: MeshConfig) -> tuple[Entrance, ...]:
    """In order of gateways and ports."""
    manifests = with_ingresses(written, config)
    asked = tuple((m.ref, gateway, lower_servers(m.ref, gateway.spec)) for m, gateway in gateways(manifests))
    if not asked:
        return ()
    services = tuple((ref.namespace, m.resource) for ref, m in manifests.items() if isinstance(m.resource, Service))

    def leading(namespace: str, pod: Metadata) -> Iterator[ServiceSpec]:
        specs = (each.spec for at, each in services if at == namespace)
        return (spec for spec in specs if spec.selector and spec.selector.items() <= pod.labels.items())

    routes = tuple(_routes(manifests))
    return tuple(
        Entrance(
            gateway,
            port,
            _listener_port(port, spec, leading(gateway.namespace, metadata)),
            metadata.labels,
            tuple(dict.fromkeys(trial for server in servers for trial in _trials(server, routes))),
            _takes_datagrams(port, servers, leading(gateway.namespace, metadata)),
        )
        for gateway, metadata, spec in templates(manifests)
        if asks_for_gateway(metadata, spec)
        for port, servers in _by_port(asked, metadata).items()
    )


def host_ports(port: int) -> tuple[int, ...]:
    """Where to open a gateway's port, the best first: itself, if anyone may have it, or 8080 for 80 and 8443 for 443.
    0 lets the machine choose."""
    first = port if port >= _FIRST_FREE else port + _OFFSET
    return (*range(first, _PORTS, _NEXT), 0)


def leads_to(publish: Publish, service: Service | None, entrance: Entrance) -> bool:
    """What the user publishes is this entrance."""
    port = find_port(service, publish.target_port) if service is not None else None
    if service is None or port is None or port.port != entrance.port or not service.spec.selector:
        return False
    return publish.namespace == entrance.gateway.namespace and service.spec.selector.items() <= entrance.labels.items()


_Asked = tuple[ObjectRef, istio.Gateway, tuple[Server, ...]]


def _by_port(asked: Iterable[_Asked], pod: Metadata) -> dict[int, list[Server]]:
    """The servers that a pod stands for."""
    found: dict[int, list[Server]] = {}
    for _, gateway, servers in asked:
        if gateway.spec.selector.items() <= pod.labels.items():
            for server in servers:
                if server.port and _is_open(server.bind):
                    found.setdefault(server.port, []).append(server)
    return dict(sorted(found.items()))


def _is_open(bind: str) -> bool:
    """Where clients outside of the pod come in, over IPv4, as the host's ports lead there."""
    return not bind or (is_ipv4(bind) and not bind.startswith("127."))


def _takes_datagrams(port: int, servers: Iterable[Server], services: Iterable[ServiceSpec]) -> bool:
    """As discovery has it (`mesh.gateways.selection`)."""
    asked = any((each.port, each.protocol) == (port, "UDP") for service in services for each in service.ports)
    return asked and any(server.may_speak_http3 for server in servers)


def _listener_port(port: int, spec: PodSpec, services: Iterable[ServiceSpec]) -> int:
    """As discovery has it (`mesh.gateways.selection`): the lowest of several Services, or as it is if one leaves it."""
    found = (target_port(each, spec) for service in services for each in service.ports if each.port == port)
    targets = [target for target in found if target is not None]
    return port if port in targets else min(targets, default=port)


_Routes = tuple[frozenset[str], ObjectRef, istio.VirtualServiceSpec]


def _routes(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[_Routes]:
    """VirtualServices with the gateways that they are bound to (`NAMESPACE/NAME`)."""
    for ref, manifest in sorted(manifests.items()):
        if isinstance(resource := manifest.resource, istio.VirtualService):
            yield frozenset(gateway_name(each, ref.namespace) for each in resource.spec.gateways), ref, resource.spec


def _trials(server: Server, routes: Iterable[_Routes]) -> Iterator[Trial]:
    name = f"{server.ref.object.namespace}/{server.ref.object.name}"
    for bound, ref, spec in routes:
        if name not in bound or not (spec.http if server.has_requests else spec.tls and server.is_passed_through):
            continue
        path = _path(spec.http) if server.has_requests else "/"
        for host in routed_here(server.hosts, (host.lower() for host in spec.hosts), ref.namespace):
            yield Trial(host, path, server.is_tls)


def _path(routes: Iterable[istio.HTTPRoute]) -> str:
    """One that is routed: `/` if it is."""
    paths = [path for route in routes for path in _paths(route)]
    return "/" if "/" in paths or not paths else paths[0]


def _paths(route: istio.HTTPRoute) -> Iterator[str]:
    for match in route.match:
        if match.uri is None:
            yield "/"
        elif path := match.uri.exact or match.uri.prefix:
            yield path
    if not route.match:
        yield "/"
