"""A Gateway's servers, with what they leave out filled in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.server_tls import lower_server_tls
from pilotfish.mesh.hosts import whole_name
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.policy.credentials import lacks
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.model import FieldRef, ObjectRef, Protocol
from pilotfish.model.credential import Unusable
from pilotfish.model.gateway import ClientCertificate, ServerTLS
from pilotfish.model.traffic_policy import ClientCredential


@dataclass(frozen=True, slots=True)
class ServerHost:
    name: str
    """Lower case; also with a wildcard, and `*`."""
    namespace: str = ""
    """Whose VirtualServices may route it; "" is every namespace's."""


@dataclass(frozen=True, slots=True)
class Server:
    ref: FieldRef
    protocol: Protocol
    port: int
    """Which clients call."""
    port_name: str
    bind: str
    hosts: tuple[ServerHost, ...]
    tls: ServerTLS | None = None
    """None for what is not decrypted."""
    is_passed_through: bool = False
    """TLS is left to whoever it is routed to."""
    passes_all: bool = False
    """It is routed by the server name alone, which says the service (AUTO_PASSTHROUGH)."""
    redirects: bool = False
    """Requests in the clear are sent to https."""
    name: str = ""

    @property
    def is_tls(self) -> bool:
        """Connections are told apart by server name."""
        return self.tls is not None or self.is_passed_through

    @property
    def has_requests(self) -> bool:
        """Which are routed one by one."""
        return self.protocol.is_http or (self.protocol is Protocol.HTTPS and self.tls is not None)

    @property
    def may_speak_http3(self) -> bool:
        """It ends TLS of a version that QUIC has, and asks for no client's certificate: Envoy would look at none."""
        tls = self.tls
        if tls is None or self.protocol is not Protocol.HTTPS or self.bind.startswith("unix:"):
            return False
        return tls.client is ClientCertificate.IGNORED and tls.highest_version in ("", "TLSv1_3")

    @property
    def server_names(self) -> tuple[str, ...]:
        """None for every connection."""
        names = tuple(dict.fromkeys(host.name for host in self.hosts))
        return () if "*" in names else names

    @property
    def entrance(self) -> Entrance:
        gateway = self.ref.object
        return Entrance(self.port, f"{gateway.namespace}/{gateway.name}", "https" if self.is_tls else "http")

    def route_name(self, port: int) -> str:
        """Of the routes of its requests, where the listener has this port. HTTPS has its own for each server: what
        Istio's gatewayRDSRouteName says."""
        bind = f".{self.bind}" if self.bind else ""
        if self.protocol.is_http:
            return f"http.{port}{bind}"
        return f"https.{port}.{self.port_name}.{self.ref.object.name}.{self.ref.object.namespace}{bind}"


@query
def servers(db: Reads, ref: ObjectRef) -> tuple[Server, ...]:
    """Of one Gateway, in their order."""
    found = resource(db, ref, istio.Gateway)
    return lower_servers(ref, found.spec) if found is not None else ()


def lower_servers(ref: ObjectRef, source: istio.GatewaySpec) -> tuple[Server, ...]:
    return tuple(_lower(ref, index, server) for index, server in enumerate(source.servers))


@query(index=True)
def names_secrets(db: Reads, ref: ObjectRef) -> bool:
    return any(server.tls is not None and server.tls.names_secrets for server in servers(db, ref))


def named_secrets(server: Server) -> Iterator[tuple[str, ClientCredential]]:
    """(field, what of which Secret)."""
    tls = server.tls or ServerTLS()
    field = "credentialName" if len(tls.credentials) == 1 else "credentialNames"
    for name in tls.credentials:
        yield field, ClientCredential(name, shows=True, trusts=name == tls.ca_credential)
    if tls.ca_credential and tls.ca_credential not in tls.credentials:
        yield "caCertCredentialName", ClientCredential(tls.ca_credential, shows=False, trusts=True)


def lacking_secrets(db: Reads, namespace: str, server: Server) -> Iterator[tuple[str, Unusable]]:
    """(field, what the Secrets of a namespace do not give of it)."""
    for field, named in named_secrets(server):
        yield from ((field, lack) for lack in lacks(db, namespace, named))


def _lower(ref: ObjectRef, index: int, source: istio.Server) -> Server:
    protocol = Protocol.parse(source.port.protocol) or Protocol.TCP
    tls = source.tls if protocol.is_tls and source.tls is not None else None
    is_passed_through = tls is not None and tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH")
    return Server(
        ref=FieldRef(ref, f"spec.servers[{index}]"),
        protocol=protocol,
        port=source.port.number,
        port_name=source.port.name,
        bind=source.bind,
        hosts=tuple(dict.fromkeys(_lower_host(host, ref.namespace) for host in source.hosts)),
        tls=None if tls is None or is_passed_through else lower_server_tls(tls, protocol),
        is_passed_through=is_passed_through,
        passes_all=tls is not None and tls.mode == "AUTO_PASSTHROUGH",
        redirects=source.tls is not None and source.tls.https_redirect,
        name=source.name,
    )


def _lower_host(written: str, namespace: str) -> ServerHost:
    place, slash, name = written.rpartition("/")
    if not slash or place == "*":
        return ServerHost(whole_name(name))
    return ServerHost(whole_name(name), namespace if place == "." else place)
