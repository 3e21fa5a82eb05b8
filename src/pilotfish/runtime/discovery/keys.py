"""Fetches the keys of issuers that RequestAuthentications name, and renews them.

What was fetched once is kept while it can't be renewed, and over a restart of discovery. TLS is verified; what is
answered is bounded in size and in time. A host of the mesh that speaks mutual TLS is asked over it, as sidecars would.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pilotfish.config.checks.request_authentication import parse_keys
from pilotfish.model.authentication import Keys, KeySource
from pilotfish.runtime.discovery.key_fetch import Fetcher, Find, UnavailableError
from pilotfish.runtime.linux.files import replace_file

_log = logging.getLogger(__name__)
REFRESH: Final = 20 * 60.0
"""Seconds, as Istio's PILOT_JWT_PUB_KEY_REFRESH_INTERVAL."""
_RETRY_FIRST: Final = 1.0
_RETRY_LAST: Final = 60.0
_FILE: Final = "keys.json"
_LARGEST_FILE: Final = 16 * 1024 * 1024

_Place = tuple[str, bool]
"""A KeySource's URL, and whether it is an issuer's."""
Supply = Callable[[Mapping[KeySource, Keys | None]], None]


class KeyKeeper:
    """Asks again whenever `look` is called, and when it is time. `async with` ends what it has started."""

    def __init__(
        self,
        supply: Supply,
        find: Find,
        own: Callable[[], ssl.SSLContext] | None,
        directory: Path | None,
        refresh: float = REFRESH,
    ) -> None:
        """`supply` takes what was fetched. `own`: for mutual TLS; None where discovery has no certificate.
        `directory`: what is to outlive a restart; None to forget it."""
        self._supply = supply
        self._fetcher = Fetcher(find, own)
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
                    text = await self._fetcher.fetch(source)
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
