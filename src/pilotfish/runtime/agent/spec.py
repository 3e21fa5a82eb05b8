"""What an agent is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.agent.draining import DrainPolicy
from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.agent.probes import ProbeTable
from pilotfish.agent.workload_health import WorkloadProbe
from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Proxy
from pilotfish.model.credential import UnusableFiles
from pilotfish.model.wellknown import PROXY_UID
from pilotfish.runtime.control.views import CertificateView
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import BindMount
from pilotfish.runtime.linux.userns import UserNs


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What a pod's agent can say of its certificate."""

    certificate: CertificateView | None = None
    """None as long as there was none."""
    error: str = ""
    """Why it is not renewed, or not there yet; "" if all is well."""
    failing_since: float | None = None
    """Seconds since the epoch."""


class AgentError(MachineError):
    """The outside world keeps an agent from starting: a port is taken, Envoy is missing."""


@dataclass(frozen=True, slots=True)
class AuthoritySpec:
    """Where a pod's certificate comes from."""

    address: str
    """`10.244.0.1:15012`, or `istiod.istio-system.svc:15012`."""
    roots: Path
    """Whom to trust that it is the authority: PEM."""
    token: Callable[[], str]
    """Makes or reads what proves whose agent this is, for each request. It may block, and raise OSError."""
    name: str
    """What the authority's certificate, which is discovery's, says."""


@dataclass(frozen=True, slots=True)
class SecretSources:
    """What Envoy is told."""

    workload: str = ""
    """The socket with the workload's certificate, as Envoy sees it; "" if it has none."""
    discovery: str = ""
    """The socket with the certificate that is shown to discovery; "" if that is spoken to in plaintext."""
    name: str = ""
    """What discovery's certificate must say."""
    mounts: tuple[BindMount, ...] = ()
    """What Envoy must see."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One pod's sidecar."""

    proxy: Proxy
    netns: NetNs | None
    """The pod's network namespace: Envoy runs in it, and 15020 and 15053 are served in it. None: this process's own."""
    directory: Path
    """Gets `envoy-rev0.json` and its successors. It is made if it is missing, and readable by Envoy's user."""
    discovery: str
    """`10.244.0.1:15012`, or `istiod.istio-system.svc:15012`: where Envoy gets its configuration."""
    monitoring: str
    """`10.244.0.1:15014`: where the agent gets its name table. "" serves no names of the mesh."""
    log: Path | None
    """Gets Envoy's output, its access log included; None is this process's own standard output."""
    proxy_config: ProxyConfig = field(default_factory=ProxyConfig)
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Further node metadata by Istio's names: SERVICE_ACCOUNT, WORKLOAD_NAME, OWNER, ANNOTATIONS, CLUSTER_ID, ..."""
    probes: ProbeTable = field(default_factory=dict, hash=False)
    prometheus: ScrapeTarget | None = None
    authority: AuthoritySpec | None = None
    """None: the pod has no certificate, and discovery is asked in plaintext."""
    user: int | None = PROXY_UID
    """Envoy's uid and gid; None leaves it those of this process."""
    draining: DrainPolicy | None = None
    """None: until nobody calls it, or terminationDrainDuration is over."""
    memory_limit: int | None = None
    """Bytes that Envoy may have before it is killed; None is no limit."""
    userns: UserNs | None = None
    """A machine's Envoy: it may enter the network namespaces that this owns, and is nobody elsewhere."""
    takes_over: bool = False
    """Another Envoy can take over from the one that serves. They meet in a directory of their own, which they see at
    /dev/shm: whoever starts them must be able to mount."""
    transparent: bool = False
    """Inbound connections come by TPROXY. If this is root, Envoy gets TRANSPARENT_PROXY_UID and CAP_NET_ADMIN."""
    workload_probe: WorkloadProbe | None = None
    """Of a workload that is no pod and registers itself: discovery is told what this finds."""
    mounts: tuple[BindMount, ...] = ()
    """What Envoy sees of its pod's volumes."""
    identities: tuple[BindMount, ...] = ()
    """Of the pod's volumes, those at the well-known places of certificates that another than the authority gives."""
    log_level: str = "warning"
    component_log_level: str = ""
    """Of parts of Envoy: `rbac:debug,jwt:debug`."""


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """Envoy and its agent, as `get proxies` and the container `istio-proxy` show them."""

    state: str = "waiting"
    """waiting, running or terminated: Kubernetes' words for a container."""
    reason: str = ""
    """CrashLoopBackOff, Draining, Stopping, Completed or ""."""
    message: str = ""
    """Why it is not ready, for people; "" if it is."""
    ready: bool = False
    restarts: int = 0
    pid: int | None = None
    epoch: int = -1
    """How many times Envoy was started, from 0; -1 before the first."""
    revision: int = -1
    """The number N of the `envoy-revN.json` that Envoy has; -1 before the first."""
    started_at: float | None = None
    """Of the current run, in seconds since the epoch."""
    certificate: CertificateStatus = field(default_factory=CertificateStatus)
    """Of a pod that has an authority."""
    exit_code: int | None = None
    """Of the last run that ended; minus the signal's number if a signal ended it."""
    unusable_files: tuple[UnusableFiles, ...] = ()
    """Certificates and keys that Envoy is to have, and that it can't be given."""
