"""What an authority leaves for its next start: one JSON document, for root alone.

The key of an authority that a user plugged in is not in it: it stays where the user has it.
"""

from __future__ import annotations

import msgspec

from pilotfish.identity.authority import Authority, load_all
from pilotfish.identity.domains import Domains
from pilotfish.identity.succession import Retired, Succession
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.model.struct import Frozen


class BrokenError(ValueError):
    """It is no such document; `str` says why."""


class _Authority(Frozen):
    certificate: str
    chain: str
    roots: str
    key: str = ""
    """"" of one that was plugged in."""


class _Retired(Frozen):
    roots: str
    until: float


class _Kept(Frozen):
    current: _Authority
    longest: float
    next: _Authority | None = None
    next_at: float = 0.0
    retired: tuple[_Retired, ...] = ()
    silent_until: float = 0.0
    domains: Domains | None = None


def encode(state: Succession, domains: Domains) -> bytes:
    kept = _Kept(
        current=_encoded(state.current),
        longest=state.longest,
        next=None if state.next is None else _encoded(state.next),
        next_at=state.next_at,
        retired=tuple(_Retired(roots=each.roots.decode(), until=each.until) for each in state.retired),
        silent_until=state.silent_until,
        domains=domains,
    )
    return msgspec.json.encode(kept)


def decode(content: bytes) -> tuple[Succession, Domains | None]:
    """Raises BrokenError."""
    try:
        kept = msgspec.json.decode(content, type=_Kept)
        following = None if kept.next is None else _decoded(kept.next)
        retired = tuple(Retired(_certificates(each.roots), each.until) for each in kept.retired)
        state = Succession(_decoded(kept.current), following, kept.next_at, retired, kept.longest, kept.silent_until)
        return state, kept.domains
    except ValueError as error:  # msgspec's own are such, too
        raise BrokenError(str(error)) from error


def _encoded(authority: Authority) -> _Authority:
    return _Authority(
        certificate=authority.certificate.decode(),
        chain=authority.chain.decode(),
        roots=authority.roots.decode(),
        key=reveal(authority.key).decode() if authority.is_ours else "",
    )


def _decoded(kept: _Authority) -> Authority:
    return Authority(
        _certificates(kept.certificate),
        PrivateBytes(kept.key.encode()),
        kept.chain.encode(),
        _certificates(kept.roots),
        is_ours=bool(kept.key),
    )


def _certificates(pem: str) -> bytes:
    load_all(pem.encode())
    return pem.encode()
