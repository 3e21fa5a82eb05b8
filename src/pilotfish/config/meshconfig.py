"""The mesh configuration and a proxy's, wherever they are written.

As a file of their own, as the ConfigMap `istio` in `istio-system` (key `mesh`), or in an IstioOperator
(`spec.meshConfig`). Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from __future__ import annotations

import msgspec

from pilotfish.config.checks.access_log import check_access_log
from pilotfish.config.checks.client_tls import check_client_tls
from pilotfish.config.checks.connection_pool import check_connection_pool, check_keepalive
from pilotfish.config.checks.connection_settings import check_connection_settings
from pilotfish.config.checks.destination_rule import check_outliers
from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.extension_provider import check_extension_providers
from pilotfish.config.checks.hosts import is_domain
from pilotfish.config.checks.http_headers import check_header_value
from pilotfish.config.checks.http_route import check_retries
from pilotfish.config.checks.locality import check_locality, check_zones
from pilotfish.config.checks.names import check_dns_label, check_labels, check_port
from pilotfish.config.checks.proxy_config import check_concurrency, check_renewal
from pilotfish.config.checks.regex import find_fault
from pilotfish.config.checks.server_tls import check_algorithms
from pilotfish.config.decode import decode
from pilotfish.config.kubernetes import Struct
from pilotfish.config.mesh import (
    ConnectionSettings,
    DefaultTrafficPolicy,
    GatewayTopology,
    LabelSelector,
    MeshConfig,
    OutboundTrafficPolicy,
    ProxyConfig,
    ProxyHeaders,
    ServiceEntryVisibility,
)
from pilotfish.config.proxying import check_proxying_of_mesh
from pilotfish.config.reading import check_asked_by_mesh
from pilotfish.config.report import Report
from pilotfish.config.sidecar_ports import check_one_each, check_proxy_ports
from pilotfish.config.text import ParsedDocument, read
from pilotfish.model import Duration, ObjectRef, Problem, Severity, Source
from pilotfish.model.addresses import is_ip
from pilotfish.model.kinds import CONFIG_MAP
from pilotfish.model.wellknown import PROXY_PORTS

Problems = tuple[Problem, ...]
_LARGEST = 2**17
"""Characters: it is read in one go."""
_SECOND = 10**9
_MOST_PROXIES = 100
_LONGEST_CONNECT = Duration(3600 * _SECOND)
_TOO_OFTEN = Duration(_SECOND // 1000)
"""Istio takes it, and Envoy refuses every cluster with a name: envoy.extensions.clusters.dns.v3.DnsCluster."""


def load_mesh_config(text: str, file: str) -> tuple[MeshConfig | None, Problems]:
    """The meshConfig of a whole text, bare or wrapped. None where it has errors; the default where it is empty."""
    if len(text) > _LARGEST:
        message = f"the text is longer than {_LARGEST} characters, so it is not used; a meshConfig is a page or two"
        return None, (Problem(None, "", "TooLarge", message, source=Source(file, 1)),)
    documents = tuple(read(text, file))
    if not documents:
        return MeshConfig(), ()
    report = Report(None, file, documents[0].positions)
    config = _unwrap(documents[0], report)
    if len(documents) > 1:
        message = "only the first document is used; keep the meshConfig in a file of its own"
        report.add("", "Ignored", message, Severity.WARNING, documents[1].line)
    return config, tuple(report.problems)


def _unwrap(document: ParsedDocument, report: Report) -> MeshConfig | None:
    for fault in document.faults:
        report.add(fault.path, fault.reason, fault.message, Severity.ERROR, fault.line)
    value = document.value
    if report.errors:
        return None
    if isinstance(value, dict) and value.get("kind") == CONFIG_MAP.name:
        return parse_mesh_config(value_at(value, "data", "mesh"), report, "data.mesh")
    if isinstance(value, dict) and value.get("kind") == "IstioOperator":
        return decode_operator(value, report)
    return decode_mesh_config(value, report, "")


def value_at(value: object, *path: str) -> object:
    """What stands at the end of a path of fields; None where one is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def decode_operator(value: dict[str, object], report: Report) -> MeshConfig | None:
    """An IstioOperator's. None where that adds an error to the report."""
    field = mesh_config_field(value)
    if field == "spec.meshConfig" and value_at(value, "spec", "values", "meshConfig"):
        text = "spec.meshConfig is used, and this is not; write all of it there"
        report.warning("spec.values.meshConfig", "Ignored", text)
    return decode_mesh_config(value_at(value, *field.split(".")), report, field)


