"""What users know by number or by name, each once. They are Istio's, so that what people know keeps working.

Where a pod may choose its own (admin port, status port), this is the default, and the pod's ProxyConfig has what holds.

Source: https://istio.io/latest/docs/ops/deployment/application-requirements/ (ports, users),
https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ (ProxyConfig, rootNamespace), and the rules that
`istio-iptables` writes (marks, route table).
"""

from __future__ import annotations

from typing import Final

# --- ports: the table in the design's "Names and numbers that users know"
ADMIN_PORT: Final = 15000
"""Envoy's admin, on its pod's loopback alone."""
OUTBOUND_PORT: Final = 15001
"""Envoy: captured outbound TCP."""
INBOUND_PORT: Final = 15006
"""Envoy: captured inbound TCP."""
TUNNEL_PORT: Final = 15008
"""The mesh's own tunnel (HBONE), which is never captured."""
XDS_PORT: Final = 15010
"""Discovery: xDS in plaintext."""
SECURE_XDS_PORT: Final = 15012
"""Discovery: xDS and the certificate authority, over TLS with the mesh's own certificate."""
WEBHOOK_PORT: Final = 15017
"""Discovery over HTTPS: what an API server asks before it stores a pod, or an object of Istio's kinds."""
MONITORING_PORT: Final = 15014
"""Discovery over HTTP: metrics, readiness, and what people and agents ask it."""
STATUS_PORT: Final = 15020
"""The agent: readiness, merged metrics, the app's probes."""
HEALTH_PORT: Final = 15021
"""Envoy: readiness for load balancers."""
DNS_PROXY_PORT: Final = 15053
"""The agent: captured DNS, on its pod's loopback."""
PROXY_DNS_PORT: Final = 15054
"""The agent: DNS for its Envoy, which is to find the addresses that the mesh's own names for hosts lead to."""
CNI_PORT: Final = 15022
"""The node's plugin: readiness, on the node's loopback."""
PROMETHEUS_PORT: Final = 15090
"""Envoy: its own metrics."""
PROXY_PORTS: Final = (OUTBOUND_PORT, INBOUND_PORT, HEALTH_PORT, PROMETHEUS_PORT)
"""Where Envoy listens on every address of its pod, so that no app can."""

# --- names
MACHINE_NAME: Final = "host.pilotfish.internal"
"""The machine that the mesh runs on, for its pods."""

# --- users
PROXY_UID: Final = 1337
"""Envoy's user: the capture rules let its traffic pass."""
PROXY_GID: Final = 1337
TRANSPARENT_PROXY_UID: Final = 1338
"""Envoy's user where it keeps its clients' addresses (TPROXY); its group is the same. The rules send what the sidecar's
*user* sends to its own pod to the inbound listener. To its app it would so never come, as no rule knows its source. By
group alone it passes: Istio's Envoy is root then, for the same reason."""

# --- transparent capture (kernel, Documentation/networking/tproxy.rst)
TPROXY_MARK: Final = 1337
"""On what is for the proxy's inbound listener, and on what the proxy sends to its app in the client's name."""
TPROXY_OUTBOUND_MARK: Final = 1338
"""On what the proxy sends to its own pod: it is to be captured as if it came from outside."""
TPROXY_ROUTE_TABLE: Final = 133

# --- bounds
LARGEST_REGEX_PROGRAM: Final = 32768
"""Steps that RE2 may make of a regular expression for Envoy to take it, as Istio bounds it; Envoy by itself: 100."""

# --- addresses from which Envoy calls its app, which the rules let pass (InboundPassthroughBindIpv4 and -6 in Istio)
INBOUND_BIND_IPV4: Final = "127.0.0.6"
INBOUND_BIND_IPV6: Final = "::6"

