"""The kinds that `get`, `delete` and `apply` name, with kubectl's short names and API groups."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.cli.failure import Failure


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    """As in a manifest, such as VirtualService."""
    plural: str
    group: str = ""
    shorts: tuple[str, ...] = ()
    namespaced: bool = True
    own: bool = False
    """pilotfish's own: not an object that a manifest can hold."""

    @property
    def qualified(self) -> str:
        """As kubectl prints it before a name: `virtualservice.networking.istio.io`."""
        return self.name.lower() + (f".{self.group}" if self.group else "")

    @property
    def qualified_plural(self) -> str:
        return self.plural + (f".{self.group}" if self.group else "")

    @property
    def words(self) -> tuple[str, ...]:
        """All that a user may call it by, lower case."""
        return (self.plural, self.name.lower(), *self.shorts)


_ISTIO = "networking.istio.io"
KINDS = (
    Kind("Pod", "pods", shorts=("po",)),
    Kind("Service", "services", shorts=("svc",)),
    Kind("Deployment", "deployments", "apps", ("deploy",)),
    Kind("Proxy", "proxies", shorts=("px",), own=True),
    Kind("Mesh", "meshes", own=True),
    Kind("Problem", "problems", own=True),
    Kind("VirtualService", "virtualservices", _ISTIO, ("vs",)),
    Kind("DestinationRule", "destinationrules", _ISTIO, ("dr",)),
    Kind("ServiceEntry", "serviceentries", _ISTIO, ("se",)),
    Kind("Namespace", "namespaces", shorts=("ns",), namespaced=False),
    Kind("ConfigMap", "configmaps", shorts=("cm",)),
    Kind("Secret", "secrets"),
    Kind("ServiceAccount", "serviceaccounts", shorts=("sa",)),
    Kind("Endpoints", "endpoints", shorts=("ep",)),
    Kind("EndpointSlice", "endpointslices", "discovery.k8s.io"),
)
_BY_WORD = {word: kind for kind in KINDS for word in kind.words}
_BY_NAME = {kind.name: kind for kind in KINDS}


def find_kind(word: str) -> Kind:
    """By any of its names, in any case, with or without its group. Raises Failure for an unknown one."""
    plain, _, group = word.lower().partition(".")
    kind = _BY_WORD.get(plain)
    if kind is None or not _is_group(group, kind.group):
        known = ", ".join(kind.plural for kind in KINDS)
        raise Failure(f'the mesh doesn\'t have a resource type "{word}"; it has: {known}')
    return kind


def _is_group(written: str, group: str) -> bool:
    """The whole group, its beginning (`networking`), or a version before it (`v1.apps`); "" is any."""
    version, _, rest = written.partition(".")
    return f"{group}.".startswith(f"{written}.") or not written or (version[:1] == "v" and rest == group)


def qualified(kind: str) -> str:
    """`VirtualService` → `virtualservice.networking.istio.io`; a kind that is not known keeps its plain name."""
    known = _BY_NAME.get(kind)
    return known.qualified if known else kind.lower()
