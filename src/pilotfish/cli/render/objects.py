"""Stored objects of any kind as kubectl shows them: a column is a header and how it is read from the document.

Source: k8s.io/kubernetes/pkg/printers/internalversion, and the additionalPrinterColumns of Istio's CRDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pilotfish.cli.render.age import parse_timestamp, render_age
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.model import Kind, kinds

Unstructured = Mapping[str, object]
Column = tuple[str, Callable[[Unstructured], str]]


def render_objects(kind: Kind, documents: Iterable[Unstructured], now: float, wide: bool = False) -> Table:
    """A kind that has no columns of its own shows name and age."""
    columns = (*_COLUMNS.get(kind, ()), *_timed(kind, now), ("AGE", lambda document: age_of(document, now)))
    columns += _WIDE.get(kind, ()) if wide else ()
    columns = (("NAME", name_of), *columns)
    rows = ([read(document) for _, read in columns] for document in documents)
    return table([header for header, _ in columns], rows)


def name_of(document: Unstructured) -> str:
    return str(at(document, "metadata", "name") or "")


def namespace_of(document: Unstructured) -> str:
    return str(at(document, "metadata", "namespace") or "")


def labels_of(document: Unstructured) -> dict[str, str]:
    labels = at(document, "metadata", "labels")
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}


def owners_of(document: Unstructured) -> tuple[str, ...]:
    """Their names."""
    return tuple(str(at(each, "name")) for each in each_at(document, "metadata", "ownerReferences"))


def at(document: object, *path: str) -> object:
    """The value at `path`, or None."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _text(*path: str, default: str = "") -> Callable[[Unstructured], str]:
    def read(document: Unstructured) -> str:
        value = at(document, *path)
        return default if value is None else str(value)

    return read


def _list(*path: str) -> Callable[[Unstructured], str]:
    """A list of strings, written as kubectl writes one: `["calculator"]`."""

    def read(document: Unstructured) -> str:
        value = at(document, *path)
        return "[" + ",".join(f'"{item}"' for item in value) + "]" if isinstance(value, (list, tuple)) else ""

    return read


def _count(*paths: tuple[str, ...]) -> Callable[[Unstructured], str]:
    def read(document: Unstructured) -> str:
        values = (at(document, *path) for path in paths)
        return str(sum(len(value) for value in values if isinstance(value, (list, tuple, Mapping))))

    return read


def _timed(kind: Kind, now: float) -> tuple[Column, ...]:
    """Those that tell a time."""
    if kind is kinds.JOB:
        return (("DURATION", lambda document: _duration(document, now)),)
    if kind is kinds.CRON_JOB:
        return (("LAST SCHEDULE", lambda document: _since(document, now, "status", "lastScheduleTime")),)
    return ()


def _duration(document: Unstructured, now: float) -> str:
    started = parse_timestamp(at(document, "status", "startTime"))
    ended = parse_timestamp(at(document, "status", "completionTime"))
    return "" if started is None else render_age((now if ended is None else ended) - started)


def _since(document: Unstructured, now: float, *path: str) -> str:
    time = parse_timestamp(at(document, *path))
    return NONE if time is None else render_age(now - time)


def _job_status(document: Unstructured) -> str:
    """Source: printJob in Kubernetes' pkg/printers/internalversion/printers.go"""
    conditions = {
        at(each, "type") for each in each_at(document, "status", "conditions") if at(each, "status") == "True"
    }
    return next((each for each in ("Complete", "Failed", "Suspended") if each in conditions), "Running")


def _completions(document: Unstructured) -> str:
    done, wanted = _text("status", "succeeded", default="0")(document), at(document, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = at(document, "spec", "parallelism")
    return f"{done}/1 of {parallel}" if isinstance(parallel, int) and parallel > 1 else f"{done}/1"


def _suspended(document: Unstructured) -> str:
    return str(bool(at(document, "spec", "suspend")))


def _node_selector(document: Unstructured) -> str:
    found = at(document, "spec", "template", "spec", "nodeSelector")
    pairs = sorted(found.items()) if isinstance(found, Mapping) else []
    return ",".join(f"{key}={value}" for key, value in pairs) or NONE


def _access_modes(document: Unstructured) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(str(mode), str(mode)) for mode in each_at(document, "spec", "accessModes"))


def _claim(document: Unstructured) -> str:
    name = at(document, "spec", "claimRef", "name")
    return f"{at(document, 'spec', 'claimRef', 'namespace') or 'default'}/{name}" if name else ""


def age_of(document: Unstructured, now: float) -> str:
    created = parse_timestamp(at(document, "metadata", "creationTimestamp"))
    return "<unknown>" if created is None else render_age(now - created)


def each_at(document: object, *path: str) -> list[object]:
    value = at(document, *path)
    return list(value) if isinstance(value, (list, tuple)) else []


def _ready(document: Unstructured) -> str:
    wanted = at(document, "spec", "replicas")
    return f"{_text('status', 'readyReplicas', default='0')(document)}/{1 if wanted is None else wanted}"


def _selector(document: Unstructured) -> str:
    labels = at(document, "spec", "selector", "matchLabels")
    pairs = sorted(labels.items()) if isinstance(labels, Mapping) else []
    return ",".join(f"{key}={value}" for key, value in pairs) or NONE


def _containers(document: Unstructured) -> str:
    names = (str(at(each, "name")) for each in each_at(document, "spec", "template", "spec", "containers"))
    return ",".join(names)


