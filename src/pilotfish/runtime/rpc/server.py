"""Streaming calls of one peer, on one connection, as an asyncio protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from pilotfish.runtime.rpc.framing import FramingError, Messages, frame

_UNIMPLEMENTED = "12"
_INVALID = "3"
_MOST_STREAMS = 4096
"""A machine's Envoy has two for each of its pods."""
_SETTINGS = {
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_STREAMS,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 16,
}


class Answerer(Protocol):
    """What one call is answered by."""

    def receive(self, message: bytes) -> tuple[bytes, ...]:
        """What to answer to a message of the peer's. ValueError ends the call."""
        ...

    def close(self) -> None:
        """The call has ended."""
        ...


Open = Callable[[Callable[[tuple[bytes, ...]], None]], Answerer]
"""Begins a call, given a way to send messages at any time until `close`."""


class ServerConnection(asyncio.Protocol):
    def __init__(self, methods: Mapping[str, Open], peers: set[ServerConnection]) -> None:
        """`methods` by path; `peers` holds this connection while it lives."""
        self._methods = methods
        self._peers = peers
        self._transport: asyncio.Transport | None = None
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._streams: dict[int, _Stream] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peers.add(self)
        # As what the connection begins with: of what is set later, the peer is not told at once, and is held to it.
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=_SETTINGS)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        for stream in tuple(self._streams):
            self._drop(stream)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._on_event(event)
        except (h2.exceptions.ProtocolError, ValueError):
            self.close()
        self._flush()

    def close(self) -> None:
        """Whatever was to be sent is not."""
        if self._transport is not None:
            self._transport.abort()

    def _on_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._begin(event.stream_id or 0, dict(event.headers or ()))
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                self._take(event.stream_id or 0, event.data or b"")
            case h2.events.StreamEnded():
                if event.stream_id in self._streams:
                    self._finish(event.stream_id or 0, "0", "")
            case h2.events.StreamReset():
                self._drop(event.stream_id or 0)
            case h2.events.WindowUpdated():
                for id in self._streams if not event.stream_id else (event.stream_id,):
                    self._write(id)
            case h2.events.ConnectionTerminated():
                self.close()

    def _begin(self, id: int, headers: Mapping[bytes | str, bytes | str]) -> None:
        path = headers.get(b":path", b"")
        opened = self._methods.get(path.decode(errors="replace") if isinstance(path, bytes) else path)
        if opened is None:
            status = (("grpc-status", _UNIMPLEMENTED), ("grpc-message", "no such method"))
            self._h2.send_headers(id, [*_HEADERS, *status], end_stream=True)
            return
        self._h2.send_headers(id, _HEADERS)
        self._streams[id] = _Stream(opened(lambda messages: self._send(id, messages)))

    def _take(self, id: int, data: bytes) -> None:
        stream = self._streams.get(id)
        if stream is None:
            return
        try:
            for message in stream.messages.receive(data):
                self._send(id, stream.answerer.receive(message))
        except (FramingError, ValueError):
            self._finish(id, _INVALID, "this is no request")

    def _send(self, id: int, messages: tuple[bytes, ...]) -> None:
        stream = self._streams.get(id)
        if stream is None or not messages:
            return
        stream.due += b"".join(map(frame, messages))
        self._write(id)
        self._flush()

    def _write(self, id: int) -> None:
        """As much as the peer is ready for."""
        stream = self._streams.get(id)
        while stream is not None and stream.due:
            size = min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size, len(stream.due))
            if size <= 0:
                return
            self._h2.send_data(id, stream.due[:size])
            stream.due = stream.due[size:]

    def _finish(self, id: int, status: str, message: str) -> None:
        self._drop(id)
        self._h2.send_headers(id, [("grpc-status", status), ("grpc-message", message)], end_stream=True)

    def _drop(self, id: int) -> None:
        stream = self._streams.pop(id, None)
        if stream is not None:
            stream.answerer.close()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


class _Stream:
    __slots__ = ("answerer", "due", "messages")

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self.messages = Messages()
        self.due = b""
        """What the peer is not ready for yet."""
