"""Meshes of drawn objects, and what every proxy in them is sent: by the same door as users' files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from hypothesis import strategies as st

from pilotfish.envoy.values import ResourceSet
from pilotfish.model import Proxy, kinds
from pilotfish.model.proxy import ProxyType
from pilotfish.offline.reading import read
from pilotfish.offline.world import World, build
from tests.fuzz.objects import Document, right_mesh_configs, right_objects
from tests.fuzz.words import LABELS

BASE: Sequence[Document] = tuple(yaml.safe_load_all((Path(__file__).parent / "base.yaml").read_text()))
"""What the drawn objects speak of: it stands in each world, unless a drawn one has its name."""
_CLUSTER_WIDE = (kinds.NAMESPACE.name, kinds.INGRESS_CLASS.name)
"""Of these kinds a namespace that is written is not looked at."""
_LABELS = {key: values[0] for key, values in LABELS.items()}
GATEWAY = Proxy.of_pod("gateway", "istio-system", ("10.244.9.9",), labels=_LABELS, type=ProxyType.ROUTER)


@dataclass(frozen=True)
class Written:
    """What a user may have written."""

    objects: tuple[Document, ...]
    mesh_config: Document = field(default_factory=dict)

    def world(self) -> World:
        texts = [("in.yaml", json.dumps({"apiVersion": "v1", "kind": "List", "items": self.objects}))]
        return build(read(texts, mesh_config=("mesh.yaml", json.dumps(self.mesh_config))))


@st.composite
def worlds(draw: st.DrawFn) -> Written:
    """Everything in it is right by itself."""
    drawn = draw(st.lists(right_objects(), min_size=4, max_size=9))
    named = {_name(document): document for document in (*BASE, *drawn) if document}
    config = draw(st.one_of(st.just({}), right_mesh_configs()))
    return Written(tuple(named.values()), config)


def hold(written: Written, check: Callable[[Written], object]) -> None:
    """That the check does not raise. If it does, this tells of as few objects as will do: hypothesis takes minutes."""
    try:
        check(written)
    except Exception as error:
        for document in written.objects:
            fewer = replace(written, objects=tuple(other for other in written.objects if other is not document))
            written = fewer if _raises(fewer, check) else written
        raise AssertionError(f"{written}") from error


def _raises(written: Written, check: Callable[[Written], object]) -> bool:
    try:
        check(written)
    except Exception:
        return True
    return False


def _name(document: Document) -> tuple[str, str, str]:
    kind, metadata = document["kind"], document["metadata"]
    return kind, "" if kind in _CLUSTER_WIDE else metadata.get("namespace", ""), metadata["name"]


def proxies(world: World) -> Iterator[Proxy]:
    yield from world.proxies.values()
    yield GATEWAY


def sent(world: World) -> Mapping[str, ResourceSet]:
    """Proxy → what it is sent."""
    assert world.mesh.untaken == {}
    return {proxy.id: world.mesh.resources(proxy) for proxy in proxies(world)}
