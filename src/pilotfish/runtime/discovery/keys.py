"""Fetches the keys of issuers that RequestAuthentications name, and renews them.

What was fetched once is kept while it can't be renewed, and over a restart of discovery. TLS is verified; what is
answered is bounded in size and in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pilotfish.config.checks.request_authentication import find_uri_fault, parse_keys
from pilotfish.mesh.security.jwks import has_usable_key
from pilotfish.model.authentication import Keys, KeySource
from pilotfish.runtime.linux.files import replace_file

_log = logging.getLogger(__name__)
REFRESH: Final = 20 * 60.0
"""Seconds, as Istio's PILOT_JWT_PUB_KEY_REFRESH_INTERVAL."""
_RETRY_FIRST: Final = 1.0
_RETRY_LAST: Final = 60.0
_MOST: Final = 256 * 1024
"""Bytes of an answer, and of a set of keys."""
_MOST_REDIRECTS: Final = 3
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_FILE: Final = "keys.json"
_LARGEST_FILE: Final = 16 * 1024 * 1024

_Place = tuple[str, bool]
"""A KeySource's URL, and whether it is an issuer's."""
Resolve = Callable[[str], tuple[str, ...]]
"""The addresses of a host of the mesh; none of any other."""
Supply = Callable[[Mapping[KeySource, Keys | None]], None]


class UnavailableError(Exception):
    """`str` says why there are no keys."""


class KeyKeeper:
    """Asks again whenever `look` is called, and when it is time. `async with` ends what it has started."""

    def __init__(self, supply: Supply, resolve: Resolve, directory: Path | None, refresh: float = REFRESH) -> None:
        """`supply` takes what was fetched. `directory`: what is to outlive a restart; None to forget it."""
        self._supply = supply
        self._resolver = _Resolver(resolve)
        self._path = directory / _FILE if directory is not None else None
        self._refresh = refresh
        self._tasks: dict[KeySource, asyncio.Task[None]] = {}
        self._held: dict[KeySource, Keys] = {}
        self._remembered: dict[_Place, str] = {}
        self._settled = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> KeyKeeper:
        self._remembered = await asyncio.to_thread(_read, self._path) if self._path is not None else {}
        return self

    async def __aexit__(self, *_: object) -> None:
        self.look(())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def look(self, wanted: Iterable[KeySource]) -> None:
        """These are wanted now."""
        sources = frozenset(wanted)
        gone = self._tasks.keys() - sources
        for source in gone:
            task = self._tasks.pop(source)
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._held.pop(source, None)
        if gone:
            self._supply(dict.fromkeys(gone))
        for source in sources - self._tasks.keys():
            if text := self._remembered.get((source.url, source.is_issuer)):
                self._hold(source, Keys(text))
            self._tasks[source] = asyncio.get_running_loop().create_task(self._keep(source))

    async def wait(self, seconds: float) -> None:
        """Until it is known of all that are wanted whether there are keys; or so long."""
        try:
            async with asyncio.timeout(seconds), self._settled:
                await self._settled.wait_for(lambda: self._tasks.keys() <= self._held.keys())
        except TimeoutError:
            _log.warning("not all keys of issuers are here yet; tokens of the others are refused until they are")

    async def _keep(self, source: KeySource) -> None:
        retry = _RETRY_FIRST
        while True:
            try:
                async with asyncio.timeout(source.timeout.seconds):
                    text = await fetch(source, self._resolver)
            except (UnavailableError, TimeoutError) as error:
                why = str(error) or f"there was no answer within {source.timeout}"
                had = self._held.get(source, Keys())
                if had.fault != why:
                    _log.warning("keys of %s can't be had: %s", source.url, why)
                await self._settle(source, Keys(had.text, why))
                await asyncio.sleep(retry)
                retry = min(2 * retry, _RETRY_LAST)
                continue
            retry = _RETRY_FIRST
            is_new = self._held.get(source, Keys()).text != text
            await self._settle(source, Keys(text))
            if is_new:
                await self._write()
            await asyncio.sleep(self._refresh)

    async def _settle(self, source: KeySource, keys: Keys) -> None:
        self._hold(source, keys)
        async with self._settled:
            self._settled.notify_all()

    def _hold(self, source: KeySource, keys: Keys) -> None:
        if self._held.get(source) != keys:
            self._held[source] = keys
            self._supply({source: keys})

    async def _write(self) -> None:
        if self._path is None:
            return
        async with self._writing:
            held = self._held.items()
            self._remembered = {(source.url, source.is_issuer): keys.text for source, keys in held if keys.text}
            listed = [[*place, text] for place, text in self._remembered.items()]
            try:
                await asyncio.to_thread(replace_file, self._path, json.dumps(listed).encode(), 0o600)
            except OSError as error:
                _log.warning("%s can't be written, so that a restart fetches all keys anew: %s", self._path, error)


def _read(path: Path) -> dict[_Place, str]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("it is too large")
        listed = json.loads(path.read_bytes())
        found = {(str(url), bool(is_issuer)): str(text) for url, is_issuer, text in listed if parse_keys(text)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("%s is ignored, so that all keys are fetched anew: %s", path, error)
        return {}
    return found


async def fetch(source: KeySource, resolver: AbstractResolver) -> str:
    """A JSON Web Key Set. Raises UnavailableError."""
    # As aiohttp would, but with whom the machine trusts today; it reads many a file.
    trusted = await asyncio.to_thread(ssl.create_default_context)
    connector = aiohttp.TCPConnector(resolver=resolver, force_close=True, ssl=trusted)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        url = source.url
        if source.is_issuer:
            url = _uri_in(await _get(session, f"{source.url.rstrip('/')}{_WELL_KNOWN}"))
        text = await _get(session, url)
    if parse_keys(text) is None:
        raise UnavailableError(f"{url} answers with something that is no JSON Web Key Set")
    if not await asyncio.to_thread(has_usable_key, text):
        raise UnavailableError(f"{url} answers with no key that a token can be verified with")
    return text


def _uri_in(configuration: str) -> str:
    try:
        found: Any = json.loads(configuration)
    except (ValueError, RecursionError):
        found = None
    uri = found.get("jwks_uri") if isinstance(found, dict) else None
    if not isinstance(uri, str) or find_uri_fault(uri):
        raise UnavailableError("the issuer's OpenID configuration names no jwks_uri")
    return uri


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    if fault := find_uri_fault(url):
        raise UnavailableError(fault)
    try:
        async with session.get(url, max_redirects=_MOST_REDIRECTS) as response:
            if response.url.scheme != "https" and urlsplit(url).scheme == "https":
                raise UnavailableError(f"{url} leads to where TLS does not protect what is answered")
            if response.status != 200:
                raise UnavailableError(f"{url} answers {response.status}")
            body = await response.content.read(_MOST + 1)
            while len(body) <= _MOST and (more := await response.content.read(_MOST + 1 - len(body))):
                body += more
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnavailableError(f"{url} can't be asked: {str(error) or type(error).__name__}"[:300]) from error
    if len(body) > _MOST:
        raise UnavailableError(f"{url} answers with more than {_MOST} bytes")
    return body.decode(errors="replace")


class _Resolver(AbstractResolver):
    """Hosts of the mesh as the mesh knows them, all others as the machine does."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._machine = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self._resolve(host.lower().rstrip("."))
        if not found:
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
            for address in found
        ]

    async def close(self) -> None:
        """It holds nothing."""
