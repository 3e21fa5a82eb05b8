"""A small shared world: what fields hold, by their names, so that objects often speak of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final = ("a", "b", "c", "v1", "v2", "http", "tls-a")
NAMESPACES: Final = ("vm", "shop", "istio-system")
HOSTS: Final = (
    "a", "b", "c", "a.vm.svc.cluster.local", "b.shop.svc.cluster.local", "A.vm.svc.cluster.local.", "www.example.com",
    "api.example.com", "*.example.com", "*", "10.96.0.1",
)  # fmt: skip
PORTS: Final = (80, 81, 443, 8080, 9000, 15443)
ADDRESSES: Final = ("10.244.0.10", "10.244.0.11", "10.96.0.1", "10.96.0.2", "fd00::1", "db.example.com")
SUBNETS: Final = ("10.96.0.1", "10.96.0.0/16", "10.0.0.0/8", "fd00::/64", "240.240.0.1")
CERTIFICATE, KEY, AUTHORITY = "/pilotfish/cert.pem", "/pilotfish/key.pem", "/pilotfish/ca.pem"
"""Files that are not there: who needs them does without."""

NUMBERS: Final = (0, 1, 2, 3, 10, 50, 80, 100, 101, 127, 200, 301, 404, 503, 1000, 8080, 65535, 2**31 - 1, 2**32)
DECIMALS: Final = (0.0, 0.1, 0.5, 1.0, 25.5, 50.0, 99.9, 100.0)
DURATIONS: Final = ("1s", "0.5s", "10s", "100ms", "1h", "0s", "1m30s", "1ms")
TEXTS: Final = (
    "a", "b", "v1", "/", "/a", "/api/v1", "x-a", "content-type", "GET", "80", "true", "*", "", "å→🐟", "a b", "100%",
    "%REQ(x-a)%", "a.vm.svc.cluster.local", "http", "https", "region/zone/sub", "region", "kubernetes.io/hostname",
)  # fmt: skip

STRANGE_TEXTS: Final = (
    "80", "1s", "*", "None", "0.0.0.0/0", "::1", "25%", "a" * 300, "\0", "(", "%", "\u202e", "é" * 70, "😀.example.com",
    "-1s", "9" * 40 + "s", "unix://", "../..", "a/b/c/d", "*.*.com", "65536", "1e400", "0x10", "\r\nx: y", "{{ .X }}",
    ":path", "%%", "%START_TIME%", "a,b", "A", "a.", ".a", "a..b", "a:80", "[::1]:80", "spiffe://", "x" * 2000, "\\1",
    "\t", "Host", "connection", "te", "a;b", "a=b", "http://a", "//", "/a?b=c", "/a#b", "/å", "*a", "a*", "**", "\x7f",
    "127.0.0.1",
)  # fmt: skip
STRANGE_NUMBERS: Final = (
    -1, 65536, 15001, 15006, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**30, 1e308, 5e-324, -0.0,
)  # fmt: skip

LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "app": ("a", "b", "c"),
    "version": ("v1", "v2"),
    "istio": ("ingressgateway", "egressgateway"),
    "istio-injection": ("enabled", "disabled", "true"),
    "topology.istio.io/network": ("n1",),
    "topology.kubernetes.io/region": ("region", "other"),
    "istio-locality": ("region.zone.sub",),
}
ANNOTATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "sidecar.istio.io/inject": ("false", "true"),
    "sidecar.istio.io/interceptionMode": ("REDIRECT", "TPROXY", "NONE"),
    "sidecar.istio.io/componentLogLevel": ("rbac:debug", "a:b"),
    "sidecar.istio.io/userVolume": ('[{"name": "a", "secret": {"secretName": "a"}}]', "{", "[1]", '{"a": {}}'),
    "sidecar.istio.io/userVolumeMount": ('{"a": {"mountPath": "/a"}}', "null"),
    "traffic.sidecar.istio.io/includeInboundPorts": ("*", "", "80,8080"),
    "traffic.sidecar.istio.io/excludeOutboundPorts": ("443", "80,x"),
    "traffic.sidecar.istio.io/includeOutboundIPRanges": ("*", "10.96.0.0/16"),
    "istio.io/dry-run": ("true", "false"),
    "networking.istio.io/exportTo": (".", "*", "vm,shop", "~"),
    "networking.istio.io/traffic-distribution": ("PreferClose",),
    "proxy.istio.io/config": ("concurrency: 2", "{interceptionMode: TPROXY}", "statusPort: 15006", "tracing: {}"),
    "proxy.istio.io/health-checks-enabled": ("true",),
}
KEYS: Final = ("a", "x-a", "content-type", "http", "user", "v1", ":authority", "X-Upper")
"""Of maps that are not labels."""

_PORT_NAMES = ("http", "http-a", "tcp", "tcp-b", "grpc", "tls", "https", "mongo", "http2", "a")
_PROTOCOLS = ("HTTP", "HTTPS", "HTTP2", "GRPC", "TCP", "TLS", "MONGO", "http", "UDP")
_REGEXES = (".*", "/a/.*", "[a-z]+", "(a|b)", "a", "^/(.*)$")
_LOCALITIES = ("region/zone/sub", "region/zone", "region", "other/zone/*", "*")
_PRINCIPALS = ("cluster.local/ns/vm/sa/a", "*", "old.td/ns/vm/sa/b", "*/sa/a", "cluster.local/ns/shop/*")
_REQUEST_PRINCIPALS = ("*", "https://a.example.com/*", "https://a.example.com/me", "me")
_ACCOUNTS = ("a", "vm/a", "shop/b")
_TRUST_DOMAINS = ("cluster.local", "*", "*.local", "old.*")
_METHODS = ("GET", "POST", "*", "P*")
_PATHS = ("/", "/a", "/a/*", "*/b", "*", "/a/{*}/b", "/{**}")
_KEYS_OF_CONDITIONS = (
    "request.headers[x-a]", "request.headers[:authority]", "source.ip", "remote.ip", "destination.ip",
    "source.namespace",
    "destination.port", "source.principal", "source.serviceAccount", "source.trustDomain", "request.auth.principal",
    "request.auth.audiences", "request.auth.presenter", "request.auth.claims[a][b]", "connection.sni",
    "experimental.envoy.filters.network.a[b]",
)  # fmt: skip
_JWKS = (
    '{"keys": []}',
    '{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "N6V_oNppP7QBufntAeDzvpDSLTL5YkxlfSZrh9UDVs0", '
    '"y": "LSgbOoXDR9sR5Q9sY-agL80o8IBXGWeM2FSa8-GpA4M"}]}',
    '{"keys": [{"kty": "RSA", "kid": "b", "n": "abc", "e": "def"}]}',
)
_TEXTS_BY_FIELD: Mapping[str, tuple[str, ...]] = {
    "schedule": ("*/5 * * * *", "@hourly", "0 9 * * MON-FRI", "0 0 31 2 *", "* * * *"),
    "timeZone": ("", "Europe/Berlin", "Mars/Base"),
    "principals": _PRINCIPALS,
    "notPrincipals": _PRINCIPALS,
    "requestPrincipals": _REQUEST_PRINCIPALS,
    "notRequestPrincipals": _REQUEST_PRINCIPALS,
    "namespaces": (*NAMESPACES, "v*", "*"),
    "notNamespaces": (*NAMESPACES, "v*", "*"),
    "serviceAccounts": _ACCOUNTS,
    "notServiceAccounts": _ACCOUNTS,
    "trustDomains": _TRUST_DOMAINS,
    "notTrustDomains": _TRUST_DOMAINS,
    "ipBlocks": SUBNETS,
    "notIpBlocks": SUBNETS,
    "remoteIpBlocks": SUBNETS,
    "notRemoteIpBlocks": SUBNETS,
    "methods": _METHODS,
    "notMethods": _METHODS,
    "paths": _PATHS,
    "notPaths": _PATHS,
    "notHosts": HOSTS,
    "ports": ("80", "8080", "0"),
    "notPorts": ("80", "8080"),
    "key": _KEYS_OF_CONDITIONS,
    "values": ("10.0.0.0/8", "80", "a", "*", "vm/a"),
    "notValues": ("10.0.0.1", "8080", "b*"),
    "issuer": ("https://a.example.com", "b"),
    "jwks": _JWKS,
    "jwksUri": ("https://a.example.com/keys", "http://a.vm/keys"),
    "header": ("x-a", "x-payload"),
    "outputPayloadToHeader": ("x-payload",),
    "fromCookies": ("a",),
    "fromParams": ("t",),
    "kind": ("Gateway", "Service"),
    "group": ("gateway.networking.k8s.io", ""),
    "service": ("a.vm.svc.cluster.local", "shop/b.shop.svc.cluster.local", "www.example.com"),
    "pathPrefix": ("/check", ""),
    "statusOnError": ("403", "503", ""),
    "trustDomain": ("cluster.local", "new.td"),
    "trustDomainAliases": ("old.td",),
    "name": NAMES,
    "namespace": NAMESPACES,
    "sourceNamespace": NAMESPACES,
    "creationTimestamp": ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z"),
    "host": HOSTS,
    "hosts": (*HOSTS, "vm/a", "*/a.vm.svc.cluster.local", "./*", "*/*", "~/*", "shop/*.example.com", "vm/*"),
    "sniHosts": HOSTS,
    "authority": HOSTS,
    "sni": ("www.example.com", "a"),
    "subjectAltNames": ("www.example.com", "spiffe://cluster.local/ns/vm/sa/a"),
    "externalName": HOSTS,
    "targetHost": ("www.example.com", "10.96.0.1"),
    "subset": ("v1", "v2", ""),
    "exportTo": (".", "*", "vm", "shop", "~"),
    "gateways": ("mesh", "a", "vm/a", "shop/b", "b.vm"),
    "gateway": ("a", "vm/a"),
    "address": ADDRESSES,
    "addresses": (*ADDRESSES, *SUBNETS),
    "ip": ADDRESSES,
    "podIP": ADDRESSES,
    "hostIP": ADDRESSES,
    "clusterIP": ("", "None", "10.96.0.1", "10.96.0.2"),
    "clusterIPs": ("10.96.0.1",),
    "externalIPs": ("10.20.0.1",),
    "destinationSubnets": SUBNETS,
    "bind": ("0.0.0.0", "127.0.0.1", "10.96.0.1", "unix://@a", ""),
    "defaultEndpoint": ("127.0.0.1:8080", "0.0.0.0:9000", "unix:///tmp/b.sock"),
    "protocol": _PROTOCOLS,
    "appProtocol": ("http", "tcp", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws", "redis", ""),
    "regex": _REGEXES,
    "match": _REGEXES,
    "prefix": ("/", "/a", "a", "v"),
    "uri": ("/", "/new"),
    "scheme": ("http", "https"),
    "method": ("GET", "POST"),
    "retryOn": ("5xx", "reset,connect-failure", "retriable-status-codes,503", "unavailable", "gateway-error,404"),
    "grpcStatus": ("UNAVAILABLE", "INTERNAL", "OK"),
    "allowMethods": ("GET", "POST", "*"),
    "locality": _LOCALITIES,
    "from": _LOCALITIES,
    "failoverPriority": ("topology.kubernetes.io/region", "version=v1", "app"),
    "credentialName": ("a", "b", "kubernetes://a"),
    "credentialNames": ("a", "b"),
    "clientCertificate": (CERTIFICATE,),
    "serverCertificate": (CERTIFICATE,),
    "privateKey": (KEY,),
    "caCertificates": (AUTHORITY, "system"),
    "caCrl": ("", "/pilotfish/crl.pem"),
    "cipherSuites": ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"),
    "ecdhCurves": ("P-256", "X25519"),
    "alpnProtocols": ("h2", "http/1.1"),
    "verifyCertificateSpki": ("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=",),
    "verifyCertificateHash": ("df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a",),
    "accessLogFile": ("/dev/stdout", ""),
    "command": ("sh", "-c", "true"),
    "mountPath": ("/data", "/etc/a"),
    "rootNamespace": NAMESPACES,
    "defaultDestinationRuleExportTo": (".", "*"),
    "proxyMetadata": ("1", "true"),
    "type": ("Opaque", "kubernetes.io/tls", "Ready", "Healthy", "Directory"),
    "image": ("a:1", "auto"),
}
_IN_PORTS: Final = frozenset({"ports", "port"})


def texts(field: str, parent: str) -> tuple[str, ...]:
    """What a text may say in a field of an object in the field `parent`."""
    if field == "name" and parent in _IN_PORTS:
        return _PORT_NAMES
    return _TEXTS_BY_FIELD.get(field, TEXTS)


def numbers(field: str, parent: str) -> tuple[int, ...]:
    in_ports = parent in _IN_PORTS or parent == "ports"
    return PORTS if field.lower().endswith("port") or (field == "number" and in_ports) or field == "ports" else NUMBERS


def keys(field: str) -> tuple[str, ...]:
    if field in ("labels", "matchLabels", "selector", "sourceLabels"):
        return tuple(LABELS)
    return _PORT_NAMES if field == "ports" else _LOCALITIES if field == "to" else KEYS
