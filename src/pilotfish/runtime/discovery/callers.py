"""Who asks discovery, by what they show: the certificate of their TLS connection, or a token in the call's metadata."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pilotfish.discovery.admission import Caller, Reason, Refusal
from pilotfish.discovery.plane import ControlPlane
from pilotfish.identity.tokens import AUDIENCE, OPERATOR, Claims, RefusedTokenError, check_public_key, verify
from pilotfish.model.identity import Identity
from pilotfish.runtime.discovery.front import Front

_AUDIENCES = frozenset((AUDIENCE, OPERATOR))
_BEARER = "Bearer "


class NotServedError(Exception):
    """Who asks is not, or no longer, served."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class UnansweredError(Exception):
    """Whose a token is can't be told just now; `str` says why."""


class Tokens(Protocol):
    """Who knows whose a token is."""

    async def verify(self, token: str) -> Claims:
        """Raises RefusedTokenError, and UnansweredError."""
        ...


class TokenKeys:
    """The public keys of who makes tokens, from files that may come, and change, while we run."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._read: dict[Path, tuple[int, bytes]] = {}

    async def verify(self, token: str) -> Claims:
        return verify(token, self.load(), _AUDIENCES, time.time())

    def load(self) -> tuple[bytes, ...]:
        """PEM each; a file that is missing, or holds no such key, is none."""
        return tuple(key for path in self._paths if (key := self._load(path)))

    def _load(self, path: Path) -> bytes:
        try:
            stamp = path.stat().st_mtime_ns
            if self._read.get(path, (0, b""))[0] != stamp:
                content = path.read_bytes()
                check_public_key(content)
                self._read[path] = (stamp, content)
        except (OSError, ValueError):
            self._read.pop(path, None)
        return self._read.get(path, (0, b""))[1]


class Callers:
    def __init__(self, plane: ControlPlane, front: Front | None, tokens: Tokens) -> None:
        self._plane = plane
        self._front = front
        self._tokens = tokens

    def host(self, peer: str) -> str:
        """Where it comes from; "" of who came past the front."""
        caller = Caller(peer) if self._front is None else self._front.caller(peer)
        return caller.host if caller is not None else ""

    def hang_up(self, peer: str) -> None:
        """Whoever was refused for what its connection proves is to prove it anew."""
        if self._front is not None:
            self._front.hang_up(peer)

    async def prove(
        self, peer: str, metadata: Iterable[tuple[str, str | bytes]] | None
    ) -> tuple[Caller, Claims | None]:
        """(who it is, what its token says). Raises NotServedError for a token that is none; whether it is this caller's
        is for `entitle` to say.

        In plaintext a token counts for nothing: whoever is on the way could take it.
        """
        caller = Caller(peer) if self._front is None else self._front.caller(peer)
        if caller is None:
            raise NotServedError(Refusal(Reason.IDENTITY, "this is no way in"))
        token = _token(metadata) if caller.secure else ""
        if not token:
            return caller, None
        try:
            claims = await self._tokens.verify(token)
        except RefusedTokenError as error:
            raise NotServedError(Refusal(Reason.IDENTITY, f"the token is refused: {error}")) from error
        except UnansweredError as error:
            raise NotServedError(Refusal(Reason.UNPROVEN, f"the token can't be checked: {error}")) from error
        if claims.is_operator:
            return caller, claims
        identity = Identity(self._plane.trust_domain, claims.namespace, claims.account)
        return replace(caller, identity=identity, pod=claims.pod), claims

    def entitle(self, caller: Caller, claims: Claims | None) -> Refusal | None:
        """Why who shows this token is not taken for whose it is."""
        return self._plane.entitle(claims, caller.host) if claims is not None else None


def _token(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    for key, value in metadata or ():
        text = value if isinstance(value, str) else value.decode(errors="replace")
        if key == "authorization" and text.startswith(_BEARER):
            return text.removeprefix(_BEARER)
    return ""
