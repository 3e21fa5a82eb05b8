from __future__ import annotations

import pytest

from pilotfish.config import load, load_mesh_config, proxy_config
from pilotfish.config.mesh import ConnectionSettings, ExtensionProvider, MeshConfig, ProxyConfig
from pilotfish.model import Duration, Severity, Source, kinds

BARE = """\
accessLogFile: /dev/stdout
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
defaultConfig:
  concurrency: 2
  proxyMetadata: {A: "1"}
"""
CONFIG_MAP = "kind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n" + "".join(
    f"    {line}\n" for line in BARE.splitlines()
)
OPERATOR = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  meshConfig:\n" + "".join(
    f"    {line}\n" for line in BARE.splitlines()
)
POD = kinds.POD.ref("vm", "a")
SOURCE = Source("a.yaml", 7)


@pytest.mark.parametrize("text", [BARE, CONFIG_MAP, OPERATOR], ids=["bare", "ConfigMap", "IstioOperator"])
def test_all_three_forms_are_read(text: str) -> None:
    config, problems = load_mesh_config(text, "mesh.yaml")
    assert problems == ()
    assert config is not None
    assert config.access_log_file == "/dev/stdout"
    assert config.outbound_traffic_policy.mode == "REGISTRY_ONLY"
    assert config.default_config.concurrency == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "kind: ConfigMap\ndata: {}", "kind: IstioOperator"])
def test_nothing_is_the_default(text: str) -> None:
    assert load_mesh_config(text, "mesh.yaml") == (MeshConfig(), ())


