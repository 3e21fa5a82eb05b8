"""The kinds of objects: one row each. Whatever differs from kind to kind is asked of its row.

    apiVersion, kind ─kind_written─▶ Kind ─ref─▶ ObjectRef

A supported kind's fields stand in a struct that names its row (`config.kubernetes.Resource`), and what a schema can't
say of them in `config.checks`. Sources: https://kubernetes.io/docs/reference/kubernetes-api/,
https://istio.io/latest/docs/reference/config/ and https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from functools import cache
from typing import Final

from pilotfish.model.kind import Kind, WithoutEffect
from pilotfish.model.problem import Severity

_CORE: Final = ("", ("v1",))
_APPS: Final = ("apps", ("v1",))
_BATCH: Final = ("batch", ("v1",))
_RBAC: Final = ("rbac.authorization.k8s.io", ("v1",))
_STORAGE: Final = ("storage.k8s.io", ("v1",))
_ADMISSION: Final = ("admissionregistration.k8s.io", ("v1", "v1beta1"))
_K8S_NETWORKING: Final = ("networking.k8s.io", ("v1",))
_NETWORKING: Final = ("networking.istio.io", ("v1", "v1beta1", "v1alpha3"))
_SECURITY: Final = ("security.istio.io", ("v1", "v1beta1"))
_EXTENSIONS: Final = ("extensions.istio.io", ("v1alpha1",))
_GATEWAY_API: Final = ("gateway.networking.k8s.io", ("v1", "v1beta1"))
_GATEWAY_API_V1: Final = ("gateway.networking.k8s.io", ("v1",))

POD: Final = Kind("Pod", "pods", *_CORE, ("po",), discovery=True)
SERVICE: Final = Kind("Service", "services", *_CORE, ("svc",), discovery=True)
DEPLOYMENT: Final = Kind("Deployment", "deployments", *_APPS, ("deploy",))
REPLICA_SET: Final = Kind("ReplicaSet", "replicasets", *_APPS, ("rs",))
STATEFUL_SET: Final = Kind("StatefulSet", "statefulsets", *_APPS, ("sts",))
DAEMON_SET: Final = Kind("DaemonSet", "daemonsets", *_APPS, ("ds",))
JOB: Final = Kind("Job", "jobs", *_BATCH)
CRON_JOB: Final = Kind("CronJob", "cronjobs", *_BATCH, ("cj",))
VIRTUAL_SERVICE: Final = Kind("VirtualService", "virtualservices", *_NETWORKING, ("vs",), discovery=True)
DESTINATION_RULE: Final = Kind("DestinationRule", "destinationrules", *_NETWORKING, ("dr",), discovery=True)
SERVICE_ENTRY: Final = Kind("ServiceEntry", "serviceentries", *_NETWORKING, ("se",), discovery=True)
WORKLOAD_ENTRY: Final = Kind("WorkloadEntry", "workloadentries", *_NETWORKING, ("we",), discovery=True)
GATEWAY: Final = Kind("Gateway", "gateways", *_NETWORKING, ("gw",), discovery=True)
WORKLOAD_GROUP: Final = Kind("WorkloadGroup", "workloadgroups", *_NETWORKING, ("wg",), discovery=True)
SIDECAR: Final = Kind("Sidecar", "sidecars", *_NETWORKING, discovery=True)
PROXY_CONFIG: Final = Kind("ProxyConfig", "proxyconfigs", "networking.istio.io", ("v1beta1",), discovery=True)
PEER_AUTHENTICATION: Final = Kind("PeerAuthentication", "peerauthentications", *_SECURITY, ("pa",), discovery=True)
REQUEST_AUTHENTICATION: Final = Kind(
    "RequestAuthentication", "requestauthentications", *_SECURITY, ("ra",), discovery=True
)
AUTHORIZATION_POLICY: Final = Kind("AuthorizationPolicy", "authorizationpolicies", *_SECURITY, ("ap",), discovery=True)
NAMESPACE: Final = Kind("Namespace", "namespaces", *_CORE, ("ns",), namespaced=False, discovery=True)
CONFIG_MAP: Final = Kind("ConfigMap", "configmaps", *_CORE, ("cm",), discovery=True)
SECRET: Final = Kind("Secret", "secrets", *_CORE, discovery=True)
SERVICE_ACCOUNT: Final = Kind("ServiceAccount", "serviceaccounts", *_CORE, ("sa",))
PERSISTENT_VOLUME_CLAIM: Final = Kind("PersistentVolumeClaim", "persistentvolumeclaims", *_CORE, ("pvc",))
PERSISTENT_VOLUME: Final = Kind("PersistentVolume", "persistentvolumes", *_CORE, ("pv",), namespaced=False)
ENDPOINTS: Final = Kind("Endpoints", "endpoints", *_CORE, ("ep",), discovery=True)
ENDPOINT_SLICE: Final = Kind("EndpointSlice", "endpointslices", "discovery.k8s.io", ("v1",), discovery=True)
INGRESS: Final = Kind("Ingress", "ingresses", *_K8S_NETWORKING, ("ing",), discovery=True)
INGRESS_CLASS: Final = Kind("IngressClass", "ingressclasses", *_K8S_NETWORKING, namespaced=False, discovery=True)

SUPPORTED: Final = tuple(each for each in vars().values() if isinstance(each, Kind))
"""All of the above, in the order in which a user is told of them."""

SCALED: Final = (DEPLOYMENT, REPLICA_SET, STATEFUL_SET)
"""Those that have `replicas`."""
ROLLED: Final = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
"""Those of which a changed template replaces the pods, bit by bit."""
MAKE_PODS: Final = (DEPLOYMENT, REPLICA_SET, STATEFUL_SET, DAEMON_SET, JOB)
"""Those whose pods bear them as their owners."""


def _not_yet(consequence: str) -> WithoutEffect:
    return WithoutEffect(f"is not supported yet; it has no effect: {consequence}", Severity.ERROR)


def _harmless(reason: str) -> WithoutEffect:
    """It is no part of a mesh, and the mesh is what its author means it to be without it."""
    return WithoutEffect(f"has no effect: {reason}", Severity.INFO)


_NO_PLUGIN = _not_yet("no plugin is loaded")
_NO_GATEWAY_API = WithoutEffect(
    "of the Gateway API is not supported yet; it has no effect: use a VirtualService", Severity.ERROR
)
_NO_PODS = WithoutEffect("is not supported, so its pods do not run; use a ReplicaSet or a Deployment", Severity.ERROR)
_NO_API_SERVER = _harmless("there is no API server whose access it could govern")
_NO_LIMITS = _harmless("resources are not limited")
_NO_WEBHOOK = _harmless("there is no API server that would call it")
_NO_STORAGE = _harmless("every PersistentVolumeClaim is a directory of the mesh's state, or of the machine")
_NO_CONTROLLER = _harmless("it is for a cluster's own machinery, and a mesh on one machine has none of it")

# fmt: off
UNSUPPORTED: Final = (
    Kind("EnvoyFilter", "envoyfilters", "networking.istio.io", ("v1alpha3",),
         without_effect=_not_yet("Envoy's configuration is not patched")),
    Kind("Telemetry", "telemetries", "telemetry.istio.io", ("v1", "v1alpha1"), ("telemetry",),
         without_effect=_not_yet("access logs and metrics follow meshConfig alone")),
    Kind("WasmPlugin", "wasmplugins", *_EXTENSIONS, without_effect=_NO_PLUGIN),
    Kind("TrafficExtension", "trafficextensions", *_EXTENSIONS, without_effect=_NO_PLUGIN),

    Kind("GatewayClass", "gatewayclasses", *_GATEWAY_API, ("gc",), namespaced=False, without_effect=_NO_GATEWAY_API),
    Kind("Gateway", "gateways", *_GATEWAY_API, ("gtw",), without_effect=_NO_GATEWAY_API),
    Kind("ListenerSet", "listenersets", *_GATEWAY_API_V1, ("lset",), without_effect=_NO_GATEWAY_API),
    Kind("HTTPRoute", "httproutes", *_GATEWAY_API, without_effect=_NO_GATEWAY_API),
    Kind("GRPCRoute", "grpcroutes", *_GATEWAY_API_V1, without_effect=_NO_GATEWAY_API),
    Kind("TLSRoute", "tlsroutes", *_GATEWAY_API_V1, without_effect=_NO_GATEWAY_API),
    Kind("TCPRoute", "tcproutes", *_GATEWAY_API_V1, without_effect=_NO_GATEWAY_API),
    Kind("UDPRoute", "udproutes", *_GATEWAY_API_V1, without_effect=_NO_GATEWAY_API),
    Kind("ReferenceGrant", "referencegrants", *_GATEWAY_API, ("refgrant",), without_effect=_NO_GATEWAY_API),
    Kind("BackendTLSPolicy", "backendtlspolicies", *_GATEWAY_API_V1, ("btlspolicy",), without_effect=_NO_GATEWAY_API),

    Kind("ReplicationController", "replicationcontrollers", *_CORE, ("rc",), without_effect=_NO_PODS),

    Kind("Role", "roles", *_RBAC, without_effect=_NO_API_SERVER),
    Kind("ClusterRole", "clusterroles", *_RBAC, namespaced=False, without_effect=_NO_API_SERVER),
    Kind("RoleBinding", "rolebindings", *_RBAC, without_effect=_NO_API_SERVER),
    Kind("ClusterRoleBinding", "clusterrolebindings", *_RBAC, namespaced=False, without_effect=_NO_API_SERVER),
    Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", ("v2", "v1"), ("hpa",),
         without_effect=_harmless("the number of replicas stays as written; use `scale`")),
    Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy", ("v1",), ("pdb",),
         without_effect=_harmless("there are no evictions")),
    Kind("PodSecurityPolicy", "podsecuritypolicies", "policy", ("v1beta1",), ("psp",), namespaced=False,
         without_effect=_harmless("no pod is refused")),
    Kind("PriorityClass", "priorityclasses", "scheduling.k8s.io", ("v1",), ("pc",), namespaced=False,
         without_effect=_harmless("all pods run on one machine, and none is evicted")),
    Kind("LimitRange", "limitranges", *_CORE, ("limits",), without_effect=_NO_LIMITS),
    Kind("ResourceQuota", "resourcequotas", *_CORE, ("quota",), without_effect=_NO_LIMITS),
    Kind("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io", ("v1",), ("crd", "crds"),
         namespaced=False, without_effect=_harmless("objects of that kind have no effect")),
    Kind("StorageClass", "storageclasses", "storage.k8s.io", ("v1",), ("sc",), namespaced=False,
         without_effect=_NO_STORAGE),
    Kind("VolumeAttributesClass", "volumeattributesclasses", *_STORAGE, ("vac",), namespaced=False,
         without_effect=_NO_STORAGE),
    Kind("VolumeAttachment", "volumeattachments", *_STORAGE, namespaced=False, without_effect=_NO_STORAGE),
    Kind("CSIDriver", "csidrivers", *_STORAGE, namespaced=False, without_effect=_NO_STORAGE),
    Kind("CSINode", "csinodes", *_STORAGE, namespaced=False, without_effect=_NO_STORAGE),
    Kind("CSIStorageCapacity", "csistoragecapacities", *_STORAGE, without_effect=_NO_STORAGE),
    Kind("NetworkPolicy", "networkpolicies", *_K8S_NETWORKING, ("netpol",),
         without_effect=_harmless("every pod of the mesh may reach every other")),
    Kind("IPAddress", "ipaddresses", *_K8S_NETWORKING, ("ip",), namespaced=False, without_effect=_NO_CONTROLLER),
    Kind("ServiceCIDR", "servicecidrs", *_K8S_NETWORKING, namespaced=False, without_effect=_NO_CONTROLLER),
    Kind("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", *_ADMISSION, namespaced=False,
         without_effect=_NO_WEBHOOK),
    Kind("APIService", "apiservices", "apiregistration.k8s.io", ("v1",), namespaced=False,
         without_effect=_NO_API_SERVER),
    Kind("CertificateSigningRequest", "certificatesigningrequests", "certificates.k8s.io", ("v1",), ("csr",),
         namespaced=False, without_effect=_NO_API_SERVER),
    Kind("FlowSchema", "flowschemas", "flowcontrol.apiserver.k8s.io", ("v1",), namespaced=False,
         without_effect=_NO_API_SERVER),
    Kind("PriorityLevelConfiguration", "prioritylevelconfigurations", "flowcontrol.apiserver.k8s.io", ("v1",),
         namespaced=False, without_effect=_NO_API_SERVER),
    Kind("RuntimeClass", "runtimeclasses", "node.k8s.io", ("v1",), namespaced=False, without_effect=_NO_CONTROLLER),
    Kind("Lease", "leases", "coordination.k8s.io", ("v1",), without_effect=_NO_CONTROLLER),
    Kind("Event", "events", *_CORE, ("ev",), without_effect=_NO_CONTROLLER),
    Kind("Node", "nodes", *_CORE, ("no",), namespaced=False, without_effect=_NO_CONTROLLER),
    Kind("PodTemplate", "podtemplates", *_CORE, without_effect=_NO_CONTROLLER),
    Kind("ControllerRevision", "controllerrevisions", *_APPS, without_effect=_NO_CONTROLLER),
    Kind("Config", "configs", *_CORE, namespaced=False,
         without_effect=_harmless("it is a kubeconfig, which says how to reach a cluster")),
    Kind("Status", "statuses", *_CORE, namespaced=False,
         without_effect=_harmless("it is what an API server answered, not an object")),
)
# fmt: on

KINDS: Final = (*SUPPORTED, *UNSUPPORTED)

_BY_NAME: Final = {kind.name: kind for kind in reversed(KINDS)}
NODE, EVENT = (_BY_NAME[name] for name in ("Node", "Event"))
COMPUTED: Final = (REPLICA_SET, NODE, EVENT)
"""Of which a cluster has some that no manifest makes: the mesh shows them."""

_ROWS: Final = {(kind.name, kind.group): kind for kind in KINDS}
GROUPS: Final = frozenset({kind.group for kind in KINDS} | {"core", "extensions", "install.istio.io"})
"""A kind under another group of these is a slip; under any other group it is somebody else's kind."""


def kind_named(name: str, group: str) -> Kind:
    """The kind of an API group. One that the table lacks gets a value of its own, and the same one each time."""
    return _ROWS.get((name, group)) or _unknown(name, group)


def kind_written(name: str, api_version: str | None) -> Kind:
    """The kind that a manifest means, by whichever version, and by none: a slip there names the same object."""
    group = group_of(api_version or "")
    if (name, group) not in _ROWS and name in _BY_NAME and group in GROUPS:
        return _BY_NAME[name]
    return kind_named(name, group)


def group_of(api_version: str) -> str:
    """`networking.istio.io/v1` → `networking.istio.io`, `v1` → ""."""
    return api_version.rpartition("/")[0]


@cache
def _unknown(name: str, group: str) -> Kind:
    return Kind(name, group=group)
