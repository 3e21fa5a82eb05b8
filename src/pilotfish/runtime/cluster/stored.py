"""The objects of a cluster that a mesh is made of, read once, for who looks at them.

What is read, and how, is what discovery follows (`source.cluster`); with what makes pods, which a user writes, and a
mesh's kinds that have no effect, which is told of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from pilotfish.cluster.paths import collection, item
from pilotfish.cluster.reading import Reader, node_of, placed, read_node
from pilotfish.config.desired import DesiredState, update
from pilotfish.config.injection import revised
from pilotfish.config.kubernetes import OwnerReference, Pod
from pilotfish.config.manifest import Loaded
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, CRON_JOB, KINDS, MAKE_PODS, NODE, POD, REPLICA_SET
from pilotfish.model.wellknown import MESH_CONFIG_MAP, ROOT_NAMESPACE
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import at_most
from pilotfish.runtime.cluster.errors import ApiError, Forbidden
from pilotfish.runtime.cluster.reflector import Collection
from pilotfish.runtime.source.cluster import collections

Document = dict[str, Any]
_GATEWAY_API: Final = "gateway.networking.k8s.io"
_MAKERS: Final = tuple(kind for kind in (*MAKE_PODS, CRON_JOB) if kind is not REPLICA_SET)
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Stored:
    desired: DesiredState
    forbidden: tuple[Forbidden, ...] = ()
    """For each kind of which not all may be listed."""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str = ""
    owner_references: tuple[OwnerReference, ...] | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata


@dataclass(frozen=True, slots=True)
class _Listed:
    kind: Kind
    version: str
    items: Sequence[bytes] = ()
    beyond: Forbidden | None = None
    """Why there are those of one namespace alone."""


_OBJECT: Final = msgspec.json.Decoder(_Object)


async def read_desired(api: Api, revision: str = "", kinds: Sequence[Kind] = (), namespace: str = "") -> Stored:
    """`kinds`: these alone; none: all. `namespace`: of which those are read that may not be read of all."""
    wanted = [each for each in _collections(revision) if not kinds or each.kind in (*kinds, NODE)]
    found = await at_most(_AT_ONCE, lambda each: _list_allowed(api, each, namespace), wanted)
    for each in found:
        if isinstance(each, Exception) and not isinstance(each, Forbidden):
            raise each
    listed = [each for each in found if isinstance(each, _Listed)]
    reader = Reader(CONFIG_MAP.ref(ROOT_NAMESPACE, revised(MESH_CONFIG_MAP, revision)))
    nodes = {
        _OBJECT.decode(data).metadata.name: read_node(data)
        for each in listed
        if each.kind is NODE
        for data in each.items
    }
    news = {str(ref): loaded for each in listed if each.kind is not NODE for ref, loaded in _read(reader, each, nodes)}
    return Stored(update(DesiredState(), news), tuple(_refusals(found)))


async def read_objects(api: Api, kind: Kind, namespace: str = "", name: str = "") -> list[Document]:
    """As they are stored; with `name` one, or none."""
    if not name:
        listed = await _list(api, Collection(kind, namespace))
        return [_document(kind, listed.version, data) for data in listed.items]
    for version in kind.versions:
        try:
            return [_document(kind, version, await api.read(item(kind, namespace, name, version=version)))]
        except ApiError as error:
            if error.code != 404:
                raise
    return []


def _refusals(found: Iterable[_Listed | Exception]) -> Iterator[Forbidden]:
    for each in found:
        error = each.beyond if isinstance(each, _Listed) else each
        if isinstance(error, Forbidden) and error.asked.resource != NODE.plural:
            yield error


def _collections(revision: str) -> Iterator[Collection]:
    yield from collections(revision)
    without = (kind for kind in KINDS if not kind.discovery and (kind.is_istio or kind.group == _GATEWAY_API))
    yield from (Collection(kind) for kind in (*_MAKERS, *without))


async def _list_allowed(api: Api, wanted: Collection, namespace: str) -> _Listed:
    try:
        return await _list(api, wanted)
    except Forbidden as error:
        if wanted.namespace or not namespace or not wanted.kind.namespaced:
            raise
        try:
            return replace(await _list(api, replace(wanted, namespace=namespace)), beyond=error)
        except Forbidden:
            raise error from None


async def _list(api: Api, wanted: Collection) -> _Listed:
    """In the newest version of its API that the cluster serves; none of a kind that it does not have."""
    kind = wanted.kind
    params: dict[str, Any] = {"fieldSelector": wanted.field_selector} if wanted.field_selector else {}
    for version in kind.versions:
        try:
            pages = api.pages(collection(kind, wanted.namespace, version), shape=msgspec.Raw, **params)
            return _Listed(kind, version, [bytes(each) async for page in pages for each in page.items])
        except ApiError as error:
            if error.code != 404:
                raise
    return _Listed(kind, kind.versions[0])


def _read(
    reader: Reader, listed: _Listed, nodes: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[ObjectRef, Loaded]]:
    for data in listed.items:
        metadata = _OBJECT.decode(data).metadata
        ref = listed.kind.ref(metadata.namespace, metadata.name)
        loaded = reader.read(listed.kind, ref, data, listed.version)
        if loaded is not None and listed.kind is POD:
            loaded = _owned(placed(loaded, nodes.get(node_of(loaded), {})), metadata.owner_references or ())
        if loaded is not None and listed.kind in _MAKERS:
            # The API server has checked it, and what it asks of sidecars is told of its pods.
            loaded = replace(loaded, problems=())
        if loaded is not None:
            yield ref, loaded


def _owned(loaded: Loaded, owners: tuple[OwnerReference, ...]) -> Loaded:
    """A pod with what makes it: discovery has no use for that."""
    (manifest,) = loaded.manifests
    pod = manifest.resource
    if not isinstance(pod, Pod):
        return loaded
    metadata = msgspec.structs.replace(pod.metadata, owner_references=owners)
    owned = msgspec.structs.replace(pod, metadata=metadata)
    return replace(loaded, manifests=(replace(manifest, resource=owned),))


def _document(kind: Kind, version: str, data: bytes) -> Document:
    """In a list it says no kind, and who wrote which field is nobody's matter here."""
    found: Document = msgspec.json.decode(data)
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if key != "managedFields"}
    api_version = f"{kind.group}/{version}" if kind.group else version
    return {**found, "apiVersion": api_version, "kind": kind.name, "metadata": metadata}
