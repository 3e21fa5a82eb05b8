"""The certificate authority at work: its state on the disk, its own server certificate, and who is told of new roots.

--ca DIR, or the Secret cacerts, or a root of our own ──▶ Succession ──▶ sign ◀── Domains ◀── trustDomain
                                                              └──▶ authority.json, root-cert.pem
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pilotfish.config.desired import DesiredState
from pilotfish.envoy.mutual_tls import SPOKEN
from pilotfish.identity import domains, kept, succession
from pilotfish.identity.authority import Authority, load_all, make_root
from pilotfish.identity.domains import Domains
from pilotfish.identity.messages import Roots
from pilotfish.identity.requests import SigningRequest, build_request, new_key, parse_request
from pilotfish.identity.succession import Succession, advance, change, resume
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model import Problem, Protocol, Severity
from pilotfish.model.credential import AUTHORITY_FILES
from pilotfish.model.identity import Identity
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.model.renewal import DEFAULT_TTL
from pilotfish.model.wellknown import DISCOVERY_ACCOUNT, discovery_names
from pilotfish.runtime.certificates import describe
from pilotfish.runtime.control.views import IdentityView
from pilotfish.runtime.discovery.notice import Notice
from pilotfish.runtime.discovery.plugged import Plugged
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.files import replace_file

_log = logging.getLogger(__name__)
_SOON: Final = 30 * 86400.0
"""Seconds before its end for which an authority is warned of."""
_LOOK: Final = 2.0
"""Seconds between looks at a user's files: they are often links, which change far from where they are."""


class NotYetError(Exception):
    """`str` says why, and for how long."""