def mesh_config_field(operator: object) -> str:
    """Where an IstioOperator has its meshConfig: Istio makes of it what its chart has among its values."""
    is_value = value_at(operator, "spec", "meshConfig") is None and value_at(operator, "spec", "values", "meshConfig")
    return "spec.values.meshConfig" if is_value else "spec.meshConfig"


def decode_mesh_config(value: object, report: Report, field: str) -> MeshConfig | None:
    """None where that adds an error to the report."""
    before = report.errors
    config = decode({} if value is None else value, MeshConfig, report, field)
    if config is not None:
        prefix = f"{field}." if field else ""
        _check_mesh_config(config, report, prefix)
        _check_proxy_config(config.default_config, report, f"{prefix}defaultConfig")
        check_one_each(config.default_config, report, f"{prefix}defaultConfig", "statusPort")
    return None if report.errors > before else config


def parse_mesh_config(text: object, report: Report, field: str) -> MeshConfig | None:
    """From the text in a ConfigMap. None where that adds an error to the report."""
    if text is None:
        return MeshConfig()
    before = report.errors
    value = _parse(text, report, field)
    return None if report.errors > before else decode_mesh_config(value, report, field)


def proxy_config(text: str, base: ProxyConfig, ref: ObjectRef, source: Source) -> tuple[ProxyConfig, Problems]:
    """The annotation `proxy.istio.io/config` laid over the mesh's `defaultConfig`.

    What is wrong with it comes back as Problems, and `base` holds. Entries of `proxyMetadata` are merged.
    """
    report = Report(ref, source.file, fixed_source=source)
    config = parse_proxy_config(text, base, report, "metadata.annotations[proxy.istio.io/config]")
    return config or base, tuple(report.problems)


def parse_proxy_config(text: str, base: ProxyConfig, report: Report, field: str) -> ProxyConfig | None:
    """None where that adds an error to the report."""
    before = report.errors
    value = _parse(text, report, field)
    if value is None:
        return None if report.errors > before else base
    own = decode(value, ProxyConfig, report, field)
    if own is not None:
        _check_proxy_config(own, report, field)
        _check_common(
            own.gateway_topology, base.gateway_topology, GatewayTopology(), f"{field}.gatewayTopology", report
        )
        settings, common = _of_all(own.connection_settings), _of_all(base.connection_settings)
        _check_common(settings, common, ConnectionSettings(), f"{field}.connectionSettings", report)
        _check_common(own.proxy_headers, base.proxy_headers, ProxyHeaders(), f"{field}.proxyHeaders", report)
    if own is None or report.errors > before or not isinstance(value, dict):
        return None
    fields = msgspec.structs.fields(ProxyConfig)
    stated = {f.name: getattr(own, f.name) for f in fields if value.get(f.encode_name) is not None}
    metadata = {**base.proxy_metadata, **own.proxy_metadata}
    merged = msgspec.structs.replace(base, **{**stated, "proxy_metadata": metadata})
    if stated.keys() & {"proxy_admin_port", "status_port"}:
        check_one_each(merged, report, field, "statusPort" if "status_port" in stated else "proxyAdminPort")
    return None if report.errors > before else merged


def _check_common(own: Struct, base: Struct, default: Struct, field: str, report: Report) -> None:
    if own not in (base, default):
        what = "it holds for all proxies together, so it has no effect here; write it in meshConfig.defaultConfig"
        report.warning(field, "UnusedField", what)


def _of_all(settings: ConnectionSettings) -> ConnectionSettings:
    """What no proxy has for itself."""
    return msgspec.structs.replace(settings, global_downstream_connection_limit=None)


def _parse(text: object, report: Report, field: str) -> object:
    """The value of a text inside of another. Its problems are reported on the line where it begins."""
    if not isinstance(text, str):
        report.error(field, "WrongType", "YAML text is wanted here, so it is not used; write it as a block: `|`")
        return None
    if len(text) > _LARGEST:
        message = f"the text is longer than {_LARGEST} characters, so it is not used; shorten it"
        report.error(field, "TooLarge", message)
        return None
    documents = tuple(read(text, ""))
    for document in documents[:1]:
        for fault in document.faults:
            report.error(f"{field}.{fault.path}" if fault.path else field, fault.reason, fault.message)
    return documents[0].value if documents else None


