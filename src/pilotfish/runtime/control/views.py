"""What a running mesh tells about itself. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Final, Literal

from pilotfish.envoy.types import SERVED
from pilotfish.model import FieldRef, ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import kind_named
from pilotfish.model.struct import Frozen
from pilotfish.model.sync import Sync
from pilotfish.model.wellknown import ADMIN_PORT


class View(Frozen):
    """The base of all views."""


class ProblemView(View):
    reason: str
    message: str
    severity: Literal["error", "warning", "info"]
    kind: str = ""
    group: str = ""
    namespace: str = ""
    name: str = ""
    field: str = ""
    source: str = ""
    """`file:line`, or ""."""
    proxies: tuple[str, ...] = ()
    """The proxies (`name.namespace`) that refused the object; empty where it never reached one."""

    @classmethod
    def of(cls, problem: Problem, proxies: tuple[str, ...] = ()) -> ProblemView:
        ref = problem.ref
        return cls(
            reason=problem.reason,
            message=problem.message,
            severity=problem.severity.value,
            kind=ref.kind.name if ref else "",
            group=ref.kind.group if ref else "",
            namespace=ref.namespace if ref else "",
            name=ref.name if ref else "",
            field=problem.field,
            source=str(problem.source) if problem.source else "",
            proxies=proxies,
        )

    @property
    def problem(self) -> Problem:
        """The reverse of `of`."""
        ref = kind_named(self.kind, self.group).ref(self.namespace, self.name) if self.kind else None
        severity = Severity(self.severity)
        return Problem(ref, self.field, self.reason, self.message, severity, Source.parse(self.source))


class ObjectView(View):
    kind: str
    name: str
    group: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, ref: ObjectRef) -> ObjectView:
        return cls(kind=ref.kind.name, group=ref.kind.group, namespace=ref.namespace, name=ref.name)

    @property
    def ref(self) -> ObjectRef:
        return kind_named(self.kind, self.group).ref(self.namespace, self.name)


class ReplicaView(View):
    """What one of several discoveries knows that the others do not: each has its own proxies."""

    name: str
    """Of its pod."""
    controller: str = ""
    """Of this process, as the WorkloadEntries of proxies name it that are connected to it."""
    leader: str = ""
    """Who leads, as far as it knows; "" for nobody."""
    proxies: int = 0
    """Connected ones."""
    refused: tuple[ProblemView, ...] = ()
    """What they refuse, of objects."""
    unsettled: tuple[ObjectView, ...] = ()
    """What has changed, and not all of them have acknowledged yet."""


class ContainerView(View):
    name: str
    kind: Literal["init", "sidecar", "app", "proxy"]
    """`sidecar`: an init container that stays. `proxy`: `istio-proxy`, the mesh's own."""
    state: Literal["waiting", "running", "terminated"]
    reason: str = ""
    """Such as CrashLoopBackOff, Completed, Error."""
    message: str = ""
    ready: bool = False
    started: bool = False
    restarts: int = 0
    pid: int | None = None
    exit_code: int | None = None
    started_at: float | None = None
    log: str = ""
    """The log file's path. The previous run's is beside it, with `.1` behind its name."""


class PodView(View):
    namespace: str
    name: str
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Terminating"]
    created_at: float
    netns: str = ""
    """The path of the pod's network namespace; "" of a pod that is on no machine of ours."""
    directory: str = ""
    """The pod's directory: Envoy's bootstraps, logs, volumes; "" likewise."""
    reason: str = ""
    """What kubectl's STATUS column would show: Running, Init:0/1, CrashLoopBackOff, ..."""
    addresses: tuple[str, ...] = ()
    owner: str = ""
    """`deployment/webapp`, or ""."""
    labels: dict[str, str] = {}
    ready: bool = False
    captured: bool = True
    """False for a pod that asked not to have a sidecar."""
    gateway: bool = False
    """Its proxy is called itself: no rules send it the pod's traffic."""
    machine: str = ""
    """The machine whose one proxy serves it, by name; "" for a pod that has its own, or none."""
    admin_port: int = ADMIN_PORT
    """Of the Envoy that serves it, on loopback."""
    admin_netns: str = ""
    """The path of the network namespace where that is; "" for the pod's own."""
    containers: tuple[ContainerView, ...] = ()
    exec: dict[str, str] = {}
    """For each app container, the path of the launch specification that `exec` runs a command by."""
    notes: tuple[str, ...] = ()
    """What is worth knowing, such as an app that listens on loopback only."""


