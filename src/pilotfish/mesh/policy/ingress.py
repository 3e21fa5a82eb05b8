"""What a Sidecar says of what comes to its workloads, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioIngressListener
"""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.config import istio
from pilotfish.config.cipher_suites import usable
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.policy.destination_rule import lower_connection_pool
from pilotfish.mesh.tls_defaults import TLSDefaults, tls_defaults, with_server_defaults
from pilotfish.model import ObjectRef, Protocol
from pilotfish.model.gateway import ClientCertificate, ServerTLS
from pilotfish.model.ingress import InboundPool, IngressListener


@dataclass(frozen=True, slots=True)
class Ingress:
    listeners: tuple[IngressListener, ...] = ()
    """None: the ports that Services lead to."""
    pool: InboundPool | None = None
    """Of all ports that have none of their own."""


@query
def ingress_of(db: Reads, ref: ObjectRef) -> Ingress:
    found = resource(db, ref, istio.Sidecar)
    if found is None:
        return Ingress()
    pool = _pool(found.spec.inbound_connection_pool)
    defaults = tls_defaults(db)
    listed = (each for each in found.spec.ingress if each.port is not None)
    return Ingress(tuple(_listener(ref, each, pool, defaults) for each in listed), pool)


def _listener(
    ref: ObjectRef, source: istio.IstioIngressListener, pool: InboundPool | None, defaults: TLSDefaults
) -> IngressListener:
    port = source.port or istio.SidecarPort()
    return IngressListener(
        ref=ref,
        number=port.number,
        protocol=_protocol(port, source.tls is not None),
        bind=source.bind if source.capture_mode == "NONE" else "",
        bound=source.capture_mode == "NONE",
        endpoint=source.default_endpoint,
        tls=_tls(source.tls, port.protocol, defaults) if source.tls is not None else None,
        pool=_pool(source.connection_pool) or pool,
    )


def _protocol(port: istio.SidecarPort, is_ended: bool) -> Protocol:
    declared = (port.protocol and Protocol.parse(port.protocol)) or Protocol.AUTO
    if not is_ended:
        return declared
    return Protocol.HTTP if declared is Protocol.HTTPS else Protocol.TCP


def _tls(source: istio.IngressTLSSettings, protocol: str, defaults: TLSDefaults) -> ServerTLS:
    is_mutual = source.mode == "MUTUAL"
    stated = ServerTLS(
        certificates=((source.server_certificate, source.private_key),),
        client=ClientCertificate.REQUIRED if is_mutual else ClientCertificate.IGNORED,
        ca_certificates=source.ca_certificates if is_mutual else "",
        crl=source.ca_crl if is_mutual else "",
        lowest_version=_version(source.min_protocol_version) or "TLSv1_2",
        highest_version=_version(source.max_protocol_version) or "TLSv1_3",
        spki_pins=source.verify_certificate_spki if is_mutual else (),
        certificate_pins=source.verify_certificate_hash if is_mutual else (),
        cipher_suites=usable(source.cipher_suites),
        curves=source.ecdh_curves,
        alpn=source.alpn_protocols or (("h2", "http/1.1") if Protocol.parse(protocol) is Protocol.HTTPS else ()),
    )
    return with_server_defaults(stated, source.min_protocol_version != "TLS_AUTO", defaults)


def _version(written: str) -> str:
    """As Envoy writes it."""
    return "" if written == "TLS_AUTO" else written.replace("TLSV", "TLSv")


def _pool(source: istio.ConnectionPoolSettings | None) -> InboundPool | None:
    return InboundPool(*lower_connection_pool(source)) if source is not None else None
