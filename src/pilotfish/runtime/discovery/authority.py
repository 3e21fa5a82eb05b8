"""The certificate authority at work: what it is to be, its own server certificate, and who is told of new roots.

--ca DIR, or the Secret cacerts, or a root of our own ──▶ Succession ──▶ sign ◀── Domains ◀── trustDomain
                                                              └──▶ a directory, or what all replicas share
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from pilotfish.config.desired import DesiredState
from pilotfish.identity import domains, succession
from pilotfish.identity.authority import Authority, load_all, make_root
from pilotfish.identity.domains import Domains
from pilotfish.identity.messages import Roots
from pilotfish.identity.requests import SigningRequest, build_request, new_key, parse_request
from pilotfish.identity.succession import Succession, advance, change, resume
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model import Problem, Severity
from pilotfish.model.credential import AUTHORITY_FILES
from pilotfish.model.identity import Identity
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.model.renewal import DEFAULT_TTL
from pilotfish.model.wellknown import DISCOVERY_ACCOUNT, discovery_names
from pilotfish.runtime.certificates import describe
from pilotfish.runtime.control.views import IdentityView
from pilotfish.runtime.discovery.authority_store import Change, Directory, Shared, State
from pilotfish.runtime.discovery.contexts import client_context, server_context, web_context
from pilotfish.runtime.discovery.notice import Notice
from pilotfish.runtime.discovery.plugged import Plugged
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_SOON: Final = 30 * 86400.0
"""Seconds before its end for which an authority is warned of."""
_LOOK: Final = 2.0
"""Seconds between looks at a user's files: they are often links, which change far from where they are."""


class NotYetError(Exception):
    """`str` says why, and for how long."""


