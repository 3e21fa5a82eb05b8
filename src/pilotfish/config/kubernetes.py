"""The Kubernetes kinds that pilotfish uses, field by field as far as it uses them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import msgspec

from pilotfish.config.values import IntOrString, Quantity
from pilotfish.model import Kind, kinds
from pilotfish.model.struct import Frozen

EXPORT_TO: Final = "networking.istio.io/exportTo"
"""An annotation: the namespaces that see a Service, separated by commas."""
TRAFFIC_DISTRIBUTION: Final = "networking.istio.io/traffic-distribution"
"""An annotation of Services, ServiceEntries, and of namespaces for all of theirs: which endpoints are asked first."""


class Struct(Frozen, rename="camel", forbid_unknown_fields=True):
    """The base of every kind's struct, and of the structs inside of it."""


class OwnerReference(Struct):
    kind: str
    name: str
    api_version: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(Struct):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    """Of a Pod, or of a Namespace for its pods, `pilotfish.io/proxy` (`node`, `sidecar`) says whose Envoy takes its
    traffic, and `pilotfish.io/run` (`process`, `image`) what its containers run as."""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    owner_references: tuple[OwnerReference, ...] = ()


def export_to_of(metadata: Metadata) -> tuple[str, ...]:
    """What a Service's annotation says."""
    return tuple(filter(None, map(str.strip, metadata.annotations.get(EXPORT_TO, "").split(","))))


class Resource(Struct):
    """The base of every kind's struct: what one object is read into. `kind` is its row of the table."""

    kind: ClassVar[Kind]
    metadata: Metadata


class Namespace(Resource):
    kind = kinds.NAMESPACE


class LocalReference(Struct):
    """An object of the same namespace."""

    name: str = ""


class ServiceAccount(Resource):
    kind = kinds.SERVICE_ACCOUNT
    image_pull_secrets: tuple[LocalReference, ...] = ()
    """Those of its pods that name none themselves."""


class ConfigMap(Resource):
    kind = kinds.CONFIG_MAP
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    """base64."""


class Secret(Resource):
    kind = kinds.SECRET
    type: str = "Opaque"
    data: dict[str, str] = {}
    """base64."""
    string_data: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, redacted)"


class ServicePort(Struct):
    port: int
    name: str = ""
    target_port: IntOrString | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    """`SCTP` is not served, which is warned of."""
    app_protocol: str = ""
    node_port: int = 0
    """The port of the host's loopback with `type` NodePort or LoadBalancer; 0: one that is free, and shown."""


class ClientIPConfig(Struct):
    timeout_seconds: int = 10800


class SessionAffinityConfig(Struct):
    client_ip: ClientIPConfig = msgspec.field(default=ClientIPConfig(), name="clientIP")


class ServiceSpec(Struct):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    """`NodePort` and `LoadBalancer` have ports of the host's loopback, too."""
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """"" is filled in when the object is stored; "None" makes the Service headless."""
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    """More addresses at which the Service is served, beside its cluster IP. IPv4: another is warned of."""
    publish_not_ready_addresses: bool = False
    session_affinity: Literal["None", "ClientIP"] = "None"
    """`ClientIP` holds for who calls past a sidecar, or has none, which is warned of."""
    session_affinity_config: SessionAffinityConfig | None = None
    external_name: str = ""
    traffic_distribution: Literal["", "PreferClose", "PreferSameZone", "PreferSameNode"] = ""
    """PreferSameZone, which PreferClose is as well: of the ready pods those are asked whose region and zone are the
    client's, else whose region is. PreferSameNode: before these, those of its subzone, and of its node."""
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] = "SingleStack"
    """What a headless Service's name resolves to. Cluster IPs are IPv4 only."""


class Service(Resource):
    kind = kinds.SERVICE
    spec: ServiceSpec


