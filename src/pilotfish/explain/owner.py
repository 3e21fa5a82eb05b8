"""Whose a step is: the user's object, and where it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilotfish.config.manifest import Manifest
from pilotfish.envoy.message import config_path
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import KINDS

_KINDS = {kind.path: kind.name for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Owner:
    kind: str
    namespace: str
    name: str
    file: str = ""
    line: int = 0
    """0: not known."""

    def document(self) -> Mapping[str, object]:
        where = {"file": self.file, "line": self.line} if self.file else {}
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, **where}

    def __str__(self) -> str:
        return f"{self.object} {self.where}".rstrip()

    @property
    def object(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def where(self) -> str:
        """`FILE:LINE`; "" where it is not known."""
        return f"{self.file}:{self.line}" if self.file else ""


FindOwner: TypeAlias = Callable[[str], Owner | None]
"""Who a step's `owner` path is, and where it was written."""


def index_owners(manifests: Iterable[Manifest]) -> Mapping[str, Owner]:
    """By the path that resources name them by."""
    return {config_path(each.ref): _owner(each.ref, each) for each in manifests if each.ref.namespace}


def parse_owner(path: str) -> Owner | None:
    """Of the path alone: `/apis/networking.istio.io/v1/namespaces/vm/virtual-service/calculator`."""
    words = path.split("/")
    if len(words) < 5 or words[-4] != "namespaces":
        return None
    return Owner(_KINDS.get(words[-2], words[-2]), words[-3], words[-1])


def _owner(ref: ObjectRef, manifest: Manifest) -> Owner:
    source = manifest.source
    return Owner(str(ref.kind), ref.namespace, ref.name, source.file if source else "", source.line if source else 0)
