"""The List that discovery reads, in JSON. What did not change since the last time is not rendered again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pilotfish.model import ObjectRef
from pilotfish.node.document import PodRecord, render_pod, render_told, told_refs
from pilotfish.node.store import Store, Stored

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Rendered:
    items: bytes
    """A JSON array."""
    failed: Mapping[ObjectRef, Exception]
    """What can't be told, and is left out."""


class ListWriter:
    """One reader's."""

    def __init__(self) -> None:
        self._seen: tuple[Store, Mapping[ObjectRef, str]] | None = None
        self._objects: dict[ObjectRef, tuple[Stored, str, bytes | Exception]] = {}
        self._joined = b""
        self._pods: dict[ObjectRef, tuple[PodRecord, bytes | Exception]] = {}

    def write(self, store: Store, cluster_ips: Mapping[ObjectRef, str], pods: Iterable[PodRecord]) -> Rendered:
        """In the order of the refs, pods last."""
        if self._seen is None or self._seen[0] is not store or self._seen[1] is not cluster_ips:
            self._seen = store, cluster_ips
            self._write_objects(store, cluster_ips)
        self._write_pods(pods)
        told = [self._joined, *(text for _, text in self._pods.values() if isinstance(text, bytes))]
        failed = {ref: error for ref, (_, _, error) in self._objects.items() if isinstance(error, Exception)}
        failed |= {ref: error for ref, (_, error) in self._pods.items() if isinstance(error, Exception)}
        return Rendered(b"[" + b",".join(text for text in told if text) + b"]", failed)

    def _write_objects(self, store: Store, cluster_ips: Mapping[ObjectRef, str]) -> None:
        known, self._objects = self._objects, {}
        for ref in told_refs(store, cluster_ips):
            stored, ip = store.objects[ref], cluster_ips.get(ref, "")
            had = known.get(ref)
            same = had is not None and had[0] is stored and had[1] == ip
            self._objects[ref] = had if had is not None and same else (stored, ip, _encode_object(stored, cluster_ips))
        texts = (text for _, _, text in self._objects.values())
        self._joined = b",".join(text for text in texts if isinstance(text, bytes))

    def _write_pods(self, pods: Iterable[PodRecord]) -> None:
        known, self._pods = self._pods, {}
        for pod in sorted(pods, key=lambda each: each.identity.ref):
            ref = pod.identity.ref
            had = known.get(ref)
            self._pods[ref] = had if had is not None and _is_same(had[0], pod) else (pod, _encode_pod(pod))


def _is_same(one: PodRecord, other: PodRecord) -> bool:
    return one.identity is other.identity and one == other


def _encode_object(stored: Stored, cluster_ips: Mapping[ObjectRef, str]) -> bytes | Exception:
    try:
        return _ENCODER.encode(render_told(stored, cluster_ips))
    except Exception as error:  # a text that is no Unicode, or a bug: it stays with the object
        return error


def _encode_pod(pod: PodRecord) -> bytes | Exception:
    try:
        return _ENCODER.encode(render_pod(pod))
    except Exception as error:
        return error
