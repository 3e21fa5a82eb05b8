"""Which resources a NACK is about, from Envoy's words.

Envoy's listener and cluster managers try every resource of a response and report all that they refused, as
`Error adding/updating cluster(s) NAME: WHY, NAME: WHY`. Other types stop at the first bad resource and mostly do not
name it. `XdsType.refusal` says which is which.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.envoy.types import XdsType


def named_in(kind: XdsType, message: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names`, which were all sent in one response, that Envoy's message says were refused."""
    candidates = tuple(names)
    if len(candidates) == 1:
        return candidates
    if not kind.refusal:
        return tuple(name for name in candidates if f"'{name}'" in message or f'"{name}"' in message)
    entries = message.partition(kind.refusal)[2]
    return tuple(name for name in candidates if _opens_an_entry(entries, name))


def _opens_an_entry(entries: str, name: str) -> bool:
    opening = f"{name}: "
    return entries.startswith(opening) or any(f"{gap}{opening}" in entries for gap in (", ", "\n"))