@pytest.mark.parametrize(
    ("text", "reason", "field", "line"),
    [
        ("a: [", "SyntaxError", "", 1),
        ("\naccessLogFlie: x", "UnknownField", "accessLogFlie", 2),
        ("outboundTrafficPolicy:\n  mode: ANY", "InvalidValue", "outboundTrafficPolicy.mode", 2),
        (
            "defaultConfig: {proxyMetadata: {PILOTFISH_PROXY: shared}}",
            "InvalidValue",
            "defaultConfig.proxyMetadata[PILOTFISH_PROXY]",
            1,
        ),
        (
            "defaultConfig: {proxyMetadata: {SECRET_TTL: 1d}}",
            "InvalidValue",
            "defaultConfig.proxyMetadata[SECRET_TTL]",
            1,
        ),
        ("defaultConfig: {concurrency: -1}", "InvalidValue", "defaultConfig.concurrency", 1),
        ("connectTimeout: -1s", "InvalidValue", "connectTimeout", 1),
        ("connectTimeout: 0s", "InvalidValue", "connectTimeout", 1),
        ("connectTimeout: 100us", "InvalidValue", "connectTimeout", 1),
        ("connectTimeout: 61m", "InvalidValue", "connectTimeout", 1),
        ("protocolDetectionTimeout: -1s", "InvalidValue", "protocolDetectionTimeout", 1),
        ("protocolDetectionTimeout: 1ns", "InvalidValue", "protocolDetectionTimeout", 1),
        ("rootNamespace: Istio_System", "InvalidValue", "rootNamespace", 1),
        ("tlsDefaults: {ecdhCurves: [x]}", "InvalidValue", "tlsDefaults.ecdhCurves[0]", 1),
        ("defaultDestinationRuleExportTo: [shop]", "InvalidValue", "defaultDestinationRuleExportTo", 1),
        ("defaultConfig: {drainDuration: 0s}", "InvalidValue", "defaultConfig.drainDuration", 1),
        ("defaultConfig: {drainDuration: 1500ms}", "InvalidValue", "defaultConfig.drainDuration", 1),
        ("defaultConfig: {terminationDrainDuration: -1s}", "InvalidValue", "defaultConfig.terminationDrainDuration", 1),
        ("defaultConfig: {discoveryAddress: istiod}", "InvalidValue", "defaultConfig.discoveryAddress", 1),
        ("accessLogFile: stdout", "InvalidValue", "accessLogFile", 1),
        ("accessLogEncoding: XML", "InvalidValue", "accessLogEncoding", 1),
        ('accessLogFormat: "%STATUS%"', "InvalidValue", "accessLogFormat", 1),
        ("accessLogEncoding: JSON\naccessLogFormat: text", "InvalidValue", "accessLogFormat", 2),
        ("accessLogEncoding: JSON\naccessLogFormat: '[1]'", "InvalidValue", "accessLogFormat", 2),
        ('accessLogEncoding: JSON\naccessLogFormat: \'{"a": {"b": "%X%"}}\'', "InvalidValue", "accessLogFormat", 2),
        (
            "discoverySelectors:\n- matchExpressions: [{key: a, operator: In}]",
            "MissingField",
            "discoverySelectors[0].matchExpressions[0].values",
            2,
        ),
        (
            "discoverySelectors:\n- matchExpressions: [{key: a, operator: Exists, values: [b]}]",
            "InvalidValue",
            "discoverySelectors[0].matchExpressions[0].values",
            2,
        ),
        (
            'defaultConfig: {proxyHeaders: {server: {value: "a\\nb"}}}',
            "InvalidValue",
            "defaultConfig.proxyHeaders.server.value",
            1,
        ),
        (
            "defaultConfig: {proxyStatsMatcher: {inclusionRegexps: ['[']}}",
            "InvalidValue",
            "defaultConfig.proxyStatsMatcher.inclusionRegexps[0]",
            1,
        ),
        ("defaultTrafficPolicy: {connectionPool: {}}", "InvalidValue", "defaultTrafficPolicy.connectionPool", 1),
        (
            "defaultTrafficPolicy: {outlierDetection: {interval: 0s}}",
            "InvalidValue",
            "defaultTrafficPolicy.outlierDetection.interval",
            1,
        ),
        (
            "defaultInboundHttpRetryPolicy: {attempts: 1, retryOn: never}",
            "InvalidValue",
            "defaultInboundHttpRetryPolicy.retryOn",
            1,
        ),
        ("kind: ConfigMap\ndata:\n  mesh: 3", "WrongType", "data.mesh", 3),
        ("kind: IstioOperator\nspec:\n  meshConfig: {a: 1}", "UnknownField", "spec.meshConfig.a", 3),
        ("- a", "WrongType", "", 1),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_used(text: str, reason: str, field: str, line: int) -> None:
    config, problems = load_mesh_config(text, "mesh.yaml")
    assert config is None
    assert [(p.reason, p.field, p.source) for p in problems] == [(reason, field, Source("mesh.yaml", line))]


@pytest.mark.parametrize(
    "text",
    [
        "connectTimeout: 1h\nprotocolDetectionTimeout: 0s",
        "defaultConfig: {drainDuration: 1m, terminationDrainDuration: 1500ms, discoveryAddress: 'istiod.x.svc:15012'}",
        "defaultConfig: {discoveryAddress: '[::1]:15012'}",
        'accessLogEncoding: JSON\naccessLogFormat: \'{"a": ["%PROTOCOL%", 1, true, null]}\'',
        "accessLogEncoding: JSON",
    ],
)
def test_what_istio_takes_is_taken(text: str) -> None:
    assert load_mesh_config(text, "mesh.yaml")[1] == ()


def test_unsupported_settings_are_warnings() -> None:
    text = "enableTracing: true\nextensionProviders: [{name: otel, opentelemetry: {port: 1}}]\n"
    text += "accessLogFile: /dev/stdout"
    config, problems = load_mesh_config(text, "-")
    assert config == MeshConfig(access_log_file="/dev/stdout", extension_providers=(ExtensionProvider(name="otel"),))
    found = [(p.severity, p.field) for p in problems]
    assert found == [(Severity.WARNING, "enableTracing"), (Severity.WARNING, "extensionProviders[0].opentelemetry")]


def test_a_provider_that_can_not_be_used_takes_nothing_with_it() -> None:
    text = """
        extensionProviders:
        - {name: a, envoyExtAuthzGrpc: {service: a/b/c, port: 0, statusOnError: "999"}}
        - {name: b, envoyExtAuthzHttp: {service: b, port: 1, pathPrefix: check, includeRequestBodyInCheck: {}}}
        - {name: c, envoyExtAuthzHttp: {service: c, port: 1}, envoyExtAuthzGrpc: {service: c, port: 1, timeout: 0s}}
        - {name: b, envoyExtAuthzGrpc: {service: b, port: 1}}
        - {}
    """
    config, problems = load_mesh_config(text, "-")
    assert config is not None
    assert {p.reason for p in problems} == {"UnusableProvider"}
    fields = [p.field.removeprefix("extensionProviders") for p in problems]
    assert fields == [
        "[0].envoyExtAuthzGrpc.service",
        "[0].envoyExtAuthzGrpc.port",
        "[0].envoyExtAuthzGrpc.statusOnError",
        "[1].name",
        "[1].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes",
        "[1].envoyExtAuthzHttp.pathPrefix",
        "[2]",
        "[2].envoyExtAuthzGrpc.timeout",
        "[3].name",
        "[4].name",
    ]


def test_what_is_so_anyway_is_no_problem() -> None:
    text = "enableAutoMtls: true\nenablePrometheusMerge: true\n"
    text += "serviceSettings: [{settings: {clusterLocal: true}, hosts: [a]}]\nverifyCertificateAtClient: true"
    assert load_mesh_config(text, "-") == (MeshConfig(), ())


def test_connection_settings_that_envoy_would_refuse() -> None:
    settings = (
        "httpIdleTimeout: 1us, httpRequestTimeout: 0s, httpMaxConcurrentStreams: 0, "
        "http2InitialStreamWindowSize: 65534, listenerPerConnectionBufferLimitBytes: -1, "
        "clusterPerConnectionBufferLimitBytes: 0, "
        "globalDownstreamConnectionLimit: 0"
    )
    config, problems = load_mesh_config(f"defaultConfig: {{connectionSettings: {{{settings}}}}}", "-")
    assert config is None
    assert {(p.reason, p.field.removeprefix("defaultConfig.connectionSettings.")) for p in problems} == {
        ("InvalidValue", "httpIdleTimeout"),
        ("InvalidValue", "httpMaxConcurrentStreams"),
        ("InvalidValue", "http2InitialStreamWindowSize"),
        ("InvalidValue", "listenerPerConnectionBufferLimitBytes"),
        ("InvalidValue", "globalDownstreamConnectionLimit"),
    }


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("globalDownstreamConnectionLimit: 7", False),
        ("httpIdleTimeout: 5s, globalDownstreamConnectionLimit: 7", False),
        ("httpIdleTimeout: 6s", True),
    ],
)
def test_a_pod_has_no_connection_settings_of_its_own_but_one(written: str, said: bool) -> None:
    base = ProxyConfig(connection_settings=ConnectionSettings(http_idle_timeout=Duration(5 * 10**9)))
    _, problems = proxy_config(f"connectionSettings: {{{written}}}", base, POD, SOURCE)
    assert [p.reason for p in problems] == ["UnusedField"] * said


