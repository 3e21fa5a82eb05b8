"""Gateway.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds

TLSVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class GatewayPort(Struct):
    name: str
    protocol: str
    """HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP, MONGO, MYSQL or REDIS."""
    number: int = 0
    """0 only where `bind` is a Unix socket."""


class TLSCertificate(Struct):
    """Files, as the gateway's pod sees them."""

    server_certificate: str = ""
    private_key: str = ""


class ServerTLSSettings(Struct):
    """Paths are of files, as the gateway's pod sees them."""

    https_redirect: bool = False
    """For HTTP."""
    mode: Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] = (
        "PASSTHROUGH"
    )
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    tls_certificates: tuple[TLSCertificate, ...] = ()
    """In the place of `serverCertificate` and `privateKey`: two at most, an RSA and an ECDSA one."""
    credential_name: str = ""
    """A Secret in the namespace of the gateway's pods."""
    credential_names: tuple[str, ...] = ()
    ca_cert_credential_name: str = ""
    """A Secret there, or `configmap://NAMESPACE/NAME`."""
    subject_alt_names: tuple[str, ...] = ()
    """Of clients."""
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    insecure_skip_verify: bool = False
    """Whatever certificate a client shows will do."""
    min_protocol_version: TLSVersion = "TLS_AUTO"
    """TLSV1_2 where none is named. Those below need `cipherSuites` that they have."""
    max_protocol_version: TLSVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    alpn_protocols: tuple[str, ...] = ()


class Server(Struct):
    port: GatewayPort
    hosts: tuple[str, ...]
    """Names and wildcards, also `NAMESPACE/HOST`: for VirtualServices of that namespace; `.` is the object's own."""
    bind: str = ""
    """An address, or `unix://` and the path of a socket (`unix://@NAME`: an abstract one)."""
    tls: ServerTLSSettings | None = None
    name: str = ""
    """Heads the statistics."""


class GatewaySpec(Struct):
    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = {}
    """Labels of the gateway's pods, in any namespace; none: every gateway."""


class Gateway(Resource):
    kind = kinds.GATEWAY
    spec: GatewaySpec
