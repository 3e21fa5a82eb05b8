"""What `pilotfish up` was asked to do, and what it says while doing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pilotfish.node.publish import Publish
from pilotfish.node.services import CLUSTER_IPS
from pilotfish.runtime.net.subnets import Subnets

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class UpOptions:
    name: str
    """The mesh's: lower case letters, digits and dashes, at most 40."""
    sources: tuple[str, ...]
    """Files, folders, `-` (standard input)."""
    state_root: Path
    publish: tuple[Publish, ...] = ()
    mesh_config: str | None = None
    """A file that holds the meshConfig; it wins over one among the sources."""
    namespace: str = "default"
    """Of objects that name none."""
    recursive: bool = False
    """Folders count with what is below them."""
    allow_plaintext: bool = False
    """Serve xDS without TLS on the mesh's network, too, and not on loopback alone."""
    authority: Path | None = None
    """A directory with Istio's four files of a certificate authority; None: the Secret `cacerts`, or one of our own."""
    pod_cidr: tuple[IPv4Network, IPv6Network | None] | None = None
    """The pods' networks; None lets the mesh choose."""
    service_cidr: IPv4Network = CLUSTER_IPS
    egress: bool = False
    """Pods reach what the host reaches."""
    proxy: str = ""
    """`node` or `sidecar`: what pods have that don't say it; "" leaves it to the meshConfig."""
    ready_timeout: float = 120
    """Seconds that `detach` waits until all is ready."""

    @property
    def directory(self) -> Path:
        return self.state_root / self.name

    @property
    def subnets(self) -> Subnets | None:
        """Those that were asked for."""
        if self.pod_cidr is None:
            return None
        v4, v6 = self.pod_cidr
        subnets = Subnets.beside(v4, self.service_cidr)
        return subnets if v6 is None else replace(subnets, v6=v6)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a mesh: use a-z, 0-9 and -, 40 at most (--name)")


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One line of progress."""

    elapsed: float
    """Seconds since `up` began."""
    text: str
    """Such as `discovery ready` or `pod webapp-0.vm ready`."""
    severity: str = "info"
    """`info`, `warning` or `error`."""
    ready: bool = False
    """The one line that says that all is up: every pod is ready and, unless it is a warning, every proxy synced."""


OnProgress = Callable[[ProgressLine], None]


class CannotStart(Exception):
    """The mesh can't be made; the text says why and names the remedy. Nothing was left behind."""
