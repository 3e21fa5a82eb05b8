"""What a gateway listens for, between the users' APIs and Envoy.

    GatewayListener ── GatewayChain ─┬─ server_names, tls   which connections it takes, and how it ends TLS
                                     └─ requests            the name of their routes: GatewayHost ── HTTPRoute
                                        connections         or where they go: model.connection_route

Source: https://gateway-api.sigs.k8s.io/reference/spec/#listener
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pilotfish.model.connection_route import ConnectionRoute
from pilotfish.model.ref import FieldRef
from pilotfish.model.route import HTTPRoute


class ClientCertificate(Enum):
    IGNORED = auto()
    OPTIONAL = auto()
    """Who shows one must show a good one."""
    REQUIRED = auto()


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """How a gateway ends TLS. Paths are of files where it runs."""

    certificates: tuple[tuple[str, str], ...] = ()
    """(chain, private key)."""
    credentials: tuple[str, ...] = ()
    """Secrets in the place of `certificates`, by name."""
    client: ClientCertificate = ClientCertificate.IGNORED
    ca_certificates: str = ""
    """Whom a client's certificate must be from; "" where `ca_credential` is given."""
    ca_credential: str = ""
    """A Secret of that name and `-cacert`, or of that name itself."""
    crl: str = ""
    subject_alt_names: tuple[str, ...] = ()
    """One of these must stand in a client's certificate; none: any."""
    spki_pins: tuple[str, ...] = ()
    """SHA-256 of a client's public key, in base64: one of these; none: any."""
    certificate_pins: tuple[str, ...] = ()
    """The same of the certificate, in hexadecimal."""
    accepts_untrusted: bool = False
    """A client's certificate may be from anyone."""
    lowest_version: str = ""
    """`TLSv1_2`; "" is Envoy's choice."""
    highest_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    of_mesh: bool = False
    """With the gateway's own certificate of the mesh, for clients that show one of theirs."""

    @property
    def names_secrets(self) -> bool:
        return bool(self.credentials or self.ca_credential)


@dataclass(frozen=True, slots=True)
class GatewayChain:
    """`requests` or `connections`; what has neither is closed."""

    server_names: tuple[str, ...] = ()
    """One of these in the TLS handshake; none: every connection."""
    tls: ServerTLS | None = None
    """None: what comes is not decrypted."""
    requests: str = ""
    connections: ConnectionRoute | None = None
    stat_prefix: str = ""
    http3: bool = False
    """Requests come over QUIC, too."""


@dataclass(frozen=True, slots=True)
class GatewayListener:
    name: str
    address: str
    """"" is every address of the pod; `unix://PATH` a socket."""
    port: int
    chains: tuple[GatewayChain, ...]
    """No two for the same."""
    lost: tuple[FieldRef, ...] = ()
    """Routes that somebody wrote, and that take nothing here."""


@dataclass(frozen=True, slots=True)
class GatewayHost:
    """One host on one listener's port."""

    host: str
    port: int
    """Which clients call: that of the Service, where it is another than the listener's."""
    routes: tuple[HTTPRoute, ...] = ()
    needs_tls: bool = False
    """Requests in the clear are redirected to https."""
    http3: bool = False
    """Clients are told that it is served over QUIC, too."""
    lost: tuple[FieldRef, ...] = ()
    """Routes that somebody wrote, and that take nothing here."""
