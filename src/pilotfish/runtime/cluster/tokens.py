"""Whose a service-account token is: the API server says it, and its keys do while it is away.

    token ─glance─▶ cache ─▶ TokenReview ─▶ Claims
                               └─ no answer ─▶ the API server's public keys, fetched before ─▶ Claims

The API server also knows that a pod or an account is gone. While it is away discovery's own knowledge of the pod, which
the caller is held against in any case, is as good as the API server's was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pilotfish.config.checks.request_authentication import parse_keys
from pilotfish.identity.jwks import public_keys
from pilotfish.identity.reviews import PATH, build_review, read_review
from pilotfish.identity.tokens import AUDIENCE, Claims, RefusedTokenError, glance, verify
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.discovery.callers import UnansweredError
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_AUDIENCES: Final = frozenset((AUDIENCE,))
_TIMEOUT: Final = 2.0
"""Seconds for a review: an agent waits five for its certificate."""
_AWAY: Final = 5.0
"""Seconds for which the API server is not asked after it gave no answer."""
_GOOD: Final = 60.0
"""Seconds for which an answer is believed: an agent that failed for another reason comes again soon."""
_BAD: Final = 5.0
_MOST_KEPT: Final = 4096
_MOST_AT_A_TIME: Final = 16
_REFRESH: Final = 600.0
"""Seconds between looks at the keys."""
_RETRY: Final = (1.0, 60.0)
_KEYS: Final = "/openid/v1/jwks"


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    claims: Claims | None
    refusal: str = ""


class Reviews:
    """Implements `callers.Tokens`. `run` it, so that there are keys when they are needed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._keys: tuple[bytes, ...] = ()
        self._answers: dict[bytes, _Answer] = {}
        self._places = asyncio.Semaphore(_MOST_AT_A_TIME)
        self._away_until = 0.0
        self._said = ""

    @property
    def has_keys(self) -> bool:
        """Tokens can be checked while the API server is away."""
        return bool(self._keys)

    async def verify(self, token: str) -> Claims:
        """Raises RefusedTokenError, and UnansweredError while nobody can tell."""
        expires = glance(token, _AUDIENCES, time.time())
        digest = sha256(token.encode()).digest()
        known = self._answers.get(digest)
        if known is None or known.until <= time.monotonic():
            async with self._places:
                known = await self._ask(token, expires)
            self._keep(digest, known)
        if known.claims is None:
            raise RefusedTokenError(known.refusal)
        return known.claims

    async def run(self) -> None:
        """Fetch the keys, again and again."""
        first, most = _RETRY
        pause = first
        while True:
            try:
                text = (await self._api.read(_KEYS)).decode(errors="replace")
                self._keys = public_keys(parse_keys(text) or ()) or self._keys
            except MachineError as error:
                self._say(f"the API server's keys can't be had, so that no token is taken while it is away: {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, most)
                continue
            pause = first
            await asyncio.sleep(_REFRESH)

    async def _ask(self, token: str, expires: float) -> _Answer:
        now = time.monotonic()
        if now < self._away_until:
            return self._by_keys(token)
        try:
            answer = await self._api.send("POST", PATH, build_review(token), timeout=_TIMEOUT)
            claims = read_review(answer if isinstance(answer, dict) else {})
        except RefusedTokenError as error:
            return _Answer(now + _BAD, None, str(error))
        except MachineError as error:
            self._away_until = time.monotonic() + _AWAY
            self._say(f"tokens are checked by the API server's keys alone: {error}")
            return self._by_keys(token)
        self._said = ""
        return _Answer(now + min(_GOOD, expires - time.time()), claims)

    def _by_keys(self, token: str) -> _Answer:
        """Not kept: it is to be asked when it is back."""
        if not self._keys:
            raise UnansweredError("the API server is away, and its keys are not known yet")
        try:
            return _Answer(0.0, verify(token, self._keys, _AUDIENCES, time.time()))
        except RefusedTokenError as error:
            return _Answer(0.0, None, str(error))

    def _keep(self, digest: bytes, answer: _Answer) -> None:
        now = time.monotonic()
        if answer.until <= now:
            return
        if len(self._answers) >= _MOST_KEPT:
            self._answers = {key: each for key, each in self._answers.items() if each.until > now}
        if len(self._answers) >= _MOST_KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[digest] = answer

    def _say(self, text: str) -> None:
        if text != self._said:
            _log.warning("%s", text)
        self._said = text
