"""DestinationRules of one host → its policy in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.config import istio
from pilotfish.config.mesh import DefaultTrafficPolicy, MeshConfig
from pilotfish.mesh.client_tls import lower_client_tls
from pilotfish.mesh.policy.load_balancer import lower_load_balancer, lower_utilization
from pilotfish.mesh.policy.locality import lower_locality, lower_zones
from pilotfish.mesh.settings import lower_keepalive
from pilotfish.mesh.tls_defaults import NO_DEFAULTS, TLSDefaults, with_client_defaults
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import host_port
from pilotfish.model.traffic_policy import (
    ConnectionPool,
    DestinationPolicy,
    HTTP2Keepalive,
    LoadBalancer,
    LocalityBalancing,
    MeshTLS,
    OutlierDetection,
    Passing,
    PolicyByPort,
    RetryBudget,
    Subset,
    TrafficPolicy,
    Tunnel,
    UpstreamProtocol,
)

_NOTHING: Final = istio.TrafficPolicy()


@dataclass(frozen=True, slots=True)
class Defaults:
    """The mesh's, for policies that say nothing of it."""

    locality: istio.LocalityLoadBalancerSetting | None = None
    zones: istio.ZoneAwareLoadBalancerSetting | None = None
    connection_pool: istio.ConnectionPoolSettings | None = None
    outlier_detection: istio.OutlierDetection | None = None
    tls: TLSDefaults = NO_DEFAULTS
    verifies: bool = True
    """Servers' certificates are looked at where nobody says whom to trust."""

    @classmethod
    def of(cls, config: MeshConfig) -> Defaults:
        stated, tls = config.default_traffic_policy or DefaultTrafficPolicy(), TLSDefaults.of(config)
        near = config.locality_lb_setting, config.zone_aware_lb_setting
        return cls(*near, stated.connection_pool, stated.outlier_detection, tls, config.verify_certificate_at_client)


def lower_destination_rules(
    rules: Sequence[tuple[ObjectRef, istio.DestinationRuleSpec]], defaults: Defaults
) -> DestinationPolicy:
    """The first gives the policy of the whole service; each adds its subsets, the first of a name counts."""
    base = next((spec.traffic_policy for _, spec in rules if spec.traffic_policy is not None), _NOTHING)
    subsets = {s.name: s for _, spec in reversed(rules) for s in reversed(spec.subsets)}
    policy = _by_port(base, _NOTHING, defaults)
    return DestinationPolicy(
        refs=tuple(ref for ref, _ in rules),
        policy=policy,
        subsets=tuple(
            Subset(
                name,
                tuple(sorted(subsets[name].labels.items())),
                _by_port(base, own, defaults) if (own := subsets[name].traffic_policy) is not None else policy,
            )
            for name in sorted(subsets)
        ),
    )


def _by_port(base: istio.TrafficPolicy, over: istio.TrafficPolicy, defaults: Defaults) -> PolicyByPort:
    """The port's settings over the subset's over the rule's."""
    ports = {p.port.number for policy in (base, over) for p in policy.port_level_settings}
    return PolicyByPort(
        _lower(_merge(base, over), defaults),
        tuple((port, _lower(_merge_on(port, base, over), defaults)) for port in sorted(ports)),
    )


def _merge(base: istio.TrafficPolicy, over: istio.TrafficPolicy) -> istio.TrafficPolicy:
    """Each setting as a whole: `over`'s if it has one."""
    return istio.TrafficPolicy(
        connection_pool=over.connection_pool or base.connection_pool,
        load_balancer=over.load_balancer or base.load_balancer,
        outlier_detection=over.outlier_detection or base.outlier_detection,
        tls=over.tls or base.tls,
        tunnel=over.tunnel or base.tunnel,
        proxy_protocol=over.proxy_protocol or base.proxy_protocol,
        retry_budget=over.retry_budget or base.retry_budget,
    )


def _merge_on(port: int, base: istio.TrafficPolicy, over: istio.TrafficPolicy) -> istio.TrafficPolicy:
    """A port's settings replace all that is said less narrowly; what they leave out is at its default. A subset's leave
    the rule what no port can say. Source: Istio's MergeSubsetTrafficPolicy,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/util/util.go"""
    own, theirs = _for_port(over, port), _for_port(base, port) or base
    if own is None:
        return _merge(theirs, over)
    return msgspec.structs.replace(
        own, tunnel=theirs.tunnel, proxy_protocol=theirs.proxy_protocol, retry_budget=theirs.retry_budget
    )


def _for_port(policy: istio.TrafficPolicy, port: int) -> istio.TrafficPolicy | None:
    own = next((p for p in policy.port_level_settings if p.port.number == port), None)
    if own is None:
        return None
    return istio.TrafficPolicy(
        connection_pool=own.connection_pool,
        load_balancer=own.load_balancer,
        outlier_detection=own.outlier_detection,
        tls=own.tls,
    )


def lower_connection_pool(pool: istio.ConnectionPoolSettings) -> tuple[ConnectionPool, Passing | None]:
    tcp = pool.tcp or istio.TCPSettings()
    return _connection_pool(tcp, pool.http or istio.HTTPSettings()), _passing(tcp, None)