def _check_mesh_config(config: MeshConfig, report: Report, prefix: str) -> None:
    """Istio's own bounds. Source: ValidateMeshConfig,
    https://github.com/istio/istio/blob/master/pkg/config/validation/agent/validation.go"""
    check_duration(config.connect_timeout, f"{prefix}connectTimeout", report)
    if config.connect_timeout > _LONGEST_CONNECT:
        what = f"{config.connect_timeout} is longer than an hour"
        report.invalid(f"{prefix}connectTimeout", what, "write 1h or less")
    check_duration(config.dns_refresh_rate, f"{prefix}dnsRefreshRate", report)
    if config.dns_refresh_rate == _TOO_OFTEN:
        report.invalid(f"{prefix}dnsRefreshRate", "Envoy looks names up less often than every 1ms", "write 2ms or more")
    if config.default_http_retry_policy is not None:
        check_retries(config.default_http_retry_policy, f"{prefix}defaultHttpRetryPolicy", report)
    if config.default_inbound_http_retry_policy is not None:
        check_retries(config.default_inbound_http_retry_policy, f"{prefix}defaultInboundHttpRetryPolicy", report)
    if config.default_traffic_policy is not None:
        _check_traffic_policy(config.default_traffic_policy, f"{prefix}defaultTrafficPolicy", report)
    for index, selector in enumerate(config.discovery_selectors):
        _check_selector(selector, f"{prefix}discoverySelectors[{index}]", report)
    if config.service_entry_visibility is not None:
        _check_visibility(config.service_entry_visibility, f"{prefix}serviceEntryVisibility", report)
    stated = config.tls_defaults
    check_algorithms(stated.cipher_suites, stated.ecdh_curves, f"{prefix}tlsDefaults", report)
    if config.tcp_keepalive is not None:
        check_keepalive(config.tcp_keepalive, f"{prefix}tcpKeepalive", report)
    if config.locality_lb_setting is not None:
        check_locality(config.locality_lb_setting, f"{prefix}localityLbSetting", report)
    if config.zone_aware_lb_setting is not None:
        check_zones(config.zone_aware_lb_setting, f"{prefix}zoneAwareLbSetting", report)
    _check_outbound(config.outbound_traffic_policy, report, f"{prefix}outboundTrafficPolicy")
    if config.proxy_http_port:
        check_port(config.proxy_http_port, f"{prefix}proxyHttpPort", report)
        if config.proxy_http_port in PROXY_PORTS:
            report.invalid(f"{prefix}proxyHttpPort", "Envoy has that port already", "write another")
    check_duration(config.protocol_detection_timeout, f"{prefix}protocolDetectionTimeout", report, may_be_zero=True)
    check_dns_label(config.root_namespace, f"{prefix}rootNamespace", report)
    if not is_domain(config.trust_domain):
        what = f"{config.trust_domain!r} can't stand in an identity"
        report.invalid(f"{prefix}trustDomain", what, "write a domain, such as cluster.local")
    for i, alias in enumerate(config.trust_domain_aliases):
        if not is_domain(alias):
            report.invalid(f"{prefix}trustDomainAliases[{i}]", f"{alias!r} is no trust domain", "write a domain")
    check_algorithms(config.mesh_mtls.cipher_suites, config.mesh_mtls.ecdh_curves, f"{prefix}meshMTLS", report)
    check_extension_providers(config.extension_providers, f"{prefix}extensionProviders", report)
    check_export_to(config.default_service_export_to, report, f"{prefix}defaultServiceExportTo")
    check_export_to(config.default_virtual_service_export_to, report, f"{prefix}defaultVirtualServiceExportTo")
    if config.default_destination_rule_export_to not in ((), ("*",), (".",)):
        remedy = "write ['*'], every namespace, or ['.'], the rule's own"
        report.invalid(f"{prefix}defaultDestinationRuleExportTo", "it must be one of two", remedy)
    log_format, encoding = config.access_log_format, config.access_log_encoding
    check_access_log(config.access_log_file, log_format, encoding, prefix, report)


def _check_traffic_policy(policy: DefaultTrafficPolicy, field: str, report: Report) -> None:
    if policy.connection_pool is not None:
        check_connection_pool(policy.connection_pool, f"{field}.connectionPool", report)
    if policy.outlier_detection is not None:
        check_outliers(policy.outlier_detection, f"{field}.outlierDetection", report)


