"""What whoever installs, or takes away, has to be allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pilotfish.cluster.paths import Attributes, attributes, collection, item
from pilotfish.install.inventory import REMOVED, kind_of, ref_of
from pilotfish.install.names import Object

_VERBS: Final = {"get": "GET", "create": "POST", "patch": "PATCH"}


def to_install(wanted: Iterable[Object]) -> tuple[Attributes, ...]:
    """Each once: of a kind and a namespace, whatever the objects are called."""
    found = {}
    for each in wanted:
        kind, ref = kind_of(each), ref_of(each)
        for verb, method in _VERBS.items():
            path = collection(kind, ref.namespace) if verb == "create" else item(kind, ref.namespace, "any")
            asked = attributes(method, path)
            found[(verb, kind, ref.namespace)] = Attributes(verb, asked.group, asked.resource, asked.namespace)
    return tuple(found.values())


def to_uninstall(with_definitions: bool) -> tuple[Attributes, ...]:
    kinds = [kind.qualified_plural.partition(".")[::2] for kind in REMOVED]
    kinds.append(("namespaces", ""))
    if with_definitions:
        kinds.append(("customresourcedefinitions", "apiextensions.k8s.io"))
    return tuple(Attributes(verb, group, resource) for resource, group in kinds for verb in ("list", "delete"))


def as_review(asked: Attributes) -> dict[str, Any]:
    """Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/"""
    resource, _, subresource = asked.resource.partition("/")
    wanted = {
        "verb": asked.verb,
        "group": asked.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": asked.namespace,
        "name": asked.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: value for name, value in wanted.items() if value}},
    }
