"""Fetches a set of keys from an issuer: by TLS as the machine trusts it, from a host of the mesh as its sidecars would.

KeySource ──▶ outside: its URL                                      ──▶ JSON Web Key Set
              a host of the mesh: its address there, over mutual TLS
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pilotfish.config.checks.request_authentication import find_uri_fault, parse_keys
from pilotfish.mesh.security.jwks import has_usable_key
from pilotfish.model.authentication import KeyHost, KeySource
from pilotfish.runtime.connector import Connector

_MOST: Final = 256 * 1024
"""Bytes of an answer, and of a set of keys."""
_MOST_REDIRECTS: Final = 3
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
Find = Callable[[str, int], KeyHost | None]
"""A host and a port of the mesh; None for any other host."""


class UnavailableError(Exception):
    """`str` says why there are no keys."""


class Fetcher:
    def __init__(self, find: Find, own: Callable[[], ssl.SSLContext] | None) -> None:
        """`own`: for mutual TLS; None where discovery has no certificate."""
        self._find = find
        self._own = own

    async def fetch(self, source: KeySource) -> str:
        """A JSON Web Key Set. Raises UnavailableError."""
        url = source.url
        if source.is_issuer:
            url = _uri_in(await self._get(f"{source.url.rstrip('/')}{_WELL_KNOWN}"))
        text = await self._get(url)
        if parse_keys(text) is None:
            raise UnavailableError(f"{url} answers with something that is no JSON Web Key Set")
        if not await asyncio.to_thread(has_usable_key, text):
            raise UnavailableError(f"{url} answers with no key that a token can be verified with")
        return text

    async def _get(self, url: str) -> str:
        if fault := find_uri_fault(url):
            raise UnavailableError(fault)
        try:
            parts = urlsplit(url)
            found = self._find((parts.hostname or "").rstrip("."), parts.port or 80) if parts.scheme == "http" else None
            if found is not None and found.server_name and self._own is not None:
                return await self._get_mutual(parts, found, await asyncio.to_thread(self._own))
            # As aiohttp would, but with whom the machine trusts today; it reads many a file.
            trusted = await asyncio.to_thread(ssl.create_default_context)
            connector = Connector(resolver=_Resolver(self._find), force_close=True, ssl=trusted)
            async with (
                aiohttp.ClientSession(connector=connector, trust_env=False) as session,
                session.get(url, max_redirects=_MOST_REDIRECTS) as response,
            ):
                if response.url.scheme != "https" and parts.scheme == "https":
                    raise UnavailableError(f"{url} leads to where TLS does not protect what is answered")
                return await _read(url, response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(f"{url} can't be asked: {str(error) or type(error).__name__}"[:300]) from error

    async def _get_mutual(self, parts: SplitResult, found: KeyHost, own: ssl.SSLContext) -> str:
        """Of a host of the mesh; it may lead nowhere else."""
        asked = parts._replace(scheme="https", netloc=f"{found.host}:{parts.port or 80}").geturl()
        headers = {"host": parts.netloc}
        connector = _Proving(found.identities, resolver=_Resolver(self._find), force_close=True, ssl=own)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            session.get(asked, allow_redirects=False, headers=headers, server_hostname=found.server_name) as response,
        ):
            return await _read(parts.geturl(), response)


class _Proving(Connector):
    """Gives out connections to who proves to be one of these identities."""

    def __init__(self, identities: tuple[str, ...], **options: Any) -> None:
        super().__init__(**options)
        self._identities = identities

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        shown = transport.get_extra_info("peercert") if transport is not None else None
        names = [name for kind, name in (shown or {}).get("subjectAltName", ()) if kind == "URI"]
        if not set(names) & set(self._identities):
            connection.close()
            raise aiohttp.ClientConnectionError(f"{', '.join(names) or 'nobody'} is none of {self._identities}")
        return connection


def _uri_in(configuration: str) -> str:
    try:
        found: Any = json.loads(configuration)
    except (ValueError, RecursionError):
        found = None
    uri = found.get("jwks_uri") if isinstance(found, dict) else None
    if not isinstance(uri, str) or find_uri_fault(uri):
        raise UnavailableError("the issuer's OpenID configuration names no jwks_uri")
    return uri


async def _read(url: str, response: aiohttp.ClientResponse) -> str:
    if response.status != 200:
        raise UnavailableError(f"{url} answers {response.status}")
    body = await response.content.read(_MOST + 1)
    while len(body) <= _MOST and (more := await response.content.read(_MOST + 1 - len(body))):
        body += more
    if len(body) > _MOST:
        raise UnavailableError(f"{url} answers with more than {_MOST} bytes")
    return body.decode(errors="replace")


class _Resolver(AbstractResolver):
    """Hosts of the mesh as the mesh knows them, all others as the machine does."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._machine = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self._find(host.lower().rstrip("."), port)
        if found is None:
            return await self._machine.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found.addresses
        ]

    async def close(self) -> None:
        """It holds nothing."""