def test_a_visibility_without_effect_is_a_problem() -> None:
    text = "serviceEntryVisibility: {defaultVisibility: NONE, policies: [{matchingRules: [{}]}]}"
    _, problems = load_mesh_config(text, "-")
    assert [(p.reason, p.field) for p in problems] == [
        ("UnusedField", "serviceEntryVisibility"),
        ("UnusedField", "serviceEntryVisibility.policies[0].matchingRules[0]"),
    ]


def test_an_annotation_is_laid_over_the_default() -> None:
    base = ProxyConfig(concurrency=2, drain_duration=Duration(10**9), proxy_metadata={"A": "1", "B": "1"})
    config, problems = proxy_config("concurrency: 0\nproxyMetadata: {B: '2'}", base, POD, SOURCE)
    assert problems == ()
    assert config == ProxyConfig(concurrency=0, drain_duration=Duration(10**9), proxy_metadata={"A": "1", "B": "2"})


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_an_empty_annotation_changes_nothing(text: str) -> None:
    base = ProxyConfig(concurrency=2)
    assert proxy_config(text, base, POD, SOURCE) == (base, ())


@pytest.mark.parametrize("text", ["a: [", "concurency: 1", "concurrency: x", "- 1", "statusPort: 0", "text"])
def test_a_wrong_annotation_leaves_the_base_and_names_the_pod(text: str) -> None:
    base = ProxyConfig(concurrency=2)
    config, problems = proxy_config(text, base, POD, SOURCE)
    assert config == base
    assert [(p.ref, p.source, p.severity) for p in problems] == [(POD, SOURCE, Severity.ERROR)]
    assert problems[0].field.startswith("metadata.annotations[proxy.istio.io/config]")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("proxyAdminPort: 15001", "proxyAdminPort"),
        ("proxyAdminPort: 15053", "proxyAdminPort"),
        ("statusPort: 15006", "statusPort"),
        ("statusPort: 15090", "statusPort"),
        ("statusPort: 15021", "statusPort"),
        # Taken by the other one, which the mesh or the default has put there.
        ("proxyAdminPort: 16020", "proxyAdminPort"),
        ("statusPort: 15000", "statusPort"),
        ("{statusPort: 9000, proxyAdminPort: 9000}", "statusPort"),
    ],
)
def test_a_port_that_the_sidecar_has_for_something_else(text: str, field: str) -> None:
    base = ProxyConfig(status_port=16020)
    config, (problem,) = proxy_config(text, base, POD, SOURCE)
    assert config == base
    assert problem.field == f"metadata.annotations[proxy.istio.io/config].{field}"


def test_two_ports_may_change_places() -> None:
    config, problems = proxy_config("{statusPort: 15000, proxyAdminPort: 15020}", ProxyConfig(), POD, SOURCE)
    assert problems == ()
    assert (config.status_port, config.proxy_admin_port) == (15000, 15020)


