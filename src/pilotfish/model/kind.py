"""What a kind of object is."""

from __future__ import annotations

from pilotfish.model.problem import Severity
from pilotfish.model.ref import ObjectRef
from pilotfish.model.struct import Frozen


class WithoutEffect(Frozen, kw_only=False):
    """What a user is told of an object that nothing comes of."""

    message: str
    """The rest of a sentence that begins with the kind's name."""
    severity: Severity


class Kind(Frozen, kw_only=False, eq=False):
    """One kind, whatever version of its API it is written in. There is one value for each: it is compared by identity.

    They are ordered by name, and then by group.
    """

    name: str
    """As in a manifest: `VirtualService`."""
    plural: str = ""
    group: str = ""
    """Of its API: `networking.istio.io`, or "" for Kubernetes' core."""
    versions: tuple[str, ...] = ()
    """Of the group, the preferred one first."""
    shorts: tuple[str, ...] = ()
    """kubectl's short names."""
    namespaced: bool = True
    discovery: bool = False
    """Whether discovery reads it. (The node keeps, and shows, every object that it is given.)"""
    without_effect: WithoutEffect | None = None
    """Set for a kind that is known and not supported."""

    def ref(self, namespace: str, name: str) -> ObjectRef:
        """One object of this kind. `namespace` is dropped where the kind has none."""
        return ObjectRef(self, namespace if self.namespaced else "", name)

    @property
    def api_versions(self) -> tuple[str, ...]:
        """What may stand as `apiVersion`: `networking.istio.io/v1`, `v1`."""
        return tuple(f"{self.group}/{version}" if self.group else version for version in self.versions)

    @property
    def qualified(self) -> str:
        """As kubectl prints it before a name: `virtualservice.networking.istio.io`."""
        return self._with_group(self.name.lower())

    @property
    def qualified_plural(self) -> str:
        return self._with_group(self.plural)

    @property
    def words(self) -> tuple[str, ...]:
        """All that a user may call it by, lower case."""
        return (self.plural, self.name.lower(), *self.shorts)

    @property
    def is_istio(self) -> bool:
        """Of one of Istio's APIs: it says how traffic goes, not what there is."""
        return self.group.endswith(".istio.io")

    @property
    def path(self) -> str:
        """`virtual-service`, as Istio writes a kind into the metadata of what Envoy gets."""
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in self.name).removeprefix("-")

    def _with_group(self, word: str) -> str:
        return f"{word}.{self.group}" if self.group else word

    def __lt__(self, other: Kind) -> bool:
        return (self.name, self.group) < (other.name, other.group)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Kind({self.qualified})"
