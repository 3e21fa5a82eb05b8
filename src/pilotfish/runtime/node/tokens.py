"""The node's own key, by which it says which pod runs as whom: each pod's agent is given tokens, and nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from pilotfish.identity.requests import new_key
from pilotfish.identity.tokens import Claims, make_token, public_key
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.model.wellknown import DISCOVERY_NAME, MACHINE_ACCOUNT
from pilotfish.node.identity import PodIdentity
from pilotfish.runtime.agent import AuthoritySpec
from pilotfish.runtime.linux.files import replace_file
from pilotfish.runtime.node.records import TOKEN_KEY, roots_path


class TokenMaker:
    """The key is made with the first token: a mesh that starts has other things to do before."""

    def __init__(self, directory: Path, authority: str) -> None:
        """`directory`: the mesh's. `authority`: HOST:PORT of discovery's secure port."""
        self._directory = directory
        self._authority = authority
        self._key: PrivateBytes | None = None
        self._making = threading.Lock()
        """Tokens are made in threads, the first few at one time."""

    def authority(self, pod: PodIdentity) -> AuthoritySpec:
        """How a pod's agent gets its certificate."""
        return AuthoritySpec(self._authority, roots_path(self._directory), self._token(_claims(pod)), DISCOVERY_NAME)

    def machines(self, machine: str, namespace: str, addresses: tuple[str, ...]) -> AuthoritySpec:
        """The same of the machine's proxy. `namespace`: the root namespace."""
        claims = Claims(namespace, MACHINE_ACCOUNT, addresses=addresses, machine=machine)
        return AuthoritySpec(self._authority, roots_path(self._directory), self._token(claims), DISCOVERY_NAME)

    def make(self, pod: PodIdentity, audience: str, lifetime: float) -> bytes:
        """For a file of the pod's; `lifetime` in seconds."""
        token = make_token(self._get_key(), _claims(pod), time.time(), audience=audience, lifetime=lifetime)
        return reveal(token).encode()

    def _token(self, claims: Claims) -> Callable[[], str]:
        return lambda: make_token(self._get_key(), claims, time.time())

    def _get_key(self) -> PrivateBytes:
        with self._making:
            if self._key is None:
                self._key = self._make_key()
            return self._key

    def _make_key(self) -> PrivateBytes:
        """Root alone reads it: the command line, for an operator's token. Discovery is given the public one."""
        key = new_key()
        private = self._directory / TOKEN_KEY
        private.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(private, reveal(key), 0o600)
        replace_file(private.with_suffix(".pub"), public_key(key), 0o600)
        return key


def _claims(pod: PodIdentity) -> Claims:
    return Claims(pod.namespace, pod.service_account, pod.name, pod.uid, pod.addresses)
