"""What a leader keeps as it should be, whoever changes it: root certificates in namespaces and webhook configurations.

    Reflector ─▶ what there is ─┐
    roots, selectors ───────────┴─▶ what is to be written ─▶ API server, 20 a second at the most

What is written comes back as what there is; so nothing is written twice, and what somebody else changes is mended.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from pilotfish.cluster import roots, webhooks
from pilotfish.cluster.events import COMPONENT
from pilotfish.cluster.paths import item
from pilotfish.cluster.roots import Namespace, RootMap, Wanted
from pilotfish.cluster.webhooks import Configuration
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import CONFIG_MAP, NAMESPACE, kind_named
from pilotfish.model.wellknown import ROOT_CONFIG_MAP
from pilotfish.runtime.cluster.api import APPLY, JSON_PATCH
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.cluster.leader import Acting, beside
from pilotfish.runtime.cluster.reflector import Collection, Reflector, Served
from pilotfish.runtime.discovery.notice import Notice

_log = logging.getLogger(__name__)
_EACH: Final = 0.05
"""Seconds between two writes: 1,000 namespaces have new roots within 50 s, before anything is signed below them."""
_AGAIN: Final = 1.0
"""Seconds until what was written is looked at again: who changes it without end is not raced."""
_ADMISSION: Final = "admissionregistration.k8s.io"
_CONFIGURATIONS: Final = tuple(
    kind_named(f"{prefix}WebhookConfiguration", _ADMISSION) for prefix in ("Mutating", "Validating")
)


class Kept(ABC):
    """One thing of which there are many."""

    collections: tuple[Collection, ...]

    def __init__(self, roots_now: Callable[[], bytes], moved: Notice) -> None:
        """`roots_now`: PEM. `moved` wakes when they may be others."""
        self._roots = roots_now
        self._moved = moved
        self._woken = asyncio.Event()
        self._reflectors: tuple[Reflector, ...] = ()
        self._said: frozenset[str] = frozenset()
        """Troubles that the log has."""

    async def lead(self, acting: Acting) -> None:
        self._forget()
        served = Served()
        self._reflectors = tuple(
            Reflector(acting.api, each, served, self._see, self._woken.set) for each in self.collections
        )
        async with beside(self._wake(), *(each.run() for each in self._reflectors)):
            while True:
                await self._woken.wait()
                self._woken.clear()
                self._note_trouble()
                if all(each.is_settled for each in self._reflectors):
                    for ref in tuple(self._due()):
                        await self._try(acting, ref)
                        await asyncio.sleep(_EACH)
                await asyncio.sleep(_AGAIN)

    def _note_trouble(self) -> None:
        found = frozenset(str(each.trouble.error) for each in self._reflectors if each.trouble is not None)
        for text in found - self._said:
            _log.warning("%s", text)
        self._said = found

    async def _wake(self) -> None:
        while True:
            await self._moved.next()
            self._woken.set()

    async def _try(self, acting: Acting, ref: ObjectRef) -> None:
        try:
            await self._write(acting, ref)
        except ApiError as error:
            # Gone, ending or changed meanwhile: that is told by what is followed.
            if error.code not in (404, 409, 422) and "being terminated" not in error.said:
                raise

    def _see(self, ref: ObjectRef, data: bytes | None, version: str) -> None:
        self._take(ref, data)
        self._woken.set()

    @abstractmethod
    def _forget(self) -> None: ...
    @abstractmethod
    def _take(self, ref: ObjectRef, data: bytes | None) -> None: ...
    @abstractmethod
    def _due(self) -> Iterable[ObjectRef]: ...
    @abstractmethod
    async def _write(self, acting: Acting, ref: ObjectRef) -> None: ...


class RootMaps(Kept):
    """The ConfigMap `istio-ca-root-cert` of each namespace."""

    collections = (Collection(NAMESPACE), Collection(CONFIG_MAP, field_selector=f"metadata.name={ROOT_CONFIG_MAP}"))

    def __init__(
        self,
        roots_now: Callable[[], bytes],
        moved: Notice,
        labels: Mapping[str, str],
        is_selected: Callable[[str, Mapping[str, str]], bool],
    ) -> None:
        """`is_selected`: whether the mesh takes notice of a namespace, by its name and labels."""
        super().__init__(roots_now, moved)
        self._labels = labels
        self._is_selected = is_selected
        self._namespaces: dict[str, Namespace] = {}
        self._maps: dict[str, RootMap] = {}

    def problems(self) -> tuple[Problem, ...]:
        """Those that are not ours."""
        return tuple(roots.foreign(self._wanted(), self._maps))

    def _wanted(self) -> Wanted:
        names = roots.chosen(self._namespaces.items())
        chosen = tuple(name for name in names if self._is_selected(name, self._namespaces[name].labels))
        return Wanted(self._roots().decode(), chosen)

    def _forget(self) -> None:
        self._namespaces, self._maps = {}, {}

    def _take(self, ref: ObjectRef, data: bytes | None) -> None:
        if ref.kind is NAMESPACE:
            _set(self._namespaces, ref.name, data, Namespace)
        else:
            _set(self._maps, ref.namespace, data, RootMap)

    def _due(self) -> Iterable[ObjectRef]:
        return (CONFIG_MAP.ref(namespace, ROOT_CONFIG_MAP) for namespace in roots.due(self._wanted(), self._maps))

    async def _write(self, acting: Acting, ref: ObjectRef) -> None:
        found = self._maps.get(ref.namespace)
        wanted = roots.document(ref.namespace, self._roots().decode(), self._labels)
        # One that has come meanwhile, and is somebody else's, is not taken over.
        force = found is not None and found.is_ours
        path = item(CONFIG_MAP, ref.namespace, ref.name)
        await acting.send("PATCH", path, wanted, content_type=APPLY, fieldManager=COMPONENT, force=force)


class WebhookBundles(Kept):
    """`caBundle` in the webhook configurations of this revision, and of its tags."""

    collections = tuple(map(Collection, _CONFIGURATIONS))

    def __init__(self, roots_now: Callable[[], bytes], moved: Notice, labels: Mapping[str, str]) -> None:
        """`labels`: of the configurations."""
        super().__init__(roots_now, moved)
        self._labels = labels
        self._found: dict[ObjectRef, Configuration] = {}

    def _forget(self) -> None:
        self._found = {}

    def _take(self, ref: ObjectRef, data: bytes | None) -> None:
        _set(self._found, ref, data, Configuration)

    def _due(self) -> Iterable[ObjectRef]:
        bundle = self._roots()
        return (ref for ref, found in self._found.items() if found.has(self._labels) and webhooks.patch(found, bundle))

    async def _write(self, acting: Acting, ref: ObjectRef) -> None:
        found = self._found.get(ref)
        if found is not None:
            change = webhooks.patch(found, self._roots())
            await acting.send("PATCH", item(ref.kind, "", ref.name), list(change), content_type=JSON_PATCH)


def _set(held: dict[Any, Any], key: object, data: bytes | None, shape: Any) -> None:
    if data is None:
        held.pop(key, None)
    else:
        held[key] = msgspec.json.decode(data, type=shape)
