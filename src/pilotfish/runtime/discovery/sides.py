"""The two ends of a connection that goes on: what comes on one is written to the other, no faster than that takes it.

TLS is OpenSSL's, over memory. asyncio's own has a buffer of 256 kB for each connection, in a cycle that only the
garbage collector frees: who sent garbage without end could make discovery hold hundreds of megabytes.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final, cast

from pilotfish.model.identity import Identity

_HIGH: Final = 1 << 20
"""Bytes for one side that wait for it before the other is read no further."""
_PIECE: Final = 65536
_LONGEST_HANDSHAKE: Final = 1 << 17
"""Bytes of a peer that has not proven anything yet: a chain of large certificates has some 20 kB."""


class Side(asyncio.Protocol):
    """In plaintext."""

    other: Side | None = None

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._early = b""
        """What came for it before it was connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH)
        early, self._early = self._early, b""
        if early:
            self.write(early)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self.other = None
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        elif self._transport is None and not self.lost.done():
            self._early += data

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """What was to be written is written first."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class TlsSide(Side):
    """The server's end of TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The handshake is done, or `failure` says why it is not."""
        self.failure = ""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def identity(self) -> Identity | None:
        """What the peer's certificate, which TLS has checked, says; None if it showed none."""
        names = (self._tls.getpeercert() or {}).get("subjectAltName", ())
        uris = [value for kind, value in cast(tuple[tuple[str, str], ...], names) if kind == "URI"]
        return Identity.parse(uris[0]) if len(uris) == 1 else None

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self.ready.done():
                self._shake_hands()
            while self.ready.done() and not self.failure and (piece := self._tls.read(_PIECE)):
                super().data_received(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # also that the peer has said its last
            self._end(str(error.reason or error))
        self._flush()
        if self.failure:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection ended")
        super().connection_lost(exc)

    def write(self, data: bytes) -> None:
        if self.failure:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._end(str(error.reason or error))
        self._flush()

    def close(self) -> None:
        if not self.failure and self.ready.done():
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        super().close()

    def _shake_hands(self) -> None:
        if self._incoming.pending > _LONGEST_HANDSHAKE:
            self._end("a handshake without end")
            return
        self._tls.do_handshake()
        self.ready.set_result(None)

    def _end(self, failure: str) -> None:
        self.failure = self.failure or failure
        if not self.ready.done():
            self.ready.set_result(None)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            super().write(data)
