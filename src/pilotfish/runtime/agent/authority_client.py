"""Asking a certificate authority, as Istio's agents do: gRPC over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from pilotfish.identity.messages import CREATE, CertificateRequest, decode_chain, encode_request
from pilotfish.model.private import reveal
from pilotfish.runtime.agent.spec import AuthoritySpec
from pilotfish.runtime.resolve import resolve
from pilotfish.runtime.rpc.client import Server, ask, follow

_TIMEOUT = 5.0
"""Seconds for one certificate."""


class AuthorityClient:
    """Every method raises OSError where the authority is away, is another, refuses or answers nonsense."""

    def __init__(self, authority: AuthoritySpec, open_socket: Callable[[int], socket.socket]) -> None:
        """`open_socket` is given the family."""
        host, _, port = authority.address.rpartition(":")
        self.authority = authority
        self._at = (host.strip("[]"), int(port))
        self._open = open_socket

    async def create(self, csr: bytes, seconds: float, token: str) -> tuple[bytes, ...]:
        """The certificate, those that lead to a root, and at last whom to trust: PEM each."""
        request = encode_request(CertificateRequest(csr, round(seconds)))
        chain = decode_chain(await self.ask(CREATE, request, token))
        if len(chain) < 2:
            raise OSError(f"{self.authority.address} answered without a certificate")
        return chain

    async def ask(self, path: str, message: bytes, token: str) -> bytes:
        """A unary call by who has this token."""
        made, server = await self._find_server()
        metadata = {"authorization": f"Bearer {reveal(token)}"}
        return await ask(made, server, path, message, metadata, timeout=_TIMEOUT)

    async def follow(self, path: str, metadata: Mapping[str, str] = {}) -> AsyncIterator[bytes]:
        """The messages of a streaming answer."""
        made, server = await self._find_server()
        async for message in follow(made, server, path, b"", metadata):
            yield message

    async def _find_server(self) -> tuple[socket.socket, Server]:
        """With a socket that leads to it."""
        tls = self._read_roots()
        family, address = await resolve(*self._at)
        return self._open(family), Server(address, tls, self.authority.name)

    def _read_roots(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["h2"])
        roots = self.authority.roots
        try:
            made.load_verify_locations(cafile=str(roots))
        except ssl.SSLError as error:
            raise OSError(f"{roots} holds no root certificate: {error.reason}") from error
        except OSError as error:
            raise OSError(f"{roots}, the authority's root, can't be read: {error.strerror}") from error
        return made