def test_the_mesh_s_own_ports_are_looked_at_too() -> None:
    config, (problem,) = load_mesh_config("defaultConfig: {proxyAdminPort: 15020}", "mesh.yaml")
    assert config is None
    assert problem.field == "defaultConfig.statusPort"


def _said(text: str) -> list[tuple[str, str, str]]:
    return [(str(p.severity), p.reason, p.field) for p in load(text, "mesh.yaml").problems]


def test_an_operator_may_have_it_among_its_values() -> None:
    text = OPERATOR.replace("spec:\n  meshConfig", "spec:\n  values:\n   meshConfig")
    assert load_mesh_config(text, "mesh.yaml") == load_mesh_config(OPERATOR, "mesh.yaml")
    loaded = load(text, "mesh.yaml")
    assert loaded.problems == ()
    assert loaded.mesh_config is not None
    assert loaded.mesh_config.config.access_log_file == "/dev/stdout"
    both = OPERATOR + "  values: {meshConfig: {a: b}}\n"
    assert _said(both) == [("warning", "Ignored", "spec.values.meshConfig")]


def test_one_in_a_place_where_nobody_reads_it_is_said() -> None:
    named = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\ndata: {%s: 'connectTimeout: 1s'}"
    assert _said(named % ("istio", "istio-system", "mesh")) == []
    assert _said(named % ("istio", "istio-system", "meshConfig")) == [("warning", "Ignored", "data")]
    assert _said(named % ("istio", "default", "mesh")) == [("warning", "Ignored", "data.mesh")]
    assert _said(named % ("istio-canary", "istio-system", "mesh")) == [("warning", "Ignored", "data.mesh")]
    assert _said(named % ("app", "default", "mesh")) == []
    operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {meshconfig: {}, profile: demo}"
    assert _said(operator) == [
        ("warning", "UnknownField", "spec.meshconfig"),
        ("info", "UnsupportedField", "spec.profile"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        "proxyListenPort: 15002",
        "proxyInboundListenPort: 15007",
        "enableEnvoyAccessLogService: true",
        "enableTracing: true",
        "extensionProviders: [{name: a, zipkin: {service: b, port: 1}}]",
        *(
            f"defaultConfig: {{{field}}}"
            for field in (
                "connectionSettings: {listenerConnectionLimit: 1}",
                "customConfigFile: /a",
                "tracing: {sampling: 1}",
            )
        ),
    ],
)
def test_what_is_asked_for_and_lacks_is_said(written: str) -> None:
    config, problems = load_mesh_config(written, "mesh.yaml")
    assert config is not None
    assert [(p.reason, str(p.severity)) for p in problems] == [("UnsupportedField", "warning")]


@pytest.mark.parametrize(
    "written",
    ["proxyListenPort: 15001", "proxyInboundListenPort: 15006", "proxyHttpPort: 0"],
)
def test_what_happens_anyway_needs_no_word(written: str) -> None:
    assert load_mesh_config(written, "mesh.yaml")[1] == ()


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("tcpKeepalive: {time: 1ms}", "tcpKeepalive.time"),
        ("tcpKeepalive: {probes: 200}", "tcpKeepalive.probes"),
        ("dnsRefreshRate: 0s", "dnsRefreshRate"),
        ("dnsRefreshRate: 1ms", "dnsRefreshRate"),
        ("defaultHttpRetryPolicy: {attempts: -1}", "defaultHttpRetryPolicy.attempts"),
        ("h2UpgradePolicy: YES", "h2UpgradePolicy"),
        ("localityLbSetting: {distribute: [{from: a, to: {a: 99}}]}", "localityLbSetting.distribute[0].to"),
        ("proxyHttpPort: 15001", "proxyHttpPort"),
        ("proxyHttpPort: 70000", "proxyHttpPort"),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: MUTUAL, privateKey: /k}}",
            "outboundTrafficPolicy.tls.clientCertificate",
        ),
    ],
)
def test_connections_of_the_mesh_are_bounded(written: str, field: str) -> None:
    config, problems = load_mesh_config(written, "mesh.yaml")
    assert config is None
    assert [problem.field for problem in problems] == [field]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ("{mode: ALLOW_ANY, tls: {mode: SIMPLE}}", "tls"),
        ("{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, credentialName: a}}", "tls.credentialName"),
        ("{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: ISTIO_MUTUAL}}", "tls.mode"),
    ],
)
def test_tls_for_those_whom_nobody_has_is_for_one_policy_and_of_files(policy: str, field: str) -> None:
    config, (problem,) = load_mesh_config(f"outboundTrafficPolicy: {policy}", "mesh.yaml")
    assert config is not None
    assert (problem.reason, problem.field) == ("UnusedField", f"outboundTrafficPolicy.{field}")
