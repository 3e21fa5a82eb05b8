"""Responses, put together from already serialised resources without building a message.

Concatenating fields is serialising: a repeated field may stand anywhere among the others.
Source: https://protobuf.dev/programming-guides/encoding/ and envoy/service/discovery/v3/discovery.proto
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pilotfish.envoy.types import xds_type
from pilotfish.envoy.wire import field, field_head
from pilotfish.model.private import reveal

if TYPE_CHECKING:
    from pilotfish.envoy.values import Resource


class Payload:
    """One response, shared by all streams that are due the same. Its bytes are made when they are first wanted."""

    __slots__ = ("__weakref__", "_bytes", "_delta", "_version", "nonce", "removed", "resources", "type_url")

    def __init__(
        self,
        delta: bool,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        version: str,
        nonce: str,
    ) -> None:
        self.type_url = type_url
        self.resources = resources
        self.removed = removed
        self.nonce = nonce
        self._delta = delta
        self._version = version
        self._bytes: bytes | None = None

    def encode(self) -> bytes:
        """A DeltaDiscoveryResponse, or a DiscoveryResponse, serialised."""
        if self._bytes is None:
            self._bytes = b"".join(self._delta_parts() if self._delta else self._world_parts())
        return self._bytes

    def _revealed(self) -> Iterable[Resource]:
        """Who is sent a secret is to read it."""
        if not xds_type(self.type_url).sensitive:
            return self.resources
        return [replace(r, version=reveal(r.version), body=reveal(r.body)) for r in self.resources]

    def _delta_parts(self) -> Iterator[bytes]:
        for resource in self._revealed():
            yield _delta_head(self.type_url, resource.name, resource.version, len(resource.body))
            yield resource.body
        yield _text(4, self.type_url)
        yield _text(5, self.nonce)
        for name in self.removed:
            yield _text(6, name)

    def _world_parts(self) -> Iterator[bytes]:
        yield _text(1, self._version)
        for resource in self._revealed():
            yield _world_head(self.type_url, len(resource.body))
            yield resource.body
        yield _text(4, self.type_url)
        yield _text(5, self.nonce)


class Payloads:
    """Makes responses; streams that are due the same at the same time get the same one.

    A response is forgotten once the last stream has written it: at rest nothing is kept.
    """

    __slots__ = ("_alive", "_nonces")

    def __init__(self) -> None:
        self._alive: WeakValueDictionary[tuple[object, ...], Payload] = WeakValueDictionary()
        self._nonces = count(1)

    def make(
        self,
        delta: bool,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...] = (),
        version: str = "",
        not_nonce: str = "",
    ) -> Payload:
        """`version` is for the state of the world alone. `not_nonce`: the nonce that this stream got last."""
        # By identity: hashing thousands of resources by value would cost more than it saves. A living payload holds
        # its resources, so that no identity is used twice.
        key = (delta, type_url, version, tuple(map(id, resources)), removed)
        payload = self._alive.get(key)
        if payload is None or payload.nonce == not_nonce:
            payload = Payload(delta, type_url, resources, removed, version, f"{next(self._nonces):x}")
            self._alive[key] = payload
        return payload


@lru_cache(maxsize=1 << 15)
def _delta_head(type_url: str, name: str, version: str, size: int) -> bytes:
    """All of a DeltaDiscoveryResponse's `resources` entry but the body, which comes last."""
    anything = _any_head(type_url, size)
    inner = _text(3, name) + _text(1, version) + field_head(2, len(anything) + size) + anything
    return field_head(2, len(inner) + size) + inner


@lru_cache(maxsize=1 << 10)
def _world_head(type_url: str, size: int) -> bytes:
    anything = _any_head(type_url, size)
    return field_head(2, len(anything) + size) + anything


def _any_head(type_url: str, size: int) -> bytes:
    return _text(1, type_url) + field_head(2, size)


def _text(number: int, text: str) -> bytes:
    return field(number, text.encode())