def _lower(policy: istio.TrafficPolicy, defaults: Defaults) -> TrafficPolicy:
    pool = policy.connection_pool or defaults.connection_pool or istio.ConnectionPoolSettings()
    outliers = policy.outlier_detection or defaults.outlier_detection
    tls = lower_client_tls(policy.tls, defaults.verifies) if policy.tls else None
    settings = policy.load_balancer or istio.LoadBalancerSettings()
    balancer, consistent_hash, warmup = lower_load_balancer(settings)
    is_stated, near = _locality(settings, defaults, outliers is not None)
    return TrafficPolicy(
        load_balancer=balancer,
        consistent_hash=consistent_hash,
        utilization=lower_utilization(settings.backend_utilization) if settings.backend_utilization else None,
        warmup=warmup,
        locality=near if balancer is not LoadBalancer.PASSTHROUGH else None,
        states_locality=is_stated,
        connection_pool=_connection_pool(pool.tcp or istio.TCPSettings(), pool.http or istio.HTTPSettings()),
        passing=_passing(pool.tcp or istio.TCPSettings(), policy.tunnel),
        outlier_detection=_outlier_detection(outliers) if outliers else None,
        tls=with_client_defaults(tls, defaults.tls) if tls is not None else None,
        mesh_tls=_mesh_tls(policy.tls) if policy.tls else MeshTLS(),
        proxy_protocol=policy.proxy_protocol.version if policy.proxy_protocol else "",
        retry_budget=_retry_budget(policy.retry_budget) if policy.retry_budget else None,
    )


def _locality(
    settings: istio.LoadBalancerSettings, defaults: Defaults, has_outlier_detection: bool
) -> tuple[bool, LocalityBalancing | None]:
    """Whether the rule says it itself, and what holds. Source: Istio's GetEffectiveLbSetting"""
    zones, setting = settings.zone_aware_lb_setting, settings.locality_lb_setting
    is_stated = zones is not None or setting is not None
    if not is_stated:
        zones, setting = defaults.zones, defaults.locality
    return is_stated, lower_zones(zones) if zones is not None else lower_locality(setting, has_outlier_detection)


def _connection_pool(tcp: istio.TCPSettings, http: istio.HTTPSettings) -> ConnectionPool:
    """A limit of 0 is none. What TCP may idle, HTTP may too."""
    return ConnectionPool(
        max_connections=tcp.max_connections or None,
        connect_timeout=tcp.connect_timeout,
        max_pending_requests=http.http1_max_pending_requests or None,
        max_requests=http.http2_max_requests or None,
        max_retries=http.max_retries or None,
        max_requests_per_connection=http.max_requests_per_connection or None,
        idle_timeout=http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout,
        max_connection_duration=tcp.max_connection_duration,
        max_concurrent_streams=http.max_concurrent_streams or None,
        protocol=_protocol(http),
        keepalive=lower_keepalive(tcp.tcp_keepalive) if tcp.tcp_keepalive else None,
        http2_keepalive=_ping(http.http2_keep_alive) if http.http2_keep_alive else None,
    )


def _protocol(http: istio.HTTPSettings) -> UpstreamProtocol:
    if http.use_client_protocol:
        return UpstreamProtocol.CLIENT
    return _UPGRADES[http.h2_upgrade_policy]


_UPGRADES: Final = {
    "DEFAULT": UpstreamProtocol.DECLARED,
    "DO_NOT_UPGRADE": UpstreamProtocol.NOT_UPGRADED,
    "UPGRADE": UpstreamProtocol.HTTP2,
}


def _ping(source: istio.HTTP2KeepAlive) -> HTTP2Keepalive | None:
    return HTTP2Keepalive(source.interval, source.timeout) if source.interval and source.timeout else None


def _outlier_detection(settings: istio.OutlierDetection) -> OutlierDetection:
    """What a user does not ask for is switched off, but for five errors in a row: Istio's defaults."""
    errors = settings.consecutive_5xx_errors
    split = settings.split_external_local_origin_errors
    return OutlierDetection(
        consecutive_5xx_errors=5 if errors is None else errors,
        consecutive_gateway_errors=settings.consecutive_gateway_errors or 0,
        split_local_errors=split,
        consecutive_local_failures=(settings.consecutive_local_origin_failures or None) if split else None,
        interval=settings.interval,
        base_ejection_time=settings.base_ejection_time,
        max_ejection_percent=settings.max_ejection_percent or None,
        min_health_percent=settings.min_health_percent or 0,
        failure_percent=settings.failure_percentage_threshold,
        error_codes=tuple(sorted(set(settings.outlier_detection_http_error_codes))),
    )


def _mesh_tls(source: istio.ClientTLSSettings) -> MeshTLS | None:
    if source.mode != "ISTIO_MUTUAL":
        return None
    return MeshTLS(True, source.sni, source.subject_alt_names)


def _passing(tcp: istio.TCPSettings, tunnel: istio.Tunnel | None) -> Passing | None:
    asked = Passing(tcp.idle_timeout, tcp.max_connection_duration, _tunnel(tunnel) if tunnel is not None else None)
    return asked if asked != Passing() else None


def _tunnel(source: istio.Tunnel) -> Tunnel:
    return Tunnel(host_port(source.target_host, source.target_port), source.protocol.upper() == "POST")


_RETRY_PERCENT: Final = 20.0
_RETRIES_AT_LEAST: Final = 3


def _retry_budget(source: istio.RetryBudget) -> RetryBudget:
    percent = _RETRY_PERCENT if source.percent is None else source.percent
    return RetryBudget(percent, source.min_retry_concurrency or _RETRIES_AT_LEAST)
