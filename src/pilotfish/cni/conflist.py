"""The network configuration of a node's container runtime, with a plugin chained into it or taken out.

    {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge", ...}, {"type": "pilotfish-cni", ...}]}

Everybody else's part stays as it is. Of several files a runtime uses the first by name that it can read.
Source: https://www.cni.dev/docs/spec/#section-1-network-configuration-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PLUGIN: Final = "pilotfish-cni"
"""The program's name, by which a configuration calls for it."""
_SINGLE: Final = (".conf", ".json")
_LIST: Final = ".conflist"
SUFFIXES: Final = (*_SINGLE, _LIST)


@dataclass(frozen=True, slots=True)
class Change:
    """One file to write, and perhaps one that it takes the place of."""

    name: str
    text: str
    replaces: str = ""


def choose(files: Mapping[str, str]) -> str | None:
    """The name of the one that the runtime uses; None if there is none yet. `files`: texts by name."""
    return next((name for name in sorted(files) if _read(name, files[name]) is not None), None)


def chain(name: str, text: str, plugin: Mapping[str, Any]) -> Change | None:
    """What makes `plugin` the last of those in the file; None if it is so already."""
    found = _read(name, text)
    if found is None:
        return None
    others = [each for each in found["plugins"] if each.get("type") != PLUGIN]
    wanted = {**found, "plugins": [*others, dict(plugin)]}
    listed = _listed_name(name)
    if listed == name and wanted == found:
        return None
    return Change(listed, _write(wanted), "" if listed == name else name)


def unchain(name: str, text: str) -> Change | None:
    """What takes every plugin of ours out of the file; None if there is none in it."""
    found = _read(name, text)
    if found is None:
        return None
    others = [each for each in found["plugins"] if each.get("type") != PLUGIN]
    if len(others) == len(found["plugins"]):
        return None
    return Change(name, _write({**found, "plugins": others}))


def is_chained(name: str, text: str) -> bool:
    return unchain(name, text) is not None


def build_plugin(socket: str, excluded: Sequence[str]) -> dict[str, Any]:
    """`excluded`: namespaces whose pods start though the node's process does not answer."""
    return {"type": PLUGIN, "socket": socket, "excludeNamespaces": list(excluded)}


def _read(name: str, text: str) -> dict[str, Any] | None:
    """A list of plugins, which a single one is made to be; None for what no runtime would take."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    if name.endswith(_SINGLE) and isinstance(found.get("type"), str):
        shared = {key: found[key] for key in ("cniVersion", "name") if key in found}
        return {**shared, "plugins": [{key: value for key, value in found.items() if key not in shared}]}
    plugins = found.get("plugins")
    is_list = name.endswith(_LIST) and isinstance(plugins, list) and bool(plugins)
    return found if is_list and all(isinstance(each, dict) for each in plugins or ()) else None


def _listed_name(name: str) -> str:
    stem = next((name.removesuffix(suffix) for suffix in _SINGLE if name.endswith(suffix)), None)
    return name if stem is None else f"{stem}{_LIST}"


def _write(document: dict[str, Any]) -> str:
    return f"{json.dumps(document, indent=2)}\n"
