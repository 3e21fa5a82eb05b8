"""Sidecar.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.istio.common import Destination
from pilotfish.config.istio.destination_rule import ConnectionPoolSettings
from pilotfish.config.istio.service_entry import WorkloadSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]
TLSVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class SidecarPort(Struct):
    number: int = 0
    """0 only where `bind` is a Unix socket."""
    protocol: str = ""
    name: str = ""


class IngressTLSSettings(Struct):
    """Paths are of files where the proxy runs."""

    mode: Literal["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"]
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    """Whom clients' certificates must be from, with `mode` MUTUAL and OPTIONAL_MUTUAL."""
    ca_crl: str = ""
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


class IstioIngressListener(Struct):
    port: SidecarPort | None = None
    bind: str = ""
    """An address of the pod, for `captureMode` NONE."""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    """Where the app listens: 127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT or [::]:PORT (the pod's own address), or
    unix:///PATH; "" is the address that was called."""
    tls: IngressTLSSettings | None = None
    """With protocol HTTPS or TLS, which the proxy then ends."""
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Struct):
    port: SidecarPort | None = None
    """Without one, the last of the list: every port that no other one has."""
    bind: str = ""
    """An address of the pod, or unix:///PATH."""
    capture_mode: CaptureMode = "DEFAULT"
    """NONE: the app connects to the listener by itself, at `bind` or 127.0.0.1."""
    hosts: tuple[str, ...] = ()
    """NAMESPACE/HOST, of which either may be `*`, and HOST may begin with `*.`; `./` is the proxy's own namespace,
    `~/*` nothing. `~NAMESPACE/HOST` takes hosts out again, `~/HOST` those of every namespace."""


class SidecarOutboundTrafficPolicy(Struct):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None
    """With ALLOW_ANY: where what is for no host of the scope is sent."""


class SidecarSpec(Struct):
    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    """None: every host."""
    outbound_traffic_policy: SidecarOutboundTrafficPolicy | None = None
    """In the place of the mesh's."""
    inbound_connection_pool: ConnectionPoolSettings | None = None


class Sidecar(Resource):
    kind = kinds.SIDECAR
    spec: SidecarSpec = SidecarSpec()
