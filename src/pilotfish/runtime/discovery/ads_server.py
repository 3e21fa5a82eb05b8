"""The gRPC service AggregatedDiscoveryService: bytes in, bytes out.

The handlers have no (de)serialisers: requests are parsed by `ads`, and responses are already bytes. Nobody who connects
is believed: what is refused, by `discovery.admission` and by the bounds here, ends with a status, a count and one line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeAlias

import grpc

from pilotfish.ads import (
    LARGEST_REQUEST,
    ExcessiveRequestError,
    MalformedRequestError,
    Node,
    Request,
    parse_delta,
    parse_world,
)
from pilotfish.discovery.admission import MOST_OF_A_PEER, Caller, Reason, Refusal
from pilotfish.discovery.session import ProxySession
from pilotfish.model import Proxy
from pilotfish.model.proxy import LONGEST_NODE_ID, NODE_ID_FORM
from pilotfish.runtime.discovery.callers import Callers, NotServedError
from pilotfish.runtime.discovery.driver import Driver

_log = logging.getLogger(__name__)
_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_FIRST_REQUEST = 10.0
"""Seconds for the first request of a stream."""
_NEWS = 1.0
"""Seconds for which a proxy waits at the door for the news of its pod, which may come after it."""
_LAST_WRITE = 1.0
_LAST_CALLS = 5.0
"""Seconds for what is under way on a connection that is old."""
_SHOWN = 80
"""Characters of a node id that is none."""
_CODES: Final = {
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.SILENT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.UNKNOWN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.ADDRESS: grpc.StatusCode.PERMISSION_DENIED,
    Reason.IDENTITY: grpc.StatusCode.PERMISSION_DENIED,
    Reason.UNPROVEN: grpc.StatusCode.UNAVAILABLE,
    Reason.GONE: grpc.StatusCode.UNAVAILABLE,
    Reason.KEPT_OFF: grpc.StatusCode.UNAVAILABLE,
}
_OPTIONS = (
    # A large mesh's clusters are one message of many megabytes.
    ("grpc.max_send_message_length", -1),
    # It is checked here, with a status that says so and a count; gRPC's own check is for what is far beyond.
    ("grpc.max_receive_message_length", LARGEST_REQUEST * 3 // 2),
    # What gRPC sets aside for a peer before anything is known of it.
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", MOST_OF_A_PEER),
    # What may be sent ahead, while what came before is worked at, does not grow with the speed of the connection.
    ("grpc.http2.bdp_probe", 0),
    # A connection that opens no stream.
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 10_000),
    # A proxy whose machine vanished is noticed within 40 s; Envoy's own keepalive is to be tolerated.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Two discoveries must not share a port by accident.
    ("grpc.so_reuseport", 0),
)
_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def make_server(driver: Driver, callers: Callers, connection_age: float = 0.0) -> grpc.aio.Server:
    """A server that listens nowhere yet. `connection_age`: seconds, a tenth more or less, after which a connection is
    ended in order, so that proxies spread over replicas that came later; 0 for never."""
    # gRPC's own log has a traceback for each stream that a peer breaks off; what matters of it is said here.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    age = (
        (
            ("grpc.max_connection_age_ms", round(connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(_LAST_CALLS * 1000)),
        )
        if connection_age
        else ()
    )
    server = grpc.aio.server(options=(*_OPTIONS, *age))
    handlers = {
        "DeltaAggregatedResources": _handler(driver, callers, parse_delta, delta=True),
        "StreamAggregatedResources": _handler(driver, callers, parse_world, delta=False),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    return server


def _handler(
    driver: Driver, callers: Callers, parse: Callable[[bytes], Request], *, delta: bool
) -> grpc.RpcMethodHandler:
    async def visit(host: str, context: _Context) -> Refusal | None:
        try:
            caller, claims = await callers.prove(context.peer(), context.invocation_metadata())
        except NotServedError as error:
            return error.refusal
        refusal = callers.entitle(caller, claims)
        if refusal is not None:
            return refusal
        return await _guarded(driver, host, _Visit(driver, parse, context, caller, delta=delta).serve())

    async def serve(_: AsyncIterator[bytes], context: _Context) -> None:
        host = callers.host(context.peer())
        try:
            refusal = await visit(host, context)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("a stream of %s ends after an internal error", host)
            driver.metrics.internal_errors.inc()
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details("internal error; see discovery's log")
            return
        # Not `context.abort`: gRPC keeps the exception that it raises, with all that a stream held in its traceback,
        # in a cycle that only the garbage collector ends.
        if refusal is not None:
            driver.turned_away(refusal, host)
            if refusal.reason is Reason.IDENTITY:
                callers.hang_up(context.peer())
            context.set_code(_CODES[refusal.reason])
            context.set_details(refusal.message)

    return grpc.stream_stream_rpc_method_handler(serve, None, None)


async def _guarded(driver: Driver, host: str, visit: Coroutine[Any, Any, Refusal | None]) -> Refusal | None:
    """A stream takes one of the places that there are. Returns why it is ended, where its peer did not end it."""
    refusal = driver.door.enter(host)
    if refusal is not None:
        visit.close()
        return refusal
    try:
        return await visit
    except NotServedError as error:
        return error.refusal
    finally:
        driver.door.leave(host)


class _Visit:
    """One stream, from its first request to its end."""

    def __init__(
        self, driver: Driver, parse: Callable[[bytes], Request], context: _Context, caller: Caller, *, delta: bool
    ) -> None:
        self._driver = driver
        self._parse = parse
        self._context = context
        self._caller = caller
        self._delta = delta
        self._session: ProxySession | None = None
        """While it is served."""
        self._ended: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        """Discovery ends it, and why; None where the proxy does."""
        self._following: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        """gRPC never ends a stream that is aborted while it is written to for the first time."""

    async def serve(self) -> Refusal | None:
        """Returns why it is ended, where the proxy did not end it."""
        request = await self._first()
        if request is None:
            return None
        session = await self._join(request)
        try:
            self._receive(session, request)
            del request  # of megabytes, maybe, and the stream may last
            self._session = session
            self._following = asyncio.ensure_future(self._follow())
            return await self._ended
        finally:
            self._session = None
            self._driver.leave(session)
            if self._writing is not None:
                await asyncio.wait((self._writing,), timeout=_LAST_WRITE)
                self._writing = None  # where it failed, its exception has a frame that has this visit

    async def _write(self, body: bytes) -> None:
        self._writing = asyncio.ensure_future(self._context.write(body))
        await asyncio.shield(self._writing)

    async def _first(self) -> Request | None:
        """None where the stream ends without one."""
        reading = asyncio.ensure_future(self._context.read())
        reading.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(_FIRST_REQUEST):
                body = await asyncio.shield(reading)
        except TimeoutError:
            said = f"nothing was asked for within {_FIRST_REQUEST:g} s"
            raise NotServedError(Refusal(Reason.SILENT, said)) from None
        return None if body is grpc.aio.EOF else self._parse_one(body)

    async def _follow(self) -> None:
        """Take requests for as long as it is served. It is not cancelled then, and ends with the call: gRPC frees no
        message for which nobody waits any more."""
        pace = self._driver.door.pace(self._caller.host)
        try:
            while (took := await self._take()) is not None:
                if rest := pace.rest(took, time.monotonic()):
                    await asyncio.sleep(rest)
            self._end(None)
        except NotServedError as error:
            self._end(error.refusal)
        except Exception as error:
            if not self._ended.done():
                self._ended.set_exception(error)

    async def _take(self) -> float | None:
        """The next request, of which nothing is kept here while the one after it is waited for. Returns the seconds of
        computing; None at the stream's end."""
        body = await self._context.read()
        if body is grpc.aio.EOF or self._session is None:
            return None
        began = time.thread_time()  # of discovery's own: what others do on the machine meanwhile is nobody's here
        self._receive(self._session, self._parse_one(body))
        return time.thread_time() - began

    def _parse_one(self, body: bytes) -> Request:
        if len(body) > LARGEST_REQUEST:
            said = f"a request of {len(body)} bytes; {LARGEST_REQUEST} is the most"
            raise NotServedError(Refusal(Reason.TOO_LARGE, said))
        try:
            return self._parse(body)
        except MalformedRequestError as error:
            said = f"this is no discovery request: {error}"
            raise NotServedError(Refusal(Reason.MALFORMED, said)) from error

    def _receive(self, session: ProxySession, request: Request) -> None:
        try:
            self._driver.receive(session, request)
        except ExcessiveRequestError as error:
            raise NotServedError(Refusal(Reason.TOO_LARGE, str(error))) from error

    async def _join(self, request: Request) -> ProxySession:
        node = request.node
        if node is None:
            said = "the first request of a stream must carry the node; set node.id in Envoy's bootstrap"
            raise NotServedError(Refusal(Reason.MALFORMED, said))
        proxy = _proxy(node)
        refusal = await self._admit(proxy)
        if refusal is not None:
            raise NotServedError(refusal)
        return self._driver.join(node, proxy, self._write, self._end, delta=self._delta, caller=self._caller)

    async def _admit(self, proxy: Proxy) -> Refusal | None:
        driver, caller = self._driver, self._caller

        def is_known() -> bool:
            refusal = driver.admit(proxy, caller)
            return refusal is None or refusal.reason is not Reason.UNKNOWN

        await driver.moved.wait_for(is_known, _NEWS)
        return driver.admit(proxy, caller)

    def _end(self, refusal: Refusal | None) -> None:
        if not self._ended.done():
            self._ended.set_result(refusal)


def _retrieve(reading: asyncio.Future[Any]) -> None:
    """Where the stream is over, nobody asks how it ended."""
    if not reading.cancelled():
        reading.exception()


def _proxy(node: Node) -> Proxy:
    proxy = Proxy.parse(node.id, node.metadata)
    if proxy is None:
        shown = repr(node.id) if len(node.id) <= _SHOWN else f"{node.id[:_SHOWN]!r}…"
        long = f", of {LONGEST_NODE_ID} characters at the most" if len(node.id) > LONGEST_NODE_ID else ""
        said = f"node id {shown} is no proxy's; it must be {NODE_ID_FORM}{long}"
        raise NotServedError(Refusal(Reason.MALFORMED, said))
    return proxy


def bind(server: grpc.aio.Server, address: str) -> int:
    """Returns the port. Raises OSError if it is taken or the address is not this machine's."""
    try:
        port: int = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(str(error)) from error
    if port == 0:
        raise OSError("it can't be listened on")
    return port
