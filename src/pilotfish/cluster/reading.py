"""An object of the API server → what the mesh reads of it, and no more: of what nobody reads nothing is kept.

    Pod, EndpointSlice, Namespace   what the machinery of the cluster writes, and its server has checked: as it is
    Node                            where its pods are
    Secret                          certificates and keys; one that holds none is not kept at all
    all others                      the user's: read and checked as from a file, without lines

10,000 pods are 60 MB as the API server tells them, and 23 MB as they are kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from pilotfish.cluster.status import MOST_SAID
from pilotfish.config import kubernetes
from pilotfish.config.loading import unfold
from pilotfish.config.manifest import Loaded, Manifest
from pilotfish.config.piece import RawObject
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kind import Kind
from pilotfish.model.kinds import CONFIG_MAP, ENDPOINT_SLICE, NAMESPACE, POD, SECRET, SERVICE_ENTRY, WORKLOAD_ENTRY
from pilotfish.model.service import HOSTNAME_LABEL, TOPOLOGY_LABELS
from pilotfish.model.wellknown import PROXY_CONTAINER

_SHARED: Final = 8192
"""Equal values of that many kinds that are kept once: labels and containers of a Deployment's pods are alike."""
_METADATA: Final = ("name", "namespace", "uid", "generation", "labels", "annotations", "creationTimestamp")
_UNREAD_ANNOTATIONS: Final = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")
CREDENTIAL_KEYS: Final = frozenset(
    ("tls.crt", "tls.key", "ca.crt", "ca.crl", "cert", "key", "cacert", "crl")  # Istio's, and their older names
) | frozenset(("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"))
"""Of a Secret: what gateways, clients and the authority can be given."""
UNREAD_SECRETS: Final = (
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "bootstrap.kubernetes.io/token",
)
"""Types that hold no certificate."""
T = TypeVar("T")


class _Lenient(msgspec.Struct, rename="camel"):
    """Other fields are passed over."""


class _Metadata(_Lenient):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class _Port(_Lenient):
    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class _Container(_Lenient):
    name: str = ""
    args: tuple[str, ...] | None = None
    ports: tuple[_Port, ...] | None = None


class _PodSpec(_Lenient):
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    service_account_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    node_name: str = ""
    host_network: bool = False


class _Condition(_Lenient):
    type: str = ""
    status: str = ""


class _IP(_Lenient):
    ip: str = ""


class _PodStatus(_Lenient):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[_IP, ...] | None = msgspec.field(default=None, name="podIPs")
    conditions: tuple[_Condition, ...] | None = None


class _Pod(_Lenient):
    metadata: _Metadata
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _Conditions(_Lenient):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Target(_Lenient):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class _Endpoint(_Lenient):
    addresses: tuple[str, ...] | None = None
    conditions: _Conditions | None = None
    target_ref: _Target | None = None
    hostname: str | None = None
    zone: str | None = None


class _EndpointPort(_Lenient):
    port: int | None = None
    name: str | None = None
    protocol: str | None = None


class _EndpointSlice(_Lenient):
    metadata: _Metadata
    address_type: str = "IPv4"
    endpoints: tuple[_Endpoint, ...] | None = None
    ports: tuple[_EndpointPort, ...] | None = None


class _Alone(_Lenient):
    metadata: _Metadata


_POD: Final = msgspec.json.Decoder(_Pod)
_SLICE: Final = msgspec.json.Decoder(_EndpointSlice)
_ALONE: Final = msgspec.json.Decoder(_Alone)
_CONFIG_MAPS: Final = re.compile(rb'"configmap://([a-z0-9-]+)/([a-z0-9.-]+)"')
_READY: Final = (kubernetes.PodCondition(type="Ready", status="True"),)
_NOT_READY: Final = (kubernetes.PodCondition(type="Ready", status="False"),)


@dataclass(frozen=True, slots=True)
class Reader:
    mesh_config: ObjectRef
    """The ConfigMap that holds the meshConfig."""

    def read(self, kind: Kind, ref: ObjectRef, data: bytes, version: str = "") -> Loaded | None:
        """Of one object, in JSON. `version`: of its API, as it was asked for. None for one that is of no use. Never
        raises."""
        try:
            if (resource := _read_known(kind, data)) is not None:
                return _loaded(ref, resource)
            return self._read_checked(kind, ref, msgspec.json.decode(data, type=dict[str, Any]), version)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _unread(ref, "Unreadable", f"what the API server tells of it is none of its API's: {error}")
        except Exception as error:
            return _unread(ref, "InternalError", f"a fault in pilotfish: {error!r}")

    def _read_checked(self, kind: Kind, ref: ObjectRef, document: dict[str, Any], version: str) -> Loaded | None:
        pruned = _pruned(kind, document, version)
        if kind is SECRET and not _prune_secret(pruned):
            return None
        raw = RawObject(pruned, "", ref.namespace, json=msgspec.json.encode(pruned), mesh_config=self.mesh_config)
        found = next(iter(unfold(raw)))
        manifests = (found.manifest,) if found.manifest is not None else ()
        broken = frozenset((found.broken,)) if found.broken is not None else frozenset[ObjectRef]()
        return Loaded(manifests, found.problems, found.mesh_config, broken, found.incomplete)


