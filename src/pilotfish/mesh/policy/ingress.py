"""What a Sidecar says of what comes to its workloads, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioIngressListener
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config import istio
from pilotfish.config.cipher_suites import usable
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.policy.destination_rule import lower_connection_pool
from pilotfish.mesh.policy.policies import policed, policy, rules_for
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef, Protocol
from pilotfish.model.gateway import ClientCertificate, ServerTLS
from pilotfish.model.ingress import InboundPool, IngressListener
from pilotfish.model.traffic_policy import ConnectionPool, UpstreamProtocol


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
    return Ingress(tuple(_listener(ref, each, pool) for each in found.spec.ingress if each.port is not None), pool)


def _listener(ref: ObjectRef, source: istio.IstioIngressListener, pool: InboundPool | None) -> IngressListener:
    port = source.port or istio.SidecarPort()
    return IngressListener(
        ref=ref,
        number=port.number,
        protocol=_protocol(port, source.tls is not None),
        bind=source.bind if source.capture_mode == "NONE" else "",
        bound=source.capture_mode == "NONE",
        endpoint=source.default_endpoint,
        tls=_tls(source.tls, port.protocol) if source.tls is not None else None,
        pool=_pool(source.connection_pool) or pool,
    )


def _protocol(port: istio.SidecarPort, is_ended: bool) -> Protocol:
    declared = (port.protocol and Protocol.parse(port.protocol)) or Protocol.AUTO
    if not is_ended:
        return declared
    return Protocol.HTTP if declared is Protocol.HTTPS else Protocol.TCP


def _tls(source: istio.IngressTLSSettings, protocol: str) -> ServerTLS:
    looks, highest = source.mode != "SIMPLE", _version(source.max_protocol_version) or "TLSv1_3"
    return ServerTLS(
        certificates=((source.server_certificate, source.private_key),),
        client=_CLIENTS[source.mode],
        ca_certificates=source.ca_certificates if looks else "",
        crl=source.ca_crl if looks else "",
        spki_pins=source.verify_certificate_spki if looks else (),
        certificate_pins=source.verify_certificate_hash if looks else (),
        accepts_untrusted=source.insecure_skip_verify and looks,
        lowest_version=_version(source.min_protocol_version) or min("TLSv1_2", highest),
        highest_version=highest,
        cipher_suites=usable(source.cipher_suites),
        curves=source.ecdh_curves,
        alpn=source.alpn_protocols or (("h2", "http/1.1") if Protocol.parse(protocol) is Protocol.HTTPS else ()),
    )


_CLIENTS: Final = {
    "SIMPLE": ClientCertificate.IGNORED,
    "MUTUAL": ClientCertificate.REQUIRED,
    "OPTIONAL_MUTUAL": ClientCertificate.OPTIONAL,
}


def _version(written: str) -> str:
    """As Envoy writes it."""
    return "" if written == "TLS_AUTO" else written.replace("TLSV", "TLSv")


@query
def pool_of_rules(db: Reads, namespace: str, host: str, port: int) -> InboundPool | None:
    """What DestinationRules say of connections to a port of a service: as clients, so its own proxies keep to it. Those
    that are for some clients, or for a subset, say nothing here.

    Source: Istio's buildInboundCluster,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/cluster_builder.go
    """
    rules = rules_for(db, policed(db, Scope(namespace)), host)
    pool = _as_declared(policy(db, rules).of("", port).connection_pool)
    return InboundPool(pool) if pool != ConnectionPool() else None


def _pool(source: istio.ConnectionPoolSettings | None) -> InboundPool | None:
    if source is None:
        return None
    pool, passing = lower_connection_pool(source)
    return InboundPool(_as_declared(pool), passing)


def _as_declared(pool: ConnectionPool) -> ConnectionPool:
    """An app is asked in the protocol that its port declares, or in its client's: it may know no other."""
    return replace(pool, protocol=UpstreamProtocol.DECLARED) if pool.protocol is UpstreamProtocol.HTTP2 else pool
