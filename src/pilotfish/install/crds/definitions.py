"""The CustomResourceDefinition of each of Istio's kinds.

Names, versions and scope are those of the table of kinds, so a client of Istio's finds what it looks for. Objects are
stored in the first version; all of them have the same fields, so nothing is ever converted.

Source: https://istio.io/latest/docs/reference/config/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pilotfish.config.kinds import STRUCTS
from pilotfish.config.schema import messages
from pilotfish.install.crds.schema import ANYTHING, Schema, struct_schema
from pilotfish.model import Kind
from pilotfish.model.kinds import KINDS

Definition = dict[str, Any]

_DESCRIPTIONS: Final = {
    "VirtualService": "How requests and connections for hosts are routed.",
    "DestinationRule": "How a host's endpoints are called once a route has chosen them.",
    "ServiceEntry": "A host that is no Service of the cluster, and where it is.",
    "WorkloadEntry": "A workload that is no pod.",
    "WorkloadGroup": "What workloads that are no pods have in common.",
    "Gateway": "What the mesh's gateways take from outside.",
    "Sidecar": "What workloads' proxies know of the mesh, and take and send.",
    "ProxyConfig": "How proxies run, by namespace or by workload.",
    "PeerAuthentication": "Which connections a workload takes: mutual TLS, plaintext, or both.",
    "RequestAuthentication": "Whose tokens a workload believes.",
    "AuthorizationPolicy": "Which requests and connections a workload takes.",
}
_COLUMNS: Final = {
    "VirtualService": (("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts")),
    "DestinationRule": (("Host", ".spec.host"),),
    "ServiceEntry": (("Hosts", ".spec.hosts"), ("Location", ".spec.location"), ("Resolution", ".spec.resolution")),
    "WorkloadEntry": (("Address", ".spec.address"),),
    "PeerAuthentication": (("Mode", ".spec.mtls.mode"),),
    "AuthorizationPolicy": (("Action", ".spec.action"),),
}
"""Beside the name; each kind also has its age."""
_CONDITION: Final = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string"},
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "observedGeneration": {"x-kubernetes-int-or-string": True},
        "lastProbeTime": {"type": "string"},
        "lastTransitionTime": {"type": "string"},
    },
    **ANYTHING,
}
_STATUS: Final = {
    "description": "What the mesh says of the object. It is written by the mesh alone.",
    "type": "object",
    "properties": {
        "conditions": {
            "type": "array",
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        "observedGeneration": {"x-kubernetes-int-or-string": True},
    },
    **ANYTHING,
}


def build_crds(labels: dict[str, str]) -> tuple[Definition, ...]:
    """One of each of Istio's kinds, those that are not supported among them: whoever applies an object of such a kind
    is told so by the webhook, where kubectl would only say that there is no such kind."""
    return tuple(_definition(kind, labels) for kind in sorted(KINDS) if kind.is_istio)


def _definition(kind: Kind, labels: dict[str, str]) -> Definition:
    schema = _schema(kind)
    columns = [{"name": name, "type": "string", "jsonPath": path} for name, path in _COLUMNS.get(kind.name, ())]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    versions = [
        {
            "name": version,
            "served": True,
            "storage": version == kind.versions[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
            "additionalPrinterColumns": columns,
        }
        for version in kind.versions
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.qualified_plural, "labels": labels},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                **({"shortNames": list(kind.shorts)} if kind.shorts else {}),
                "categories": ["istio-io", kind.group.replace(".", "-")],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": versions,
        },
    }


def _schema(kind: Kind) -> Schema:
    struct = STRUCTS.get(kind)
    if struct is None:
        return _root(_said(kind), _unread_spec(kind), ())
    whole = struct_schema(struct)
    return _root(_DESCRIPTIONS[kind.name], whole["properties"]["spec"], whole["required"])


def _root(description: str, spec: Schema, required: Iterable[str]) -> Schema:
    """What every object has (`metadata`) is no part of its kind's schema."""
    known = {"required": ["spec"]} if "spec" in required else {}
    return {"description": description, "type": "object", **known, "properties": {"spec": spec, "status": _STATUS}}


def _said(kind: Kind) -> str:
    return f"{kind} {kind.without_effect.message}." if kind.without_effect is not None else ""


def _unread_spec(kind: Kind) -> Schema:
    """Its fields by name, so that a misspelt one is told; of what is in them nothing is known."""
    fields = messages()[messages()[kind.qualified]["spec"]]
    return {"type": "object", "properties": {name: dict(ANYTHING) for name in sorted(fields)}}