def config_maps_in(data: bytes) -> frozenset[ObjectRef]:
    """Those that an object names as `configmap://NAMESPACE/NAME`: whom a Gateway or a DestinationRule trusts."""
    found = _CONFIG_MAPS.findall(data) if b"configmap://" in data else ()
    return frozenset(CONFIG_MAP.ref(namespace.decode(), name.decode()) for namespace, name in found)


def read_node(data: bytes) -> Mapping[str, str]:
    """The labels that tell where it is. Raises msgspec.DecodeError."""
    labels = _ALONE.decode(data).metadata.labels or {}
    return {_one(key): _one(labels[key]) for key in TOPOLOGY_LABELS if labels.get(key)}


def node_of(loaded: Loaded) -> str:
    """Where a pod runs; "" if it is none, or nowhere yet."""
    resource = loaded.manifests[0].resource if loaded.manifests else None
    return resource.spec.node_name if isinstance(resource, kubernetes.Pod) else ""


def placed(loaded: Loaded, labels: Mapping[str, str]) -> Loaded:
    """A pod with the labels of its node that tell where it is, and with its node's name, where it has none of its own.

    Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone
    """
    return replace(loaded, manifests=tuple(_placed(manifest, labels) for manifest in loaded.manifests))


def _placed(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    pod = manifest.resource
    if not isinstance(pod, kubernetes.Pod):
        return manifest
    own = pod.metadata.labels
    all_labels = _labels(tuple(sorted({HOSTNAME_LABEL: pod.spec.node_name, **labels, **own}.items())))
    metadata = msgspec.structs.replace(pod.metadata, labels=all_labels)
    return replace(manifest, resource=msgspec.structs.replace(pod, metadata=metadata))


def _unread(ref: ObjectRef, reason: str, why: str) -> Loaded:
    problem = Problem(ref, "", reason, f"{why[:MOST_SAID]}; its last good form stays in force")
    return Loaded(problems=(problem,), broken=frozenset((ref,)))


def _read_known(kind: Kind, data: bytes) -> kubernetes.Resource | None:
    if kind is POD:
        return _pod(_POD.decode(data))
    if kind is ENDPOINT_SLICE:
        return _slice(_SLICE.decode(data))
    if kind is NAMESPACE:
        return kubernetes.Namespace(metadata=_metadata(_ALONE.decode(data).metadata))
    return None


def _loaded(ref: ObjectRef, resource: kubernetes.Resource) -> Loaded:
    head = {"apiVersion": ref.kind.api_versions[0], "kind": ref.kind.name}
    written = msgspec.json.encode({**head, **msgspec.structs.asdict(resource)})
    return Loaded((Manifest(ref, resource, written),))


def _pod(source: _Pod) -> kubernetes.Pod:
    spec, status = source.spec, source.status
    addresses = tuple(kubernetes.PodIP(ip=each.ip) for each in status.pod_ips or ())
    is_ready = any(each.type == "Ready" and each.status == "True" for each in status.conditions or ())
    return kubernetes.Pod(
        metadata=_metadata(source.metadata),
        spec=kubernetes.PodSpec(
            containers=_containers(_key(spec.containers)),
            init_containers=_containers(_key(spec.init_containers)),
            service_account_name=sys.intern(spec.service_account_name),
            hostname=spec.hostname,
            subdomain=sys.intern(spec.subdomain),
            node_name=sys.intern(spec.node_name),
            host_network=spec.host_network,
        ),
        status=kubernetes.PodStatus(
            phase=sys.intern(status.phase),  # type: ignore[arg-type]  # as the API server has it
            pod_ip=status.pod_ip,
            pod_ips=addresses if len(addresses) > 1 else (),
            conditions=_READY if is_ready else _NOT_READY,
        ),
    )


_ContainerKey = tuple[str, tuple[str, ...], tuple[tuple[str, int, str], ...]]


def _key(sources: tuple[_Container, ...] | None) -> tuple[_ContainerKey, ...]:
    """What is read of containers: ports, and whether one is a gateway's proxy."""
    return tuple(
        (
            each.name,
            (each.args or ()) if each.name == PROXY_CONTAINER else (),
            tuple((port.name, port.container_port, port.protocol) for port in each.ports or ()),
        )
        for each in sources or ()
        if each.ports or each.name == PROXY_CONTAINER
    )


@lru_cache(_SHARED)
def _containers(keys: tuple[_ContainerKey, ...]) -> tuple[kubernetes.Container, ...]:
    """Of equal ones the same."""
    return tuple(
        kubernetes.Container(
            name=name,
            args=args,
            ports=tuple(
                kubernetes.ContainerPort(container_port=number, name=port, protocol=protocol)  # type: ignore[arg-type]
                for port, number, protocol in ports
            ),
        )
        for name, args, ports in keys
    )


def _slice(source: _EndpointSlice) -> kubernetes.EndpointSlice:
    ports = (
        kubernetes.EndpointPort(port=each.port, name=each.name or "", protocol=each.protocol or "TCP")  # type: ignore[arg-type]
        for each in source.ports or ()
        if each.port is not None  # of all ports, which no Service's slice has
    )
    return kubernetes.EndpointSlice(
        metadata=_metadata(source.metadata),
        address_type=source.address_type,  # type: ignore[arg-type]
        endpoints=tuple(map(_endpoint, source.endpoints or ())),
        ports=_one(tuple(ports)),
    )


def _endpoint(source: _Endpoint) -> kubernetes.SliceEndpoint:
    told, target = source.conditions or _Conditions(), source.target_ref
    conditions = kubernetes.EndpointConditions(ready=told.ready, serving=told.serving, terminating=told.terminating)
    aim = None
    if target is not None:
        aim = kubernetes.TargetRef(
            kind=sys.intern(target.kind), name=target.name, namespace=sys.intern(target.namespace)
        )
    return kubernetes.SliceEndpoint(
        addresses=source.addresses or (),
        conditions=_one(conditions),
        target_ref=aim,
        hostname=source.hostname or "",
        zone=sys.intern(source.zone or ""),
    )


def _metadata(source: _Metadata) -> kubernetes.Metadata:
    annotations = source.annotations or {}
    return kubernetes.Metadata(
        name=source.name,
        namespace=sys.intern(source.namespace),
        uid=source.uid,
        labels=_labels(tuple(sorted((source.labels or {}).items()))),
        annotations={key: text for key, text in annotations.items() if key not in _UNREAD_ANNOTATIONS},
        creation_timestamp=source.creation_timestamp,
        deletion_timestamp=source.deletion_timestamp,
    )


def _pruned(kind: Kind, document: dict[str, Any], version: str) -> dict[str, Any]:
    """With apiVersion and kind, which lists leave out."""
    group = f"{kind.group}/" if kind.group else ""
    written = msgspec.convert(document.get("metadata"), dict[str, Any])
    metadata = {key: written[key] for key in _METADATA if written.get(key) not in (None, {}, "")}
    if (annotations := metadata.get("annotations")) is not None:
        kept = msgspec.convert(annotations, dict[str, Any]).items()
        metadata["annotations"] = {key: text for key, text in kept if key not in _UNREAD_ANNOTATIONS}
    head = {"apiVersion": f"{group}{version or kind.versions[0]}", "kind": kind.name, "metadata": metadata}
    dropped = ("apiVersion", "kind", "metadata", "status")
    rest = {key: value for key, value in document.items() if key not in dropped}
    status = _pruned_status(kind, document.get("status"))
    return {**head, **rest, **({"status": status} if status else {})}


def _pruned_status(kind: Kind, status: Any) -> dict[str, Any]:
    """What somebody has written for discovery to read: addresses that hosts were given, how healthy a workload is."""
    found = msgspec.convert(status or {}, dict[str, Any])
    if kind is SERVICE_ENTRY:
        return {"addresses": given} if (given := found.get("addresses")) else {}
    if kind is WORKLOAD_ENTRY:
        conditions = msgspec.convert(found.get("conditions") or (), tuple[_Condition, ...])
        return {"conditions": [{"type": each.type, "status": each.status} for each in conditions]}
    return {}


def _prune_secret(document: dict[str, Any]) -> bool:
    """False if it holds nothing that is read."""
    data = msgspec.convert(document.get("data") or {}, dict[str, Any])
    document["data"] = {key: value for key, value in data.items() if key in CREDENTIAL_KEYS}
    document["metadata"].pop("annotations", None)
    document.pop("immutable", None)
    return bool(document["data"])


@lru_cache(_SHARED)
def _labels(items: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Of equal ones the same. Nobody changes them."""
    return {sys.intern(key): sys.intern(value) for key, value in items}


@lru_cache(_SHARED)
def _one(value: T) -> T:
    """Of equal ones the same."""
    return value
