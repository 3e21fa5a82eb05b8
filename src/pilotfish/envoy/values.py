"""What discovery hands out: resources, layers of them that proxies share, and one proxy's whole set."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from hashlib import blake2b

from pilotfish.derive import Origin
from pilotfish.envoy.types import ORDER, xds_type
from pilotfish.model.private import PrivateBytes, PrivateStr, reveal

Reference = tuple[str, str]
"""(type URL, name) of a resource that another one names."""


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()


class DanglingReferenceError(ValueError):
    """A resource names one that is not there. Only a bug in the making of resources can lead to this."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One Envoy resource, serialised once."""

    type_url: str
    name: str
    version: str
    """A short hash of `body`, in hexadecimal. It and `body` are private for a sensitive type."""
    body: bytes = field(repr=False)
    """The resource's message, serialised; equal messages have equal bytes."""
    references: frozenset[Reference] = field(default=frozenset(), repr=False)
    origin: Origin | None = field(default=None, repr=False)
    """The query that made it: what that read says whose it is (`envoy.owners`)."""
    vacant: bool = False
    """Nobody is behind it: whoever is still led there fails."""

    @classmethod
    def make(
        cls,
        type_url: str,
        name: str,
        body: bytes,
        references: Iterable[Reference] = (),
        origin: Origin | None = None,
        *,
        vacant: bool = False,
    ) -> Resource:
        version = _digest(body)
        if xds_type(type_url).sensitive:
            version, body = PrivateStr(version), PrivateBytes(body)
        return cls(type_url, name, version, body, frozenset(references), origin, vacant)


class Layer(Mapping[str, Resource]):
    """Resources of one type by name, in order of name. Immutable, and shared by every proxy that sees the same."""

    __slots__ = ("_resources", "references", "type_url", "version")

    def __init__(self, type_url: str, resources: Iterable[Resource] = ()) -> None:
        by_name = {r.name: r for r in resources}
        self._resources = {name: by_name[name] for name in sorted(by_name)}
        self.type_url = type_url
        found = self._resources.values()
        secret = xds_type(type_url).sensitive
        versions = (f"{r.name}\0{reveal(r.version) if secret else r.version}" for r in found)
        version = _digest("\0".join((type_url, *versions)).encode())
        self.version = PrivateStr(version) if secret else version
        """A hash of the names and versions of the resources."""
        self.references: frozenset[Reference] = frozenset().union(*(r.references for r in found))

    def __getitem__(self, name: str) -> Resource:
        return self._resources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)

    # `Mapping` has these in terms of the above, ten times slower. Every stream asks for thousands of resources.

    def __contains__(self, name: object) -> bool:
        return name in self._resources

    def get(self, name: str, default: Resource | None = None) -> Resource | None:  # type: ignore[override]
        return self._resources.get(name, default)

    def values(self) -> ValuesView[Resource]:
        return self._resources.values()

    def items(self) -> ItemsView[str, Resource]:
        return self._resources.items()

    def __eq__(self, other: object) -> bool:
        """Origins count: what the same bytes come from may have become another thing."""
        if self is other:
            return True
        if not isinstance(other, Layer) or self.version != other.version:
            return False
        return all(a.origin == b.origin for a, b in zip(self.values(), other.values(), strict=True))

    def __hash__(self) -> int:
        return hash(self.version)

    def __repr__(self) -> str:
        return f"Layer({self.type_url.rpartition('.')[2]}, {len(self)}, {self.version})"


class ResourceSet:
    """All of one proxy's resources: layers for each type. Names are unique over the layers of a type.

    Raises DanglingReferenceError if a layer names a resource that is in none. `base` is a set whose layers come first
    and which were checked when it was made.
    """

    __slots__ = ("_layers", "referenced", "version")

    def __init__(self, layers: Iterable[Layer], base: ResourceSet | None = None) -> None:
        own = tuple(layers)
        self._layers = {t: (base.layers(t) if base else ()) + tuple(x for x in own if x.type_url == t) for t in ORDER}
        named = frozenset(type_url for layer in own for type_url, _ in layer.references)
        self.referenced: frozenset[str] = named if base is None else named | base.referenced
        """The types that resources name some of: a proxy asks for those."""
        self._refuse_dangling(own, named)
        self.version = _digest("".join(reveal(layer.version) for t in ORDER for layer in self._layers[t]).encode())

    def layers(self, type_url: str) -> tuple[Layer, ...]:
        """The layers of one type; none for a type that is not in the table."""
        return self._layers.get(type_url, ())

    def get(self, type_url: str, name: str) -> Resource | None:
        return next((layer[name] for layer in self.layers(type_url) if name in layer), None)

    def resources(self, type_url: str) -> Iterator[Resource]:
        for layer in self.layers(type_url):
            yield from layer.values()

    def _refuse_dangling(self, layers: tuple[Layer, ...], types: frozenset[str]) -> None:
        known = {(t, name) for t in types for x in self.layers(t) for name in x}
        for layer in layers:
            for type_url, name in layer.references - known:
                raise DanglingReferenceError(f"a {layer.type_url} names {type_url} {name!r}, which does not exist")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceSet) and self._layers == other._layers

    def __hash__(self) -> int:
        return hash(self.version)

    def __repr__(self) -> str:
        return f"ResourceSet({self.version}, {[len(x) for t in ORDER for x in self._layers[t]]})"
