"""What can be listed, by the words that a user has for it: all kinds of objects, those that a cluster would make by
itself, and three of the mesh's own."""

from __future__ import annotations

from pilotfish.cli.failure import Failure
from pilotfish.model import Kind
from pilotfish.model.kinds import COMPUTED, POD, SERVICE, SUPPORTED, UNSUPPORTED

PROXY = Kind("Proxy", "proxies", shorts=("px",))
MESH = Kind("Mesh", "meshes")
PROBLEM = Kind("Problem", "problems")
OWN = (PROXY, MESH, PROBLEM)
STORED = tuple(dict.fromkeys((*SUPPORTED, *COMPUTED)))
"""Those of which the mesh has documents."""
KINDS = (*STORED, *OWN)
ALL = (POD, SERVICE, *(kind for kind in STORED if kind.group in ("apps", "batch")))
"""What `all` means: as in kubectl what runs, and not what says how."""
READ_ONLY = frozenset({*OWN, *(kind for kind in COMPUTED if kind not in SUPPORTED)})
"""Nobody applies, changes or deletes one."""


def find_kinds(word: str) -> tuple[Kind, ...]:
    """As `find_kind`; `all` is several."""
    return ALL if word.lower() == "all" else (find_kind(word),)


def find_kind(word: str) -> Kind:
    """By any of its names, in any case, with or without its group. Raises Failure for an unknown one."""
    plain, _, group = word.lower().partition(".")
    found = next((kind for kind in KINDS if plain in kind.words and _is_group(group, kind.group)), None)
    if found is None:
        raise Failure(f'the mesh doesn\'t have a resource type "{word}"{_hint(plain)}')
    return found


def _hint(word: str) -> str:
    """The nearest; what is known and has no effect is called so."""
    from difflib import get_close_matches

    unused = next((kind for kind in UNSUPPORTED if word in kind.words and kind.without_effect), None)
    if unused is not None and unused.without_effect is not None:
        return f": {unused} {unused.without_effect.message}"
    close = get_close_matches(word, [each for kind in KINDS for each in kind.words], n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else f"; it has: {', '.join(kind.plural for kind in KINDS)}"


def _is_group(written: str, group: str) -> bool:
    """The whole group, its beginning (`networking`), or a version before it (`v1.apps`); "" is any."""
    version, _, rest = written.partition(".")
    return f"{group}.".startswith(f"{written}.") or not written or (version[:1] == "v" and rest == group)
