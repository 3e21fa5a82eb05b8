"""Which resources a NACK is about, from Envoy's words.

Envoy's listener and cluster managers try every resource of a response and report all that they refused, as
`Error adding/updating listener(s) NAME: WHY` (source/common/listener_manager/lds_api.cc, joined by newlines) and
`Error adding/updating cluster(s) NAME: WHY, NAME: WHY` (source/common/upstream/cds_api_impl.cc). Other types stop at
the first bad resource and mostly do not name it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.envoy.types import CLUSTER, LISTENER

_OPENINGS = {CLUSTER: "Error adding/updating cluster(s) ", LISTENER: "Error adding/updating listener(s) "}


def named_in(type_url: str, message: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names`, which were all sent in one response, that Envoy's message says were refused."""
    candidates = tuple(names)
    if len(candidates) == 1:
        return candidates
    opening = _OPENINGS.get(type_url)
    if opening is None:
        return tuple(name for name in candidates if f"'{name}'" in message or f'"{name}"' in message)
    entries = message.partition(opening)[2]
    return tuple(name for name in candidates if _opens_an_entry(entries, name))


def _opens_an_entry(entries: str, name: str) -> bool:
    opening = f"{name}: "
    return entries.startswith(opening) or any(f"{gap}{opening}" in entries for gap in (", ", "\n"))
