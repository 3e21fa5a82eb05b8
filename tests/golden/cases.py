"""How a case's `in.yaml` is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pilotfish.config import load
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType

CASES = Path(__file__).parent
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))


def read_case(path: Path) -> tuple[Proxy, Graph, tuple[Any, ...]]:
    """Who asks, a graph with all inputs, and the problems of single objects."""
    documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    asking = next(d["proxy"] for d in documents if "proxy" in d)
    config: Mapping[str, Any] = next((d["mesh"] for d in documents if "mesh" in d), {})
    objects = [d for d in documents if "kind" in d]
    assert len(objects) + 1 + bool(config) == len(documents), "a document is no object, no proxy and no mesh"
    loaded = load(yaml.safe_dump_all(objects, sort_keys=False), "in.yaml", "vm")
    mesh_config, faults = load_mesh_config(yaml.safe_dump(config), "mesh.yaml")
    assert mesh_config is not None
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    inputs.apply_mesh_config(graph, mesh_config)
    proxy = Proxy.of_pod(
        asking["name"],
        asking["namespace"],
        tuple(asking["addresses"]),
        labels=asking["labels"],
        type=ProxyType(asking.get("type", "sidecar")),
    )
    told = {name: asking.get(name, False) for name in ("certified", "discovers_itself")}
    proxy = replace(proxy, **told)
    return proxy, graph, (*faults, *loaded.problems)
