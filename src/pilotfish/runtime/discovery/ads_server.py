"""The gRPC service AggregatedDiscoveryService: bytes in, bytes out.

The handlers have no (de)serialisers: requests are parsed by `ads`, and responses are already bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import grpc

from pilotfish.ads import MalformedRequestError, Node, Request, parse_delta, parse_world
from pilotfish.discovery.session import ProxySession
from pilotfish.model import Proxy
from pilotfish.model.proxy import NODE_ID_FORM
from pilotfish.runtime.discovery.driver import Driver

_log = logging.getLogger(__name__)
_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_OPTIONS = (
    # A large mesh's clusters are one message of many megabytes.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 64 << 20),
    # A proxy whose machine vanished is noticed within 40 s; Envoy's own keepalive is to be tolerated.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Two discoveries must not share a port by accident.
    ("grpc.so_reuseport", 0),
)


def make_server(driver: Driver) -> grpc.aio.Server:
    """A server that listens nowhere yet."""
    server = grpc.aio.server(options=_OPTIONS)
    handlers = {
        "DeltaAggregatedResources": _handler(driver, parse_delta, delta=True),
        "StreamAggregatedResources": _handler(driver, parse_world, delta=False),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    return server


def _handler(driver: Driver, parse: Callable[[bytes], Request], *, delta: bool) -> grpc.RpcMethodHandler:
    async def serve(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        session: ProxySession | None = None
        try:
            async for body in requests:
                request = parse(body)
                if session is None:
                    session = _join(driver, request, context, delta=delta)
                driver.receive(session, request)
        except _NotServedError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except MalformedRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"this is no discovery request: {error}")
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s: the stream ends after an internal error", session.id if session else context.peer())
            driver.metrics.internal_errors.inc()
            await context.abort(grpc.StatusCode.INTERNAL, "internal error; see discovery's log")
        finally:
            if session is not None:
                driver.leave(session)

    return grpc.stream_stream_rpc_method_handler(serve, None, None)


class _NotServedError(Exception):
    """Who asks is not one that discovery serves. `str` is for the proxy's log."""


def _join(
    driver: Driver, request: Request, context: grpc.aio.ServicerContext[bytes, bytes], *, delta: bool
) -> ProxySession:
    node = request.node
    if node is None:
        raise _NotServedError("the first request of a stream must carry the node; set node.id in Envoy's bootstrap")
    proxy = _proxy(node)
    task = asyncio.current_task()

    def close() -> None:
        if task is not None:
            task.cancel()

    return driver.join(node, proxy, context.write, close, delta=delta, peer=context.peer())


def _proxy(node: Node) -> Proxy:
    proxy = Proxy.parse(node.id, node.metadata)
    if proxy is None:
        raise _NotServedError(f"node id {node.id!r} is no sidecar's; it must be {NODE_ID_FORM}")
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
