"""Where the API server has things, and what it calls a request for them.

    Kind, namespace, name ─collection, item─▶ /apis/networking.istio.io/v1/namespaces/vm/virtualservices/calculator
    method, path ─attributes─▶ verb, group, resource, namespace: what a role has to allow

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris and
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from pilotfish.model.kind import Kind

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def collection(kind: Kind, namespace: str = "", version: str = "") -> str:
    """All objects of a kind, or those of a namespace. `version`: of its API; "" for the preferred one."""
    root = f"/apis/{kind.group}/" if kind.group else "/api/"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
    return f"{root}{version or kind.versions[0]}{place}/{kind.plural}"


def item(kind: Kind, namespace: str, name: str, subresource: str = "", version: str = "") -> str:
    """One object, or a part of it such as `status`."""
    ending = f"/{subresource}" if subresource else ""
    return f"{collection(kind, namespace, version)}/{quote(name, safe='')}{ending}"


@dataclass(frozen=True, slots=True)
class Attributes:
    """As RBAC knows a request."""

    verb: str
    group: str = ""
    resource: str = ""
    """With its part: `pods/portforward`. "" where the path is no object's."""
    namespace: str = ""
    """"" for all of them, or for what is in none."""
    name: str = ""
    path: str = ""

    @property
    def whole(self) -> str:
        """`virtualservices.networking.istio.io`, `pods/portforward`."""
        resource, slash, part = self.resource.partition("/")
        return f"{resource}.{self.group}{slash}{part}" if self.group else self.resource

    @property
    def what(self) -> str:
        """`virtualservices.networking.istio.io in namespace vm`."""
        if not self.resource:
            return self.path
        whole = f"{self.whole} {self.name}" if self.name else self.whole
        return f"{whole} in namespace {self.namespace}" if self.namespace else f"{whole} in the whole cluster"

    @property
    def rule(self) -> str:
        """Of a role that allows it."""
        if not self.resource:
            return f'nonResourceURLs: ["{self.path}"], verbs: ["{self.verb}"]'
        return f'apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: ["{self.verb}"]'


def attributes(method: str, path: str, watch: bool = False) -> Attributes:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = "", parts
    if parts[0] == "api" and len(parts) > 2:
        rest = parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Attributes(method.lower(), path=path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name = rest[0], rest[1] if len(rest) > 1 else ""
    if len(rest) > 2:
        resource = f"{resource}/{rest[2]}"
    verb = _VERBS.get(method.upper())
    if method.upper() == "DELETE":
        verb = "delete" if name else "deletecollection"
    if verb is None:
        verb = "get" if name else "watch" if watch else "list"
    return Attributes(verb, group, resource, namespace, name, path)
