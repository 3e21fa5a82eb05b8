"""One pod's certificate: asked for, served to its Envoy, renewed in time, and kept while the authority is away.

token, key ──CSR──▶ authority ──chain──▶ secrets ──SDS──▶ Envoy
            roots, followed ────────────────┘ └── renewed: in the middle of its life, or when another authority signs
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.envoy.naming import WORKLOAD_CERTIFICATE
from pilotfish.identity.authority import load_all
from pilotfish.identity.requests import build_request, new_key
from pilotfish.identity.sds import Secrets, build_secrets
from pilotfish.model.private import PrivateBytes
from pilotfish.model.renewal import RenewalPolicy, retry_delay
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.roots import RootsFollower
from pilotfish.runtime.agent.spec import CertificateStatus
from pilotfish.runtime.certificates import describe
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_SPREAD: Final = 2.0
"""Seconds over which the agents of a mesh ask another authority for new certificates."""
_LONGEST_SLEEP: Final = 60.0
"""Seconds after which the time of day is looked at again: a machine that slept has lost hours."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What there is."""

    key: PrivateBytes
    chain: bytes
    roots: bytes
    """As the authority gave them with the certificate."""
    renew_at: float
    ends_at: float
    signer: object
    """What signed when it was asked for, as far as that is known."""


class Certificates:
    def __init__(
        self,
        client: AuthorityClient,
        followed: RootsFollower,
        policy: RenewalPolicy,
        on_change: Callable[[], None],
        name: str = WORKLOAD_CERTIFICATE,
    ) -> None:
        """`on_change`: of `secrets` or `status`. `name`: what Envoy calls the certificate."""
        self.status = CertificateStatus()
        self.secrets: Secrets = {}
        self._client = client
        self._followed = followed
        self._policy = policy
        self._on_change = on_change
        self._name = name
        self._held: _Held | None = None
        self._failures = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._followed.subscribe(self, self._roots_changed)
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        self._followed.unsubscribe(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                await self._obtain()
            except (OSError, ValueError) as error:
                await self._fail(error)
            else:
                await self._wait_until_due()

    async def _obtain(self) -> None:
        signer = self._signer
        began = time.time()
        key, csr, token = await in_thread(self._prepare)
        certificates = await self._client.create(csr, self._policy.ttl, token)
        chain, roots = b"".join(certificates[:-1]), certificates[-1]
        found = load_all(chain)[0]
        ends_at = found.not_valid_after_utc.timestamp()
        renew_at = self._policy.renew_at(began, ends_at, random.random())
        self._held = _Held(key, chain, roots, renew_at, ends_at, signer or self._signer)
        self._failures = 0
        self.status = CertificateStatus(describe(found))
        self._serve()

    def _prepare(self) -> tuple[PrivateBytes, bytes, str]:
        key = new_key()
        return key, build_request(key), self._client.authority.token()

    async def _fail(self, error: Exception) -> None:
        self._failures += 1
        since = self.status.failing_since or time.time()
        if str(error) != self.status.error:
            _log.warning("no certificate from %s: %s", self._client.authority.address, error)
        self.status = replace(self.status, error=str(error), failing_since=since)
        self._on_change()
        await asyncio.sleep(retry_delay(self._failures, random.random()))

    async def _wait_until_due(self) -> None:
        while self._held is not None and (left := self._held.renew_at - time.time()) > 0:
            self._moved.clear()
            try:
                async with asyncio.timeout(min(left, _LONGEST_SLEEP)):
                    await self._moved.wait()
            except TimeoutError:
                continue
            if self._signer != self._held.signer:
                await asyncio.sleep(min(random.random() * _SPREAD, left))
                return

    @property
    def _signer(self) -> object:
        known = self._followed.current
        return None if known is None else (known.issuer, known.trust_domain)

    def _roots_changed(self) -> None:
        if self._held is None:
            return
        if self._held.signer is None:  # it was asked for before this was known
            self._held = replace(self._held, signer=self._signer)
        self._serve()
        self._moved.set()

    def _serve(self) -> None:
        held = self._held
        if held is None:
            return
        followed = self._followed.current
        roots = followed.trusted if followed is not None else held.roots
        self.secrets = build_secrets(held.chain, held.key, roots, self._name)
        self._on_change()