class ServiceView(View):
    namespace: str
    name: str
    type: str
    cluster_ip: str
    """"None" for a headless Service."""
    ports: tuple[str, ...]
    """As kubectl shows them: `8888/TCP`, `80:30080/TCP` with the host's port."""
    created_at: float
    endpoints: tuple[str, ...] = ()
    """`10.244.0.2:8888`, ready ones only."""
    selector: dict[str, str] = {}
    external: tuple[str, ...] = ()
    """The host's addresses of a load balancer, and `externalIPs`."""


_WORST_FIRST: Final = (Sync.REFUSED, Sync.STALE, Sync.NOT_SENT)
_ALWAYS_ASKED: Final = frozenset(row.short for row in SERVED if row.wildcard)
"""The types (`cds`, `lds`) that every Envoy asks for; for others only where something names some."""


class SyncView(View):
    """One proxy, as discovery sees it."""

    proxy: str
    """`name.namespace`."""
    types: dict[str, Sync]
    """By short name: cds, lds, eds, rds."""
    connected: bool = True
    error: str = ""
    """Envoy's words for what it refused."""

    @property
    def worst(self) -> tuple[Sync, tuple[str, ...]]:
        """What keeps it from having what discovery means it to have, and of which types; SYNCED and () if nothing."""
        for state in _WORST_FIRST:
            found = tuple(short for short, now in self.types.items() if now == state)
            missing = tuple(short for short in found if state is not Sync.NOT_SENT or short in _ALWAYS_ASKED)
            if missing:
                return state, missing
        return Sync.SYNCED, ()

    @property
    def synced(self) -> bool:
        """It has what discovery means it to have."""
        return self.connected and self.worst[0] is Sync.SYNCED


class SyncedView(View):
    """Whether the proxies have acknowledged what follows from a version of the objects."""

    synced: bool
    resource_version: int
    """The version that is applied."""
    connected: int
    """Connections of proxies."""
    behind: tuple[str, ...]
    """`name.namespace` of those that have not acknowledged all."""


class CertificateView(View):
    """What a certificate says of itself."""

    subject: str
    """Its identity, or of an authority its name."""
    serial: str
    """Hexadecimal digits, as openssl prints them."""
    not_before: float
    not_after: float
    fingerprint: str = ""
    """SHA-256, in hexadecimal digits."""


class InboundView(View):
    """Connections that sidecars have taken from others since each Envoy was started, as it said within 5 s."""

    connections: int = 0
    mutual: int = 0
    """By mutual TLS."""


class ProxyView(View):
    namespace: str
    pod: str
    node_id: str
    ready: bool
    restarts: int
    pid: int | None
    sync: SyncView | None = None
    """None where discovery does not know the proxy, or does not answer."""
    certificate: CertificateView | None = None
    """None before the first, and of a proxy that has none."""
    certificate_error: str = ""
    """Why it is not renewed, or not there."""
    inbound: InboundView = InboundView()
    discovery: str = ""
    """The replica of discovery that it is connected to; "" where there is but one process."""
    machine: str = ""
    """Of a pod that has no Envoy of its own: the machine whose proxy serves it, whose `sync` this is."""
    serves: tuple[str, ...] = ()
    """Of a machine's proxy: its pods, `name.namespace`."""


class PublishView(View):
    address: str
    """`127.0.0.1:8080`."""
    target: str
    """`webapp.vm:8889`."""
    trials: tuple[str, ...] = ()
    """Commands for a shell that try what a gateway routes there."""
    protocol: Literal["TCP", "UDP"] = "TCP"
    chosen: bool = False
    """By hand, and not because an object asks for it."""


class DiscoveryView(View):
    running: bool
    pid: int | None
    restarts: int
    xds_address: str
    """Where proxies connect, over TLS."""
    monitoring_address: str
    plaintext_address: str = ""
    """xDS without TLS, in the node's namespace: on loopback unless it was asked for."""
    answering: bool = True
    """False while it starts, and for one that hangs."""