def _check_visibility(source: ServiceEntryVisibility, field: str, report: Report) -> None:
    if not source.apply_to_sidecars:
        what = "without applyToSidecars it is for ambient mode alone, so it has no effect"
        report.warning(field, "UnusedField", f"{what}; write applyToSidecars: true, or remove it")
    for i, policy in enumerate(source.policies):
        for j, rule in enumerate(policy.matching_rules):
            where = f"{field}.policies[{i}].matchingRules[{j}]"
            if rule.namespace_selector is not None:
                _check_selector(rule.namespace_selector, f"{where}.namespaceSelector", report)
            else:
                what = "a rule without namespaceSelector fits no namespace, so the policy never counts"
                report.warning(where, "UnusedField", f"{what}; write namespaceSelector, or remove the rule")


def _check_selector(selector: LabelSelector, field: str, report: Report) -> None:
    check_labels(selector.match_labels, f"{field}.matchLabels", report)
    for index, requirement in enumerate(selector.match_expressions):
        where, wants = f"{field}.matchExpressions[{index}].values", requirement.operator in ("In", "NotIn")
        if wants and not requirement.values:
            report.missing(where, f"{requirement.operator} needs at least one")
        elif requirement.values and not wants:
            report.invalid(where, f"{requirement.operator} looks at no value", "remove them")


def _check_outbound(policy: OutboundTrafficPolicy, report: Report, field: str) -> None:
    if policy.tls is None:
        return
    check_client_tls(policy.tls, f"{field}.tls", report)
    if policy.mode != "ALLOW_ANY_DYNAMIC_DNS":
        what = f"with {policy.mode} the app's own connections are passed on, so it has no effect"
        report.warning(f"{field}.tls", "UnusedField", f"{what}; remove it, or write ALLOW_ANY_DYNAMIC_DNS")
    tls = policy.tls
    if tls.mode == "ISTIO_MUTUAL":
        what = "hosts that nobody has are none of the mesh's, so that requests are sent to them as they are"
        report.warning(f"{field}.tls.mode", "UnusedField", f"{what}; write SIMPLE, or MUTUAL and files")
    for name, text in (("credentialName", tls.credential_name), ("caCertCredentialName", tls.ca_cert_credential_name)):
        if text and tls.mode in ("SIMPLE", "MUTUAL"):
            what = "sidecars have no Secrets of the mesh's, so that requests are sent as they are"
            report.warning(f"{field}.tls.{name}", "UnusedField", f"{what}; name files in its place")


def _check_proxy_config(config: ProxyConfig, report: Report, field: str) -> None:
    for index, pattern in enumerate(config.proxy_stats_matcher.inclusion_regexps):
        if fault := find_fault(pattern):
            where = f"{field}.proxyStatsMatcher.inclusionRegexps[{index}]"
            report.invalid(where, fault, "correct the expression: Envoy would not start")
    check_header_value(config.proxy_headers.server.value, f"{field}.proxyHeaders.server.value", report)
    check_proxy_ports(config, report, field)
    check_concurrency(config.concurrency, f"{field}.concurrency", report)
    if not 0 <= config.gateway_topology.num_trusted_proxies <= _MOST_PROXIES:
        where = f"{field}.gatewayTopology.numTrustedProxies"
        report.invalid(where, "that is no number of proxies", f"write one from 0 to {_MOST_PROXIES}")
    check_connection_settings(config.connection_settings, f"{field}.connectionSettings", report)
    check_renewal(config.proxy_metadata, f"{field}.proxyMetadata", report)
    check_asked_by_mesh(config, field, report)
    check_proxying_of_mesh(config, field, report)
    _check_address(config.discovery_address, f"{field}.discoveryAddress", report)
    if config.drain_duration.nanos < _SECOND or config.drain_duration.nanos % _SECOND:
        what = f"{config.drain_duration} is not a whole number of seconds"
        report.invalid(f"{field}.drainDuration", what, "write 1s or more")
    _check_positive(config.termination_drain_duration, report, f"{field}.terminationDrainDuration")


def _check_positive(duration: Duration, report: Report, field: str) -> None:
    if duration.nanos < 0:
        report.invalid(field, f"{duration} is less than no time", "write 0s or more")


def _check_address(address: str, field: str, report: Report) -> None:
    host, colon, port = address.rpartition(":")
    right = colon and (is_domain(host) or is_ip(host.strip("[]"))) and port.isdecimal() and 1 <= int(port[:6]) <= 65535
    if address and not right:
        report.invalid(field, f"{address!r} is no address", "write HOST:PORT, or remove it")
