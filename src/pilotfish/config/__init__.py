"""One document (dict) → one typed resource, or Problems. Kubernetes and Istio kinds; no files, no cluster.

    text ─building─▶ ParsedDocument ─loading─▶ RawObject
          RawObject ─decode─▶ struct ─checks─▶ Manifest | Problems
    {file: Loaded} ─desired─▶ DesiredState: what holds, of all files together

`kubernetes` and `istio` hold the kinds as frozen structs with the API's own field names (camelCase in YAML, snake_case
here), each naming its row of `model.kinds`; `mesh` the mesh configuration. A field that a struct lacks is never dropped
unsaid: `schema` knows whether the API has it, `fields` says what follows from its being left out; any other is an
`UnknownField`. `checks` holds what a schema can't say, kind by kind.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.config.listing import ListReader
    from pilotfish.config.loading import load, load_in_pieces
    from pilotfish.config.meshconfig import load_mesh_config, proxy_config

__all__ = ["ListReader", "load", "load_in_pieces", "load_mesh_config", "proxy_config"]

_HOMES = {
    "ListReader": "listing",
    "load": "loading",
    "load_in_pieces": "loading",
    "load_mesh_config": "meshconfig",
    "proxy_config": "meshconfig",
}


def __getattr__(name: str) -> object:
    """The reader is imported when it is first asked for: processes that only use the kinds need no YAML."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