class AuthorityKeeper:
    """`load` once, then `run`; `follow` whenever the objects change."""

    def __init__(self, directory: Path | None, files: Path | None) -> None:
        """`directory`: where the state is kept; None forgets it. `files`: a directory with a user's four files."""
        self.moved = Notice()
        """Wakes who waits for new roots, another signer or another trust domain."""
        self.problem: Problem | None = None
        """What is wrong with what the user plugs in."""
        self.signed = 0
        """Certificates, since the start."""
        self._directory = directory
        self._plugged = Plugged(files)
        self._state: Succession
        self._domains: Domains
        self._wanted_domain = ""
        self._root_namespace = ""
        self._context: tuple[float, ssl.SSLContext] | None = None
        """Until when it is good, and the context with the server's certificate."""
        self._signers = ThreadPoolExecutor(2, "signer")
        self._woken = asyncio.Event()

    def load(self, desired: DesiredState) -> None:
        """Raises MachineError if a user's files can't be used."""
        self._read_objects(desired)
        before, domains = self._read_state()
        try:
            wanted = self._plugged.read()
        except UnusableError as error:
            if (directory := self._plugged.directory) is not None:
                raise MachineError(
                    f"the authority in {directory} can't be used: {error}", f"put {', '.join(AUTHORITY_FILES)} there"
                ) from error
            self._note_unusable(error)
            wanted = None
        now = time.time()
        self._domains = Domains(self._wanted_domain) if domains is None else self._renamed(domains, now)
        self._state = resume(before, wanted or self._own(before), now, succession.SPREAD)
        self._keep()

    def follow(self, desired: DesiredState) -> None:
        """The user's objects are these now."""
        if self._read_objects(desired):
            self._context = None
            self._become(self._state, self._renamed(self._domains, time.time()))
            self._choose()
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
            now = time.time()
            self._become(advance(self._state, now), domains.advance(self._domains, now))
            if self._plugged.files_changed():
                self._choose()

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

    def rotate(self) -> None:
        """A new root of our own. UnusableError where the authority is the user's."""
        if not self._state.wanted.is_ours:
            raise UnusableError(f"the authority is plugged in ({self.source}): change it there, and it is followed")
        self._follow(make_root(self._wanted_domain, time.time()))

    async def sign(self, request: SigningRequest, identity: Identity, seconds: float) -> bytes:
        """PEM: the certificate and what leads to a root. Out of the loop's way. NotYetError while nothing is signed."""
        if (wait := self._state.silent_until - time.time()) > 0:
            raise NotYetError(f"a new root is made known first; certificates are signed in {wait:.0f} s")
        authority = self._state.current
        self._become(self._state.signed_for(seconds))

        def made() -> bytes:
            return authority.sign(request.public_key, identity, seconds, time.time())

        chain = await asyncio.get_running_loop().run_in_executor(self._signers, made)
        self.signed += 1
        return chain

    def server_context(self) -> ssl.SSLContext:
        """For a connection that begins now. Whoever shows a certificate must show one of the mesh's."""
        now = time.time()
        if self._context is None or now >= self._context[0]:
            self._context = (now + DEFAULT_TTL / 2, _server_context(*self._own_pair(now), self._state.trusted))
        return self._context[1]

    def client_context(self) -> ssl.SSLContext:
        """To call a workload of the mesh, as discovery: whose certificate it shows is the caller's to look at."""
        return _client_context(*self._own_pair(time.time()), self._state.trusted)

    def _own_pair(self, now: float) -> tuple[bytes, PrivateBytes]:
        """Discovery's own certificate chain, and its key."""
        key = new_key()
        me = Identity(self.trust_domain, self._root_namespace, DISCOVERY_ACCOUNT)
        public = parse_request(build_request(key)).public_key
        return self._state.current.sign(public, me, DEFAULT_TTL, now, discovery_names(self._root_namespace)), key

    def _choose(self) -> None:
        """What the user plugs in may have changed."""
        try:
            wanted = self._plugged.read()
        except UnusableError as error:
            self._note_unusable(error)
            return
        self.problem = None
        self._follow(wanted or self._own(self._state))

    def _follow(self, authority: Authority) -> None:
        self._become(change(self._state, authority, time.time(), succession.SPREAD))

    def _renamed(self, state: Domains, now: float) -> Domains:
        return domains.advance(domains.change(state, self._wanted_domain, now, succession.SPREAD), now)

    def _become(self, state: Succession, named: Domains | None = None) -> None:
        named = named or self._domains
        if (state, named) == (self._state, self._domains):
            return
        told = state.trusted != self._state.trusted or state.current != self._state.current or named != self._domains
        self._state, self._domains = state, named
        self._keep()
        self._woken.set()
        if told:
            self._context = None
            _log.info("signing with %s, %s", state.current.fingerprint[:16], self.source)
            self.moved.notify()

    def _own(self, state: Succession | None) -> Authority:
        if state is not None and state.wanted.is_ours:
            return state.wanted
        return make_root(self._wanted_domain, time.time())

    def _note_unusable(self, error: UnusableError) -> None:
        self.problem = self._plugged.problem(error)
        _log.warning("%s", self.problem.message)

    def _read_objects(self, desired: DesiredState) -> bool:
        """Whether anything is another now."""
        before, config = (self._wanted_domain, self._root_namespace), desired.mesh_config
        self._wanted_domain, self._root_namespace = config.trust_domain, config.root_namespace
        return self._plugged.read_objects(desired) or before != (self._wanted_domain, self._root_namespace)

    def _read_state(self) -> tuple[Succession | None, Domains | None]:
        if self._directory is None:
            return None, None
        path = self._directory / "authority.json"
        try:
            return kept.decode(path.read_bytes())
        except FileNotFoundError:
            return None, None
        except (OSError, kept.BrokenError) as error:
            # Another root would be trusted by nobody whose certificate is in use.
            raise MachineError(f"{path} can't be read: {error}", "restore it, or remove it for a new root") from error

    def _keep(self) -> None:
        if self._directory is None:
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._directory / "authority.json", kept.encode(self._state, self._domains), 0o600)
            replace_file(self._directory / "root-cert.pem", self._state.trusted, 0o600)
        except OSError as error:
            raise MachineError(f"{self._directory} can't be written: {error.strerror}", "make room") from error


def _server_context(chain: bytes, key: PrivateBytes, roots: bytes) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["h2"])
    made.verify_mode = ssl.CERT_OPTIONAL
    made.load_verify_locations(cadata=roots.decode())
    # Who comes again is looked at again.
    made.options |= ssl.OP_NO_TICKET
    made.num_tickets = 0
    _load(made, chain, key)
    return made


def _client_context(chain: bytes, key: PrivateBytes, roots: bytes) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(list(SPOKEN[Protocol.HTTP]))
    made.check_hostname = False  # it names no host, but an identity
    made.load_verify_locations(cadata=roots.decode())
    _load(made, chain, key)
    return made


def _load(context: ssl.SSLContext, chain: bytes, key: PrivateBytes) -> None:
    # OpenSSL reads files; this one is in memory alone.
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, chain + reveal(key))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
