"""Which Gateways a proxy is meant by, and which of its ports stand for theirs."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.config import istio
from pilotfish.derive import Graph, Reads, query
from pilotfish.mesh.gateways.servers import Server, names_secrets
from pilotfish.mesh.inputs import Labels, refs, resource
from pilotfish.mesh.listeners.inbound import Fellows, InboundPort, datagram_ports, fellows_of, inbound_ports
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.kinds import GATEWAY


@dataclass(frozen=True, slots=True)
class Front:
    """What gateways with the same front listen for is the same."""

    gateways: tuple[ObjectRef, ...]
    """The oldest first."""
    targets: tuple[tuple[int, int], ...] = ()
    """(port of a Service that leads to the proxy, the proxy's own), where they differ; sorted."""
    datagrams: tuple[int, ...] = ()
    """The ports that a Service has for UDP, too: there HTTPS is served as HTTP/3 as well."""
    certified: bool = True
    """The proxy has a certificate of the mesh."""
    secrets_of: str = ""
    """The namespace whose Secrets it may have, where it names any: the proxy's. "" is nobody's."""
    fellows: Fellows | None = None

    def listener_port(self, port: int) -> int:
        """Where a server of this port listens: where the Service sends what is sent to that. A port that no Service
        has is the proxy's own."""
        return dict(self.targets).get(port, port)

    def http3(self, server: Server) -> bool:
        """Whether it is served over QUIC as well: where a Service has its port for UDP, as in Istio with
        PILOT_ENABLE_QUIC_LISTENERS."""
        return server.port in self.datagrams and server.may_speak_http3


def front_of(graph: Graph, proxy: Proxy) -> Front:
    """No query, as there would be one for each proxy."""
    own = proxy.labels.items()
    chosen = tuple(ref for ref, selector in graph.get(selectors) if set(selector) <= own)
    named = proxy.vouched and any(graph.get(names_secrets, ref) for ref in chosen)
    targets = _targets(graph.get(inbound_ports, proxy))
    datagrams, secrets_of = graph.get(datagram_ports, proxy), proxy.namespace if named else ""
    return Front(chosen, targets, datagrams, proxy.certified, secrets_of, fellows_of(graph, proxy))


def _targets(ports: tuple[InboundPort, ...]) -> tuple[tuple[int, int], ...]:
    """Of several Services with one port, the one with the lowest target decides, unless one leads to the same port."""
    led: dict[int, int] = {}
    for each in ports:
        for *_, port in each.serves:
            if port == each.number or port not in led:
                led[port] = each.number
    return tuple(sorted((port, target) for port, target in led.items() if port != target))


@query(index=True)
def selectors(db: Reads) -> tuple[tuple[ObjectRef, Labels], ...]:
    """Of all Gateways, the oldest first; an empty selector is every gateway's.

    Of the same age the first by name, then by namespace, is the older: Istio's sortConfigByCreationTime.
    """
    found = ((ref, resource(db, ref, istio.Gateway)) for ref in refs(db, GATEWAY))
    aged = [
        (gateway.metadata.creation_timestamp or "", ref.name, ref.namespace, ref, gateway.spec.selector)
        for ref, gateway in found
        if gateway is not None
    ]
    return tuple((ref, tuple(sorted(labels.items()))) for *_, ref, labels in sorted(aged, key=lambda each: each[:3]))
