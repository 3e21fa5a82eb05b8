"""The mesh configuration, as far as it is about traffic, in neutral form."""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.config.cipher_suites import usable
from pilotfish.config.mesh import GatewayTopology, MeshConfig, ProxyHeaders
from pilotfish.derive import Reads, query
from pilotfish.mesh.client_tls import lower_client_tls
from pilotfish.mesh.connection_settings import lower_connection_settings
from pilotfish.mesh.inputs import mesh_config
from pilotfish.model.settings import (
    AccessLog,
    Edge,
    ForwardedCertificate,
    Headers,
    MeshSettings,
    MutualSettings,
    PathNormalization,
)
from pilotfish.model.traffic_policy import ClientTLS, Keepalive


@query
def settings(db: Reads) -> MeshSettings:
    """A change of the mesh configuration that is not about traffic ends here."""
    config = mesh_config(db)
    return MeshSettings(
        access_log=_access_log(config),
        connect_timeout=config.connect_timeout,
        keepalive=lower_keepalive(config.tcp_keepalive) if config.tcp_keepalive is not None else None,
        upgrade=config.h2_upgrade_policy == "UPGRADE",
        dns_refresh=config.dns_refresh_rate,
        detection_timeout=config.protocol_detection_timeout,
        edge=_edge(config.default_config.gateway_topology),
        allow_any=config.outbound_traffic_policy.mode != "REGISTRY_ONLY",
        headers=_headers(config.default_config.proxy_headers),
        to_loopback=config.inbound_traffic_policy.mode == "LOCALHOST",
        looks_up=config.outbound_traffic_policy.mode == "ALLOW_ANY_DYNAMIC_DNS",
        mutual=_mutual(config),
        paths=_paths(config),
        looked_up_tls=_looked_up_tls(config),
        http_proxy_port=config.proxy_http_port,
        outbound_stat_name=config.outbound_cluster_stat_name,
        inbound_stat_name=config.inbound_cluster_stat_name,
        at_sidecars=lower_connection_settings(config.default_config.connection_settings, at_edge=False),
        at_gateways=lower_connection_settings(config.default_config.connection_settings, at_edge=True),
    )


def _looked_up_tls(config: MeshConfig) -> ClientTLS | None:
    source = config.outbound_traffic_policy.tls
    found = lower_client_tls(source, config.verify_certificate_at_client) if source is not None else None
    return found if found is not None and found.credential is None else None


def lower_keepalive(source: istio.TCPKeepalive) -> Keepalive:
    """0 probes are the kernel's own number."""
    return Keepalive(source.probes or None, source.time, source.interval)


def _mutual(config: MeshConfig) -> MutualSettings:
    tls = config.mesh_mtls
    return MutualSettings(
        trust_domains=config.trust_domains,
        automatic=config.enable_auto_mtls,
        lowest_version="TLSv1_3" if tls.min_protocol_version == "TLSV1_3" else "TLSv1_2",
        cipher_suites=usable(tls.cipher_suites),
        curves=tls.ecdh_curves,
    )


def _edge(topology: GatewayTopology) -> Edge:
    stated = topology.forward_client_cert_details
    return Edge(
        trusted_proxies=topology.num_trusted_proxies,
        certificate=ForwardedCertificate(stated) if stated != "UNDEFINED" else ForwardedCertificate.OWN,
        proxy_protocol=topology.proxy_protocol is not None,
    )


def _headers(source: ProxyHeaders) -> Headers:
    certificate, parts = source.forwarded_client_cert, source.set_current_client_cert_details
    shown = {name: getattr(parts, name) for name in ("subject", "cert", "chain", "dns", "uri")}
    return Headers(
        server="" if source.server.disabled else source.server.value or Headers().server,
        request_id=not source.request_id.disabled,
        attempt_count=not source.attempt_count.disabled,
        debug=not source.envoy_debug_headers.disabled,
        forwarded_host=source.x_forwarded_host.enabled,
        forwarded_port=source.x_forwarded_port.enabled,
        keeps_case=source.preserve_http1_header_case,
        certificate=ForwardedCertificate(certificate) if certificate != "UNDEFINED" else ForwardedCertificate.ADDED,
        certificate_parts=frozenset(name for name, wanted in shown.items() if wanted),
    )


def _paths(config: MeshConfig) -> PathNormalization:
    stated = config.path_normalization.normalization
    return PathNormalization(stated) if stated != "DEFAULT" else PathNormalization.BASE


def _access_log(config: MeshConfig) -> AccessLog | None:
    if not config.access_log_file:
        return None
    return AccessLog(config.access_log_file, config.access_log_format, config.access_log_encoding == "JSON")
