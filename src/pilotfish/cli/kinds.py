"""What can be listed, by the words that a user has for it: all kinds of objects, and three that no manifest holds."""

from __future__ import annotations

from pilotfish.cli.failure import Failure
from pilotfish.model import Kind
from pilotfish.model.kinds import SUPPORTED

PROXY = Kind("Proxy", "proxies", shorts=("px",))
MESH = Kind("Mesh", "meshes")
PROBLEM = Kind("Problem", "problems")
OWN = (PROXY, MESH, PROBLEM)
KINDS = (*SUPPORTED, *OWN)


def find_kind(word: str) -> Kind:
    """By any of its names, in any case, with or without its group. Raises Failure for an unknown one."""
    plain, _, group = word.lower().partition(".")
    found = next((kind for kind in KINDS if plain in kind.words and _is_group(group, kind.group)), None)
    if found is None:
        known = ", ".join(kind.plural for kind in KINDS)
        raise Failure(f'the mesh doesn\'t have a resource type "{word}"; it has: {known}')
    return found


def _is_group(written: str, group: str) -> bool:
    """The whole group, its beginning (`networking`), or a version before it (`v1.apps`); "" is any."""
    version, _, rest = written.partition(".")
    return f"{group}.".startswith(f"{written}.") or not written or (version[:1] == "v" and rest == group)
