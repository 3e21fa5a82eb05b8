"""Who a pod is, once it has an address: what the downward API tells, and where its files are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotfish.config.kubernetes import Metadata, Pod, PodSpec, VolumeMount
from pilotfish.model import ObjectRef


def name_machine(hostname: str) -> str:
    """As a Kubernetes node is called: a DNS subdomain."""
    labels = (re.sub(r"[^a-z0-9-]", "-", label).strip("-") for label in hostname.lower().split("."))
    return ".".join(filter(None, labels))[:253].strip("-.") or "machine"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    ref: ObjectRef
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: PodSpec
    addresses: tuple[str, ...]
    """IPv4 first."""
    host_ip: str
    """The node's address, where discovery listens."""
    node_name: str
    directory: str
    """The pod's own, under the mesh's."""
    folder: str
    """Where its manifest lies: the working directory of a container that names none."""
    storage: str = ""
    """Of the mesh: where it keeps what outlives pods."""
    proxy_mounts: tuple[VolumeMount, ...] = ()
    """What its proxy sees of its volumes, beside what a gateway's own container says."""
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    """The pod as the manifest has it; for a Deployment's pod, its template."""
    owner: ObjectRef | None = None
    template_hash: str = ""
    source: str = ""
    """`file:line`."""

    @property
    def pod(self) -> Pod:
        """As Kubernetes would have it."""
        labels, annotations = dict(self.labels), dict(self.annotations)
        metadata = Metadata(name=self.name, namespace=self.namespace, labels=labels, annotations=annotations)
        return Pod(metadata=metadata, spec=self.spec)

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def service_account(self) -> str:
        return self.spec.service_account_name or "default"
