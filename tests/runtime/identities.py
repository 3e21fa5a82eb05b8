"""A discovery that signs certificates, and who asks it for some."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from pilotfish.identity.requests import build_request, new_key
from pilotfish.identity.tokens import Claims, make_token, public_key
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.spec import AuthoritySpec
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.serve import DiscoveryServer
from tests.runtime.discovery_client import discovery

NAME = "istiod.istio-system.svc"
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: {3}, uid: "{0}-1"}}
spec: {{serviceAccountName: {2}, containers: [{{name: app, command: [sleep]}}]}}
status: {{phase: Running, podIP: {1}, podIPs: [{{ip: {1}}}]}}
"""


def pod(name: str, account: str, address: str = "127.0.0.1", namespace: str = "vm") -> str:
    return POD.format(name, address, account, namespace)


@dataclass
class Secured:
    """A discovery with a secure port, and the key of who makes tokens for it."""

    made: DiscoveryServer
    key: PrivateBytes
    roots: Path

    def token(self, claims: Claims, now: float | None = None, key: PrivateBytes | None = None) -> str:
        return make_token(key or self.key, claims, time.time() if now is None else now)

    def client(self, token: str) -> AuthorityClient:
        return AuthorityClient(self.spec(token), lambda family: socket.socket(family))

    def spec(self, token: str) -> AuthoritySpec:
        return AuthoritySpec(str(self.made.secure), self.roots, lambda: token, NAME)

    async def certificate(self, token: str, uri: str = "", seconds: float = 3600) -> Shown:
        """What an agent with this token is given."""
        key = new_key()
        found = await self.client(token).create(build_request(key, uri), seconds, token)
        return Shown(key, b"".join(found[:-1]), found[-1])

    def channel(self, shown: Shown | None = None, token: str = "") -> grpc.aio.Channel:
        """To its secure port, with a certificate or a token."""
        own = (reveal(shown.key), shown.chain) if shown is not None else (None, None)
        credentials = grpc.ssl_channel_credentials(self.roots.read_bytes(), *own)
        if token:
            call = grpc.access_token_call_credentials(reveal(token))
            credentials = grpc.composite_channel_credentials(credentials, call)
        options = (("grpc.ssl_target_name_override", NAME), ("grpc.use_local_subchannel_pool", 1))
        return grpc.aio.secure_channel(str(self.made.secure), credentials, options)


@dataclass(frozen=True)
class Shown:
    """A certificate, as somebody shows it."""

    key: PrivateBytes = field(repr=False)
    chain: bytes
    roots: bytes

    def write(self, directory: Path) -> tuple[Path, Path, Path]:
        """(certificate chain, key, roots) as files."""
        files = directory / "chain.pem", directory / "key.pem", directory / "roots.pem"
        for path, content in zip(files, (self.chain, reveal(self.key), self.roots), strict=True):
            path.write_bytes(content)
        return files


@asynccontextmanager
async def secured(
    *paths: Path, directory: Path, key: PrivateBytes | None = None, **more: Any
) -> AsyncIterator[Secured]:
    """`directory` keeps its state: one that was there before goes on."""
    key = key or new_key()
    public = directory / "token.pub"
    public.write_bytes(public_key(key))
    more = {"only_pods": True, "state": directory / "state", "secure": Address("127.0.0.1", 0), **more}
    async with discovery(*paths, token_keys=(public,), **more) as made:
        yield Secured(made, key, directory / "state" / "ca" / "root-cert.pem")