class EndpointConditions(Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    """Changes nothing: what is not ready is not called."""


class TargetRef(Struct):
    """Changes nothing. It is read, as every slice of a cluster has it: what is not takes longer to be passed over."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class SliceEndpoint(Struct):
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef | None = None
    """Whose address it is. It changes nothing."""
    hostname: str = ""
    node_name: str = ""
    zone: str = ""


class EndpointPort(Struct):
    port: int
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: str = ""


class EndpointSlice(Resource):
    """Belongs to the Service that its label `kubernetes.io/service-name` names."""

    kind = kinds.ENDPOINT_SLICE
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    """`FQDN` is refused: use a ServiceEntry with resolution DNS."""
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointAddress(Struct):
    ip: str
    hostname: str = ""
    node_name: str = ""
    target_ref: TargetRef | None = None
    """Whose address it is. It changes nothing."""


class EndpointSubset(Struct):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Resource):
    """Belongs to the Service of the same name."""

    kind = kinds.ENDPOINTS
    subsets: tuple[EndpointSubset, ...] = ()


class KeySelector(Struct):
    key: str
    name: str = ""
    optional: bool = False


class FieldSelector(Struct):
    field_path: str


class EnvVarSource(Struct):
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    field_ref: FieldSelector | None = None


class EnvVar(Struct):
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromSource(Struct):
    class Ref(Struct):
        name: str
        optional: bool = False

    prefix: str = ""
    config_map_ref: Ref | None = None
    secret_ref: Ref | None = None


class ContainerPort(Struct):
    container_port: int
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class HTTPHeader(Struct):
    name: str
    value: str = ""


class HTTPGetAction(Struct):
    port: IntOrString
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Struct):
    port: IntOrString
    host: str = ""


class GRPCAction(Struct):
    port: int
    service: str = ""


class ExecAction(Struct):
    command: tuple[str, ...]


class SleepAction(Struct):
    seconds: int


ProbeKind = Literal["startup", "liveness", "readiness"]


class Probe(Struct):
    """Exactly one of exec, http_get, tcp_socket and grpc is set. Times in seconds."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Struct):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Struct):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


class Capabilities(Struct):
    add: tuple[str, ...] = ()
    """`NET_ADMIN` ..., or `ALL`; drop likewise."""
    drop: tuple[str, ...] = ()


class PodSecurityContext(Struct):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None


class SecurityContext(Struct):
    """A container's. What it says wins over the pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool = True
    privileged: bool = False
    capabilities: Capabilities | None = None


class VolumeMount(Struct):
    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class Resources(Struct):
    limits: dict[str, Quantity] = {}
    """`cpu` and `memory` hold where the machine's cgroups allow it; of others is warned."""


class Container(Struct):
    name: str
    image: str = ""
    """Podman has it, or pulls it. Without one the container is a process of this machine; so it is in any case where
    the pod has the annotation `pilotfish.io/run: process`."""
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """Where it is not given, what is on the machine is run, whatever its tag."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext | None = None
    resources: Resources = Resources()
    restart_policy: Literal["Always"] | None = None
    """On an init container only: it is a native sidecar, and stays."""


class KeyToPath(Struct):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolume(Struct):
    name: str
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Struct):
    secret_name: str
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class EmptyDirVolume(Struct):
    """A directory of the machine's disk, gone with the pod."""


class HostPathVolume(Struct):
    path: str
    type: str = ""


class ClaimVolume(Struct):
    claim_name: str
    read_only: bool = False


class DownwardFile(Struct):
    path: str
    field_ref: FieldSelector | None = None
    mode: int | None = None


class DownwardVolume(Struct):
    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class ConfigMapProjection(Struct):
    name: str
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class SecretProjection(Struct):
    name: str
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class DownwardProjection(Struct):
    items: tuple[DownwardFile, ...] = ()


class TokenProjection(Struct):
    path: str
    audience: str = ""
    """None: that of a cluster's API server."""
    expiration_seconds: int = 3600
    """600 at least. The file is written anew when four fifths of this have passed."""


class Projection(Struct):
    """Exactly one source is set."""

    config_map: ConfigMapProjection | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardProjection | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: TokenProjection | None = None


class ProjectedVolume(Struct):
    sources: tuple[Projection, ...] = ()
    default_mode: int = 0o644


class Volume(Struct):
    """Exactly one source is set."""

    name: str
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    empty_dir: EmptyDirVolume | None = None
    host_path: HostPathVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    projected: ProjectedVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")


class PodSpec(Struct):
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int = 30
    service_account_name: str = ""
    image_pull_secrets: tuple[LocalReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    security_context: PodSecurityContext | None = None
    node_name: str = ""
    active_deadline_seconds: int | None = None
    """The pod has failed when it runs for longer. Not for what restarts its pods."""
    host_network: bool = False
    """Not shared: the pod has an address of its own, which is warned of. It has no sidecar, as in Istio."""


class PodCondition(Struct):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class PodIP(Struct):
    ip: str


class PodStatus(Struct):
    """Written by whoever runs the pod. Discovery reads addresses, phase and the condition Ready."""

    phase: Literal["", "Pending", "Running", "Succeeded", "Failed", "Unknown"] = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    host_ip: str = msgspec.field(default="", name="hostIP")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Resource):
    kind = kinds.POD
    spec: PodSpec
    status: PodStatus = PodStatus()


class PodTemplate(Struct):
    spec: PodSpec
    metadata: Metadata = Metadata()


class LabelSelector(Struct):
    match_labels: dict[str, str] = {}


class RollingUpdate(Struct):
    max_surge: IntOrString = IntOrString("25%")
    max_unavailable: IntOrString = IntOrString("25%")


class DeploymentStrategy(Struct):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(Struct):
    selector: LabelSelector
    template: PodTemplate
    replicas: int = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class Deployment(Resource):
    kind = kinds.DEPLOYMENT
    spec: DeploymentSpec


class ServiceBackendPort(Struct):
    """One of the two."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Struct):
    name: str
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Struct):
    service: IngressServiceBackend | None = None


class HTTPIngressPath(Struct):
    backend: IngressBackend
    path: str = ""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"] = "ImplementationSpecific"
    """`ImplementationSpecific`: `/shop.*` and `/shop/*` are for all that begins with `/shop`, any other is exact."""


class HTTPIngressRuleValue(Struct):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(Struct):
    host: str = ""
    """None: every host."""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Struct):
    hosts: tuple[str, ...] = ()
    """None: every host."""
    secret_name: str = ""
    """A Secret in the namespace of the gateway's pods, as for `credentialName`."""


class IngressSpec(Struct):
    ingress_class_name: str = ""
    """Of an IngressClass whose controller is `istio.io/ingress-controller`, or Istio's own class: `istio`."""
    default_backend: IngressBackend | None = None
    """Not used, which is warned of, as Istio does not use it."""
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(Resource):
    kind = kinds.INGRESS
    spec: IngressSpec


class IngressClassSpec(Struct):
    controller: str = ""


class IngressClass(Resource):
    kind = kinds.INGRESS_CLASS
    spec: IngressClassSpec = IngressClassSpec()
