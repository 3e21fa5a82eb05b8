"""How users name a pod, or what has the pod that they mean: `[KIND/]NAME[.NAMESPACE]`. Pure.

webapp-0   webapp-0.vm   pod/webapp-0   deploy/calculator-v1   deployments.apps/calculator-v1.vm   svc/calculator
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilotfish.model.kind import Kind
from pilotfish.model.kinds import KINDS, POD, SERVICE

_KINDS: Final = (POD, SERVICE, *(kind for kind in KINDS if kind.group in ("apps", "batch")))
_WORDS: Final = {word: kind for kind in _KINDS for word in (*kind.words, kind.qualified, kind.qualified_plural)}


@dataclass(frozen=True, slots=True)
class Target:
    kind: Kind | None
    """None where it is not said."""
    name: str
    """As it was written, without the kind."""
    readings: tuple[tuple[str, str], ...]
    """(namespace, name), the likeliest first: a dot may be part of a name, or stand before a namespace."""


def parse_target(text: str, namespace: str) -> Target | None:
    """`namespace`: of a name that says none. None for what names nothing that has pods."""
    word, slash, name = text.rpartition("/")
    kind = _WORDS.get(word.lower())
    if not name or (slash and kind is None):
        return None
    head, dot, tail = name.rpartition(".")
    return Target(kind, name, ((namespace, name), (tail, head)) if dot else ((namespace, name),))