class IdentityView(View):
    """What signs a mesh's certificates."""

    trust_domain: str
    source: str
    """Where the authority comes from, for people."""
    signer: CertificateView
    roots: tuple[CertificateView, ...]
    """Whom to trust: the signer's first."""
    signed: int
    """Certificates, since discovery's last start."""
    pem: str
    """The roots."""
    other_domains: tuple[str, ...] = ()
    """Trust domains whose certificates are taken just now, while one follows another."""
    next: CertificateView | None = None
    """What signs next, once all trust its root."""
    next_at: float | None = None


class OwnerView(View):
    """Whose a step of a request's way is."""

    step: int
    kind: str
    group: str
    namespace: str
    name: str
    field: str
    source: str = ""
    """`file:line`, or ""."""

    @classmethod
    def of(cls, step: int, field: FieldRef) -> OwnerView:
        ref = field.object
        return cls(
            step=step,
            kind=ref.kind.name,
            group=ref.kind.group,
            namespace=ref.namespace,
            name=ref.name,
            field=field.field,
        )

    @property
    def ref(self) -> ObjectRef:
        return kind_named(self.kind, self.group).ref(self.namespace, self.name)


class MeshView(View):
    """One line of `get mesh`; also the file `mesh.json` in the mesh's directory."""

    name: str
    pid: int
    """The process that runs the mesh."""
    pid_started: int
    """When that process started, in clock ticks since boot: tells it from a later one with the same pid."""
    directory: str
    started_at: float
    netns: str
    """The path of the node's namespace."""
    pod_subnets: tuple[str, ...]
    sources: tuple[str, ...]
    """The files and folders that `up` was given."""
    default_namespace: str = "default"
    service_subnet: str = "10.96.0.0/16"
    """The cluster IPs."""
    egress: bool = False
    """Pods reach what the host reaches."""
    proxy: str = ""
    """What `up --proxy` said; "" if it was not given."""


class PodsView(View):
    """Pods and what is around them: all of a mesh, or of it what may be meant."""

    pods: tuple[PodView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    proxies: tuple[ProxyView, ...] = ()
    """As far as they are known without asking each."""


class Overview(PodsView, kw_only=True):
    """What there is to be told of a mesh, wherever it runs."""

    ready: bool
    """Everything that was asked for runs, and every proxy has what discovery means it to have."""
    problems: tuple[ProblemView, ...] = ()
    inbound: InboundView = InboundView()
    """Of all proxies together."""
    access_log: bool = True
    """Proxies log requests, as far as the meshConfig says it."""


class StatusView(Overview, kw_only=True):
    """Of a mesh on this machine."""

    mesh: MeshView
    discovery: DiscoveryView
    published: tuple[PublishView, ...] = ()


class VersionView(View):
    """Of what runs in a mesh: so many of one version."""

    what: Literal["discovery", "proxies"]
    version: str
    """"" of what does not say."""
    count: int


class DiscoveryReplicaView(View):
    """One process of discovery, in a cluster, as it is seen from outside."""

    pod: str
    """`name.namespace`."""
    ready: bool
    """Of its pod: it serves proxies."""
    version: str = ""
    """Of pilotfish; "" where it does not answer."""
    proxies: int = 0
    """That are connected to it."""
    error: str = ""
    """Why it does not answer."""


class ClusterView(Overview, kw_only=True):
    """Of a mesh in a cluster."""

    origin: str
    """`context prod of /home/ann/.kube/config`."""
    server: str
    namespace: str
    """That commands work in."""
    revision: str
    """"default" for the one without a name; "" where no control plane is known."""
    missing: str
    """Why none is."""
    root_namespace: str
    """Where the control plane is."""
    replicas: tuple[DiscoveryReplicaView, ...] = ()


class ChangeView(View):
    """What `apply`, `delete`, `scale` or `rollout restart` did to one object."""

    kind: str
    group: str
    namespace: str
    name: str
    action: Literal["created", "configured", "unchanged", "deleted", "scaled", "restarted", "notfound", "refused"]


class ChangesView(View):
    changes: tuple[ChangeView, ...]
    problems: tuple[ProblemView, ...] = ()


class RolloutView(View):
    namespace: str
    name: str
    done: bool
    message: str
    """As kubectl says it: `Waiting for deployment "x" rollout to finish: 1 out of 3 new replicas ...`"""
    failed: bool = False
    """It exceeded its progress deadline; it may still come to its end."""