# --- names
CLUSTER_DOMAIN: Final = "cluster.local"
SERVICE_DOMAIN: Final = f"svc.{CLUSTER_DOMAIN}"
"""What follows NAME.NAMESPACE in a Service's host."""
ROOT_NAMESPACE: Final = "istio-system"
"""Where the meshConfig is, and what holds for the whole mesh."""
DISCOVERY_NAME: Final = f"istiod.{ROOT_NAMESPACE}.svc"
"""What proxies of ours look for in discovery's certificate, whatever the root namespace is."""
DISCOVERY_ACCOUNT: Final = "istiod"
"""The service account of discovery, in the root namespace."""
MACHINE_ACCOUNT: Final = "pilotfish-node"
"""The service account of a machine's proxy, in the root namespace."""
PROXY_CONTAINER: Final = "istio-proxy"
"""The sidecar, as `logs -c` knows it."""

MESH_CONFIG_MAP: Final = "istio"
"""In the root namespace: the meshConfig, and what an installation says of its proxies. A revision has its own."""
CLUSTER_NAME: Final = "Kubernetes"
"""What a cluster is called that nobody has named."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""The label with whoever made an object."""
PILOTFISH: Final = "pilotfish"
"""What it says on ours."""
MONITORING_PORT_NAME: Final = "http-monitoring"
"""Of discovery's Service."""
SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"
"""The label of an EndpointSlice with its Service."""
ROOT_CONFIG_MAP: Final = "istio-ca-root-cert"
"""In each namespace: whom to trust that it is the authority."""
INIT_CONTAINER: Final = "istio-init"
"""Sets capture up, in a pod of a cluster."""
VALIDATION_CONTAINER: Final = "istio-validation"
"""Looks whether the node has set it up."""
SIDECAR_STATUS: Final = "sidecar.istio.io/status"
"""The annotation with what injection has added to a pod."""

DRAINING: Final = "pilotfish.io/Draining"
"""The condition of a pod whose inbound listener its machine's proxy is to drain."""
SOURCE_ANNOTATION: Final = "pilotfish.io/source"
"""`FILE:LINE`, where a mesh was given an object."""

# --- files
IDENTITY_SOCKET: Final = "/var/run/secrets/workload-spiffe-uds/socket"
"""In a pod: another's SDS, such as SPIRE's, which its proxy uses."""
IDENTITY_FILES: Final = (
    (
        "/var/run/secrets/workload-spiffe-credentials",
        ("certificates.pem", "private_key.pem", "ca_certificates.pem"),
    ),
    ("/etc/certs", ("cert-chain.pem", "key.pem", "root-cert.pem")),
)
"""Directories in a pod with its certificate as files: the chain, the key, whom to trust.
Source: https://github.com/istio/istio/blob/1.27.0/pkg/security/security.go"""
IDENTITY_PLACES: Final = frozenset(
    {IDENTITY_SOCKET.rpartition("/")[0], *(directory for directory, _ in IDENTITY_FILES)}
)
"""Directories where a pod has what another than the mesh gives it."""
PROXY_DIRECTORY: Final = "/etc/istio/proxy"
"""Where a proxy's agent writes."""
PODINFO_DIRECTORY: Final = "/etc/istio/pod"
"""Of a cluster's pod: the files `labels` and `annotations`."""
TOKEN_FILE: Final = "/var/run/secrets/tokens/istio-token"
"""A pod's token for the certificate authority."""
AUTHORITY_ROOTS: Final = "/var/run/secrets/istio/root-cert.pem"
"""Whom to trust that it is the authority."""
FILES_SOCKET: Final = "@pilotfish/files"
"""The agent, in its pod: an abstract socket (unix(7)) at which Envoy, and nobody else, is told what stands in the files
of certificates and keys."""
SYSTEM_CA_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Whom the machine trusts: where Debian has it, and others as well."""


def discovery_names(root_namespace: str, service: str = DISCOVERY_ACCOUNT) -> tuple[str, ...]:
    """What discovery's certificate says that it is called. `service`: a revision has its own."""
    names = (f"{name}.{root_namespace}" for name in ("istiod", service, "istiod-remote", "istio-pilot"))
    found = (f"{name}.{rest}" for name in names for rest in ("svc", SERVICE_DOMAIN))
    return tuple(dict.fromkeys((DISCOVERY_NAME, *found)))


def namespace_domain(namespace: str) -> str:
    """`vm.svc.cluster.local`: where a pod of `namespace` looks for names without dots."""
    return f"{namespace}.{SERVICE_DOMAIN}"