def _endpoints(document: Unstructured) -> str:
    """kubectl shows three, and how many more there are."""
    found = [
        f"{at(address, 'ip')}:{at(port, 'port')}"
        for subset in each_at(document, "subsets")
        for port in each_at(subset, "ports")
        for address in each_at(subset, "addresses")
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or NONE


def _slice_ports(document: Unstructured) -> str:
    return ",".join(str(at(port, "port")) for port in each_at(document, "ports")) or "<unset>"


def _slice_endpoints(document: Unstructured) -> str:
    found = [str(each) for endpoint in each_at(document, "endpoints") for each in each_at(endpoint, "addresses")]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or "<unset>"


def _node_status(document: Unstructured) -> str:
    ready = any(
        at(each, "type") == "Ready" and at(each, "status") == "True"
        for each in each_at(document, "status", "conditions")
    )
    return "Ready" if ready else "NotReady"


def _node_address(document: Unstructured) -> str:
    found = (each for each in each_at(document, "status", "addresses") if at(each, "type") == "InternalIP")
    return next((str(at(each, "address")) for each in found), NONE)


_COLUMNS: dict[Kind, tuple[Column, ...]] = {
    kinds.NAMESPACE: (("STATUS", _text("status", "phase", default="Active")),),
    kinds.CONFIG_MAP: (("DATA", _count(("data",), ("binaryData",))),),
    kinds.SECRET: (("TYPE", _text("type", default="Opaque")), ("DATA", _count(("data",)))),
    kinds.SERVICE_ACCOUNT: (("SECRETS", _count(("secrets",))),),
    kinds.ENDPOINTS: (("ENDPOINTS", _endpoints),),
    kinds.ENDPOINT_SLICE: (
        ("ADDRESSTYPE", _text("addressType")),
        ("PORTS", _slice_ports),
        ("ENDPOINTS", _slice_endpoints),
    ),
    kinds.DEPLOYMENT: (
        ("READY", _ready),
        ("UP-TO-DATE", _text("status", "updatedReplicas", default="0")),
        ("AVAILABLE", _text("status", "availableReplicas", default="0")),
    ),
    kinds.REPLICA_SET: (
        ("DESIRED", _text("spec", "replicas", default="1")),
        ("CURRENT", _text("status", "replicas", default="0")),
        ("READY", _text("status", "readyReplicas", default="0")),
    ),
    kinds.STATEFUL_SET: (("READY", _ready),),
    kinds.DAEMON_SET: (
        ("DESIRED", _text("status", "desiredNumberScheduled", default="0")),
        ("CURRENT", _text("status", "currentNumberScheduled", default="0")),
        ("READY", _text("status", "numberReady", default="0")),
        ("UP-TO-DATE", _text("status", "updatedNumberScheduled", default="0")),
        ("AVAILABLE", _text("status", "numberAvailable", default="0")),
        ("NODE SELECTOR", _node_selector),
    ),
    kinds.JOB: (("STATUS", _job_status), ("COMPLETIONS", _completions)),
    kinds.CRON_JOB: (
        ("SCHEDULE", _text("spec", "schedule")),
        ("TIMEZONE", _text("spec", "timeZone", default=NONE)),
        ("SUSPEND", _suspended),
        ("ACTIVE", _count(("status", "active"))),
    ),
    kinds.PERSISTENT_VOLUME_CLAIM: (
        ("STATUS", _text("status", "phase", default="Pending")),
        ("VOLUME", _text("spec", "volumeName")),
        ("CAPACITY", _text("status", "capacity", "storage")),
        ("ACCESS MODES", _access_modes),
        ("STORAGECLASS", _text("spec", "storageClassName")),
    ),
    kinds.PERSISTENT_VOLUME: (
        ("CAPACITY", _text("spec", "capacity", "storage")),
        ("ACCESS MODES", _access_modes),
        ("RECLAIM POLICY", _text("spec", "persistentVolumeReclaimPolicy", default="Retain")),
        ("STATUS", _text("status", "phase", default="Available")),
        ("CLAIM", _claim),
        ("STORAGECLASS", _text("spec", "storageClassName")),
    ),
    kinds.NODE: (
        ("STATUS", _node_status),
        ("ROLES", lambda document: NONE),
        ("VERSION", _text("status", "nodeInfo", "kubeletVersion")),
    ),
    kinds.VIRTUAL_SERVICE: (("GATEWAYS", _list("spec", "gateways")), ("HOSTS", _list("spec", "hosts"))),
    kinds.DESTINATION_RULE: (("HOST", _text("spec", "host")),),
    kinds.SERVICE_ENTRY: (
        ("HOSTS", _list("spec", "hosts")),
        ("LOCATION", _text("spec", "location")),
        ("RESOLUTION", _text("spec", "resolution")),
    ),
    kinds.WORKLOAD_ENTRY: (("ADDRESS", _text("spec", "address")),),
    kinds.AUTHORIZATION_POLICY: (("ACTION", _text("spec", "action", default="ALLOW")),),
    kinds.PEER_AUTHENTICATION: (("MODE", _text("spec", "mtls", "mode", default="UNSET")),),
}

_WIDE: dict[Kind, tuple[Column, ...]] = {
    **dict.fromkeys(
        (kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.DAEMON_SET), (("CONTAINERS", _containers), ("SELECTOR", _selector))
    ),
    kinds.STATEFUL_SET: (("CONTAINERS", _containers),),
    kinds.JOB: (("CONTAINERS", _containers),),
    kinds.NODE: (
        ("INTERNAL-IP", _node_address),
        ("OS-IMAGE", _text("status", "nodeInfo", "osImage")),
        ("KERNEL-VERSION", _text("status", "nodeInfo", "kernelVersion")),
    ),
}
