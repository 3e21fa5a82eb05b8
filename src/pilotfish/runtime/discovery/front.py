"""The secure port: TLS is ended here, and what is inside goes on to gRPC, which learns who came.

    15012 ──TLS──▶ Front ──Unix socket, with a name of its own for each connection──▶ gRPC
                     └─ callers: that name → Caller

gRPC's library for Python either demands a certificate of every client or asks none for one. A proxy shows one; an agent
that has none yet shows a token. So the handshake is Python's, and a connection's identity is known by the name that its
inner end has: the kernel gives one to each (unix(7), autobind), and nobody else can have it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from pilotfish.discovery.admission import Caller, plain_address
from pilotfish.discovery.pace import Pace
from pilotfish.model.addresses import host_port
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.listening import open_listening, port_of
from pilotfish.runtime.discovery.sides import Side, TlsSide

_log = logging.getLogger(__name__)
_HANDSHAKE: Final = 5.0
"""Seconds."""
_MOST: Final = 4096
"""Connections, of all."""
MOST_OF_A_PEER: Final = 256
_COST: Final = 0.002
"""Seconds of computing that a handshake takes, at most."""
_AGAIN: Final = 0.1
"""Seconds until connections are accepted again where no descriptor was left for one."""
_LAST_WORDS: Final = 0.5
"""Seconds for what is still to be written when one side has closed, or is to be."""


class Front:
    def __init__(self, context: Callable[[], ssl.SSLContext], pace: Callable[[str], Pace]) -> None:
        """`context` is asked for at each connection: the certificate is renewed, and roots change. `pace`: that of an
        address, which handshakes without end wear out."""
        self.inner = f"unix-abstract:pilotfish-{secrets.token_hex(16)}"
        """Where gRPC is to listen, in its own words."""
        self._context = context
        self._pace = pace
        self._callers: dict[str, Caller] = {}
        self._sides: dict[str, Side] = {}
        """The outer ends, by the same names."""
        self._of_peer: Counter[str] = Counter()
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def caller(self, peer: str) -> Caller | None:
        """Who is at the other end of what gRPC says comes from `peer`: itself in plaintext, unless it came through
        here. None for whoever came to the inner socket past the front."""
        return self._callers.get(peer) if peer.startswith("unix") else Caller(peer)

    def hang_up(self, peer: str) -> None:
        """End the connection, as soon as what was said on it is out: the next one proves anew who comes. A client would
        go on with this one, and with the certificate that it has shown, when it has another already."""
        side = self._sides.get(peer)
        if side is not None:
            asyncio.get_running_loop().call_later(_LAST_WORDS, side.close)

    def listen(self, address: Address) -> Address:
        """Raises OSError."""
        self._listening = open_listening(address)
        self._listening.setblocking(False)
        return Address(address.host, port_of(self._listening))

    def start(self) -> None:
        """gRPC serves."""
        asyncio.get_running_loop().add_reader(self._accepting(), self._accept)

    async def close(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepting(self) -> socket.socket:
        if self._listening is None:
            raise RuntimeError("the front listens before it starts")
        return self._listening

    def _accept(self) -> None:
        """Somebody has come. By no task: one that is cancelled between two of its steps would lose him."""
        loop, listening = asyncio.get_running_loop(), self._accepting()
        try:
            made, peer = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left
            _log.warning("a connection can't be accepted: %s", error)
            loop.remove_reader(listening)
            loop.call_later(_AGAIN, self._go_on)
            return
        made.setblocking(False)
        host, port = plain_address(peer[0]), peer[1]
        if len(self._tasks) >= _MOST or self._of_peer[host] >= MOST_OF_A_PEER:
            made.close()
            return
        self._of_peer[host] += 1
        task = loop.create_task(self._serve(made, host, port))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, made, host))

    def _go_on(self) -> None:
        if self._accepting().fileno() >= 0:
            self.start()

    def _ended(self, made: socket.socket, host: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        made.close()
        self._of_peer[host] -= 1
        if not self._of_peer[host]:
            del self._of_peer[host]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection was ended by a fault", exc_info=error)

    async def _serve(self, made: socket.socket, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        inner, name = Side(), ""
        outer: TlsSide | None = None
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if rest := self._pace(host).rest(_COST, time.monotonic()):
                await asyncio.sleep(rest)
            outer = TlsSide(self._context())
            outer.other, inner.other = inner, outer
            await loop.connect_accepted_socket(lambda: outer, made)
            async with asyncio.timeout(_HANDSHAKE):
                await outer.ready
            if not outer.failure:
                name = await self._connect(inner, outer, host, port)
                await asyncio.wait((outer.lost, inner.lost), return_when=asyncio.FIRST_COMPLETED)
            outer.close()
            inner.close()
            await asyncio.wait((outer.lost,), timeout=_LAST_WORDS)
        except (OSError, TimeoutError) as error:
            _log.debug("%s: no TLS connection: %s", host, error)
        except ValueError as error:  # there is no certificate to show
            _log.warning("%s is not served: %s", host, error)
        finally:
            # Before the name may be another's.
            self._callers.pop(name, None)
            self._sides.pop(name, None)
            inner.abort()
            if outer is not None:
                outer.abort()

    async def _connect(self, inner: Side, outer: TlsSide, host: str, port: int) -> str:
        """The name of the inner end, as gRPC will say it."""
        made = socket.socket(socket.AF_UNIX)
        try:
            made.setblocking(False)
            made.bind("")  # the kernel chooses
            name = f"unix-abstract:{made.getsockname()[1:].decode()}"
            self._note(name, outer, host, port)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(made, "\0" + self.inner.removeprefix("unix-abstract:"))
            await loop.create_connection(lambda: inner, sock=made)
        except BaseException:
            made.close()
            raise
        return name

    def _note(self, name: str, outer: TlsSide, host: str, port: int) -> None:
        family = "ipv6" if ":" in host else "ipv4"
        self._sides[name] = outer
        self._callers[name] = Caller(f"{family}:{host_port(host, port)}", secure=True, identity=outer.identity)
