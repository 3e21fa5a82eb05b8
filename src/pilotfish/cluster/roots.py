"""Whom to trust, in each namespace: the ConfigMap by which agents know discovery, and apps each other.

    namespaces, ConfigMaps, roots ─due─▶ those that are to be written; ─foreign─▶ those that are not ours to write

Source: https://istio.io/latest/docs/ops/best-practices/security/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pilotfish.model import Problem
from pilotfish.model.kinds import CONFIG_MAP
from pilotfish.model.wellknown import MANAGED_BY, PILOTFISH, ROOT_CONFIG_MAP

KEY: Final = "root-cert.pem"
IGNORED: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces of Kubernetes' own, in which, as in Istio, nothing is part of a mesh."""
_MANAGED: Final = (MANAGED_BY, PILOTFISH)
"""What ours are labelled with, as all that an installation makes."""


class _Metadata(msgspec.Struct):
    labels: dict[str, str] | None = None
    deletion: str | None = msgspec.field(name="deletionTimestamp", default=None)


class _NamespaceStatus(msgspec.Struct):
    phase: str = ""


class Namespace(msgspec.Struct):
    metadata: _Metadata
    status: _NamespaceStatus | None = None

    @property
    def is_ending(self) -> bool:
        return self.metadata.deletion is not None or (self.status is not None and self.status.phase == "Terminating")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels or {}


class RootMap(msgspec.Struct):
    """The ConfigMap of one namespace."""

    metadata: _Metadata
    data: dict[str, str] | None = None

    @property
    def is_ours(self) -> bool:
        key, value = _MANAGED
        return (self.metadata.labels or {}).get(key) == value


@dataclass(frozen=True, slots=True)
class Wanted:
    roots: str
    """PEM."""
    namespaces: tuple[str, ...]
    """Of those that are there, the ones that are to have it."""


def due(wanted: Wanted, there: Mapping[str, RootMap]) -> Iterator[str]:
    """The namespaces in which it is missing, or is not as it should be."""
    for namespace in wanted.namespaces:
        found = there.get(namespace)
        if found is None or (found.is_ours and (found.data or {}).get(KEY) != wanted.roots):
            yield namespace


def foreign(wanted: Wanted, there: Mapping[str, RootMap]) -> Iterator[Problem]:
    for namespace in wanted.namespaces:
        found = there.get(namespace)
        if found is not None and not found.is_ours and (found.data or {}).get(KEY) != wanted.roots:
            key, value = _MANAGED
            yield Problem(
                CONFIG_MAP.ref(namespace, ROOT_CONFIG_MAP),
                f"data[{KEY}]",
                "ForeignRoots",
                "it is another program's and holds other roots, so that pods of this namespace do not trust this mesh: "
                f"take that program away, or hand it over by the label {key}: {value}",
            )


def document(namespace: str, roots: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ROOT_CONFIG_MAP, "namespace": namespace, "labels": dict(labels)},
        "data": {KEY: roots},
    }


def chosen(namespaces: Iterable[tuple[str, Namespace]]) -> Iterator[str]:
    """The ones in which anything can be, and is, made."""
    return (name for name, each in namespaces if not each.is_ending and name not in IGNORED)