class AuthorityKeeper:
    """`load` once, then `run`; `follow` whenever the objects change."""

    def __init__(
        self, directory: Path | None, files: Path | None, shared: Shared | None = None, service: str = DISCOVERY_ACCOUNT
    ) -> None:
        """`directory`: where the state is kept; None forgets it. `files`: a directory with a user's four files.
        `shared`: what replicas have in common, in the place of a directory. `service`: by which discovery is called."""
        self.moved = Notice()
        """Wakes who waits for new roots, another signer or another trust domain."""
        self.problem: Problem | None = None
        """What is wrong with what the user plugs in."""
        self.signed = 0
        """Certificates, since the start."""
        self._directory = Directory(directory)
        self._shared = shared
        self._spread = shared.spread if shared is not None else succession.SPREAD
        self._service = service
        self._plugged = Plugged(files)
        self._state: Succession
        self._domains: Domains
        self._wanted_domain = ""
        self._root_namespace = ""
        self._contexts: dict[str, tuple[float, ssl.SSLContext]] = {}
        """By what is served: until when it is good, and the context with the server's certificate."""
        self._signers = ThreadPoolExecutor(2, "signer")
        self._woken = asyncio.Event()

    async def load(self, desired: DesiredState) -> None:
        """Raises MachineError if a user's files, or what is kept, can't be used."""
        self._read_objects(desired)
        try:
            wanted = self._plugged.read()
        except UnusableError as error:
            if (directory := self._plugged.directory) is not None:
                raise MachineError(
                    f"the authority in {directory} can't be used: {error}", f"put {', '.join(AUTHORITY_FILES)} there"
                ) from error
            self._note_unusable(error)
            wanted = None
        if self._shared is not None:
            first = Succession(wanted or self._own(None)), Domains(self._wanted_domain)
            self._state, self._domains = self._due(*await self._shared.open(first, self.adopt))
            return
        before, named = self._directory.read()
        now = time.time()
        self._domains = Domains(self._wanted_domain) if named is None else self._renamed(named, now)
        self._state = resume(before, wanted or self._own(before), now, self._spread)
        self._directory.write(self._state, self._domains)

    def follow(self, desired: DesiredState) -> None:
        """The user's objects are these now."""
        if self._read_objects(desired):
            self._contexts.clear()
            self._look()
            self.moved.notify()

    async def run(self) -> None:
        """Look after the user's files, and do what is due."""
        while True:
            at = min((t for t in (self._state.wake_at, self._domains.wake_at) if t is not None), default=None)
            wait = _LOOK if self._plugged.directory is not None else None
            if at is not None:
                wait = min(max(0.0, at - time.time()), wait if wait is not None else at)
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            self._become(*self._due(self._state, self._domains))
            if self._plugged.files_changed():
                self._look()

    def adopt(self, state: Succession, named: Domains) -> None:
        """This is what the replicas share now."""
        self._become(*self._due(state, named))

    def chosen(self, state: Succession, named: Domains) -> State:
        """What is to come of a state, by the user's objects and files, and by the time."""
        now = time.time()
        state = self._with_keys(state)
        named = self._renamed(named, now)
        try:
            wanted = self._plugged.read()
        except UnusableError as error:
            self._note_unusable(error)
            return advance(state, now), named
        self.problem = None
        take = change if reveal(state.current.key) else resume
        return advance(take(state, wanted or self._own(state), now, self._spread), now), named

    def close(self) -> None:
        self._signers.shutdown(wait=False, cancel_futures=True)

    @property
    def state(self) -> Succession:
        return self._state

    @property
    def roots(self) -> Roots:
        return Roots(self._state.trusted, self._state.current.fingerprint, self.trust_domain)

    @property
    def trust_domain(self) -> str:
        """What is signed now is of it."""
        return self._domains.current

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """Whose certificates are to be taken, beside those of the mesh's aliases."""
        return self._domains.taken

    @property
    def source(self) -> str:
        """Where what signs in the end comes from, for people."""
        return "made by pilotfish" if self._state.wanted.is_ours else str(self._plugged)

    @property
    def view(self) -> IdentityView:
        state = self._state
        following = state.next
        return IdentityView(
            trust_domain=self.trust_domain,
            source=self.source,
            signer=describe(load_all(state.current.certificate)[0]),
            roots=tuple(map(describe, load_all(state.trusted))),
            signed=self.signed,
            pem=state.trusted.decode(),
            other_domains=self._domains.taken[1:],
            next=None if following is None else describe(load_all(following.certificate)[0]),
            next_at=None if following is None else state.next_at,
        )

    def problems(self, now: float) -> tuple[Problem, ...]:
        """What is wrong with the authority."""
        left = self._state.wanted.expires_at - now
        found = () if self.problem is None else (self.problem,)
        if left > _SOON:
            return found
        when = f"expires in {left / 86400:.0f} days" if left > 0 else "has expired"
        remedy = (
            "make another: pilotfish identity rotate" if self._state.wanted.is_ours else "plug in one that is valid"
        )
        message = (
            f"the certificate authority ({self.source}) {when}; no certificate that it signs is valid longer, "
            f"and then no proxy trusts another; {remedy}"
        )
        return (
            *found,
            Problem(None, "", "AuthorityExpires", message, Severity.WARNING if left > 0 else Severity.ERROR),
        )

    async def rotate(self) -> None:
        """A new root of our own. UnusableError where the authority is the user's."""
        if not self._state.wanted.is_ours:
            raise UnusableError(f"the authority is plugged in ({self.source}): change it there, and it is followed")
        root = make_root(self._wanted_domain, time.time())
        await self._change(lambda state, named: (change(state, root, time.time(), self._spread), named))

    async def sign(self, request: SigningRequest, identity: Identity, seconds: float) -> bytes:
        """PEM: the certificate and what leads to a root. Out of the loop's way. NotYetError while nothing is signed."""
        if (wait := self._state.silent_until - time.time()) > 0:
            raise NotYetError(f"a new root is made known first; certificates are signed in {wait:.0f} s")
        if seconds > self._state.longest:
            # A root is trusted for as long as the longest certificate below it may last: that is noted first.
            await self._change(lambda state, named: (state.signed_for(seconds), named))
        authority = self._state.current
        if not reveal(authority.key):
            raise NotYetError(f"the key of the authority that is plugged in ({self.source}) is not here yet")

        def made() -> bytes:
            return authority.sign(request.public_key, identity, seconds, time.time())

        chain = await asyncio.get_running_loop().run_in_executor(self._signers, made)
        self.signed += 1
        return chain

    def server_context(self) -> ssl.SSLContext:
        """For a connection that begins now. Whoever shows a certificate must show one of the mesh's."""
        return self._current("xds", lambda chain, key: server_context(chain, key, self._state.trusted))

    def web_context(self) -> ssl.SSLContext:
        """For a connection of an API server that begins now."""
        return self._current("web", web_context)

    def _current(self, what: str, make: Callable[[bytes, PrivateBytes], ssl.SSLContext]) -> ssl.SSLContext:
        """Made anew when half of its certificate's time is over."""
        now = time.time()
        if what not in self._contexts or now >= self._contexts[what][0]:
            self._contexts[what] = (now + DEFAULT_TTL / 2, make(*self._own_pair(now)))
        return self._contexts[what][1]

    def client_context(self) -> ssl.SSLContext:
        """To call a workload of the mesh, as discovery: whose certificate it shows is the caller's to look at."""
        return client_context(*self._own_pair(time.time()), self._state.trusted)

    def _own_pair(self, now: float) -> tuple[bytes, PrivateBytes]:
        """Discovery's own certificate chain, and its key."""
        key = new_key()
        me = Identity(self.trust_domain, self._root_namespace, DISCOVERY_ACCOUNT)
        public = parse_request(build_request(key)).public_key
        return self._state.current.sign(
            public, me, DEFAULT_TTL, now, discovery_names(self._root_namespace, self._service)
        ), key

    def _look(self) -> None:
        """What the user wants may have changed."""
        if self._shared is not None:
            self.adopt(*self._shared.state)  # with keys that are here only now
            self._shared.look()
        else:
            self._become(*self.chosen(self._state, self._domains))

    async def _change(self, change: Change) -> None:
        if self._shared is not None:
            await self._shared.change(change)
        else:
            self._become(*change(self._state, self._domains))

    def _due(self, state: Succession, named: Domains) -> State:
        """What a state has come to by now."""
        now = time.time()
        return advance(self._with_keys(state), now), domains.advance(named, now)

    def _with_keys(self, state: Succession) -> Succession:
        """With what is kept nowhere: the key of an authority that is plugged in."""
        if all(reveal(one.key) for one in (state.current, state.next) if one is not None):
            return state
        try:
            plugged = self._plugged.read()
        except UnusableError:
            return state
        if plugged is None:
            return state

        def known(one: Authority) -> Authority:
            return plugged if one.certificate == plugged.certificate and not reveal(one.key) else one

        following = known(state.next) if state.next is not None else None
        return replace(state, current=known(state.current), next=following)

    def _renamed(self, state: Domains, now: float) -> Domains:
        return domains.advance(domains.change(state, self._wanted_domain, now, self._spread), now)

    def _become(self, state: Succession, named: Domains) -> None:
        if (state, named) == (self._state, self._domains):
            return
        told = state.trusted != self._state.trusted or state.current != self._state.current or named != self._domains
        self._state, self._domains = state, named
        if self._shared is None:
            self._directory.write(state, named)
        else:
            self._shared.look()
        self._woken.set()
        if told:
            self._contexts.clear()
            _log.info("signing with %s, %s", state.current.fingerprint[:16], self.source)
            self.moved.notify()

    def _own(self, state: Succession | None) -> Authority:
        if state is not None and state.wanted.is_ours:
            return state.wanted
        return make_root(self._wanted_domain, time.time())

    def _note_unusable(self, error: UnusableError) -> None:
        before, self.problem = self.problem, self._plugged.problem(error)
        if self.problem != before:
            _log.warning("%s", self.problem.message)

    def _read_objects(self, desired: DesiredState) -> bool:
        """Whether anything is another now."""
        before, config = (self._wanted_domain, self._root_namespace), desired.mesh_config
        self._wanted_domain, self._root_namespace = config.trust_domain, config.root_namespace
        return self._plugged.read_objects(desired) or before != (self._wanted_domain, self._root_namespace)
