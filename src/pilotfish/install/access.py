"""What the installation's accounts may do: what is read of each kind, and what is written, object by object.

Reading is for every kind that discovery reads, over all namespaces: it makes every proxy's configuration of them.
Writing is named as narrowly as Kubernetes can say it: by subresource, or by the object's name. (A name bounds `create`
only where the object is applied, as its name then stands in the request.)

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from pilotfish.install.names import AUTHORITY, CNI, Names, Object
from pilotfish.model.kinds import KINDS, NODE, WORKLOAD_ENTRY
from pilotfish.model.wellknown import ROOT_CONFIG_MAP

_GROUP: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "get", "patch", "update")


def discovery_access(names: Names, labels: Mapping[str, str]) -> tuple[Object, ...]:
    subject = {"kind": "ServiceAccount", "name": names.service, "namespace": names.namespace}
    return (
        *_cluster(names.own, labels, _over_all(names), subject),
        *_in_namespace(names.own, names.namespace, labels, _in_own(names), subject),
    )


def cni_access(names: Names, labels: Mapping[str, str], *, may_delete: bool) -> tuple[Object, ...]:
    """It looks at the pods of its node, and at its own DaemonSet, whether that is to stay. `may_delete`: it ends pods
    that started without their rules."""
    subject = {"kind": "ServiceAccount", "name": CNI, "namespace": names.namespace}
    rules = [_rule("", ("pods",), _READ), *([_rule("", ("pods",), ("delete",))] if may_delete else [])]
    own = (_rule("apps", ("daemonsets",), ("get",), (CNI,)),)
    return (*_cluster(CNI, labels, rules, subject), *_in_namespace(CNI, names.namespace, labels, own, subject))


def tag_access(name: str, names: Names, labels: Mapping[str, str]) -> tuple[Object, ...]:
    """A tag's webhook configuration is the revision's to keep: it writes its certificate there."""
    subject = {"kind": "ServiceAccount", "name": names.service, "namespace": names.namespace}
    rules = (_rule("admissionregistration.k8s.io", _WEBHOOKS, ("patch", "update"), (name,)),)
    return _cluster(name, labels, rules, subject)


def _over_all(names: Names) -> tuple[Object, ...]:
    return (
        *_reading(),
        *_statuses(),
        _rule("", ("events",), ("create", "patch")),
        _rule("events.k8s.io", ("events",), ("create", "patch")),
        _rule("", ("configmaps",), _WRITE, (ROOT_CONFIG_MAP,)),
        # Of workloads that register themselves: no name of theirs is known before.
        _rule(WORKLOAD_ENTRY.group, (WORKLOAD_ENTRY.plural,), ("create", "delete", "update")),
        _rule("authentication.k8s.io", ("tokenreviews",), ("create",)),
        _rule("admissionregistration.k8s.io", _WEBHOOKS, _READ),
        _rule("admissionregistration.k8s.io", _WEBHOOKS, ("patch", "update"), (names.own,)),
    )


_WEBHOOKS: Final = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


def _reading() -> Iterable[Object]:
    groups: dict[str, list[str]] = defaultdict(list)
    for kind in (*(kind for kind in KINDS if kind.discovery), NODE):
        groups[kind.group].append(kind.plural)
    return (_rule(group, sorted(plurals), _READ) for group, plurals in sorted(groups.items()))


def _statuses() -> Iterable[Object]:
    """Of Istio's kinds: what the mesh says of an object stands in its status."""
    groups: dict[str, list[str]] = defaultdict(list)
    for kind in (kind for kind in KINDS if kind.is_istio):
        groups[kind.group].append(f"{kind.plural}/status")
    return (_rule(group, sorted(plurals), ("patch", "update")) for group, plurals in sorted(groups.items()))


def _in_own(names: Names) -> tuple[Object, ...]:
    return (
        _rule("coordination.k8s.io", ("leases",), ("create",)),
        _rule("coordination.k8s.io", ("leases",), ("get", "patch", "update"), (names.lease,)),
        _rule("", ("secrets",), _WRITE, (AUTHORITY, names.last_good)),
    )


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str], objects: Iterable[str] = ()) -> Object:
    named = {"resourceNames": list(objects)} if objects else {}
    return {"apiGroups": [group], "resources": list(resources), **named, "verbs": list(verbs)}


def _cluster(name: str, labels: Mapping[str, str], rules: Iterable[Object], subject: Object) -> tuple[Object, ...]:
    head = {"metadata": {"name": name, "labels": dict(labels)}}
    return (
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", **head, "rules": list(rules)},
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRoleBinding",
            **head,
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    )


def _in_namespace(
    name: str, namespace: str, labels: Mapping[str, str], rules: Iterable[Object], subject: Object
) -> tuple[Object, ...]:
    head = {"metadata": {"name": name, "namespace": namespace, "labels": dict(labels)}}
    return (
        {"apiVersion": f"{_GROUP}/v1", "kind": "Role", **head, "rules": list(rules)},
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "RoleBinding",
            **head,
            "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    )
