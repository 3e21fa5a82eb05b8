"""One probe of the app, made from inside its pod.

The connection comes from 127.0.0.6 (::6), as those of Envoy's inbound side do: the capture rules let that pass to
the app.
Source: https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pilotfish.agent.health import HealthCheck, check_request
from pilotfish.agent.probes import AppProbe, port_number
from pilotfish.config.kubernetes import GRPCAction, HTTPGetAction, TCPSocketAction
from pilotfish.model.addresses import bracketed
from pilotfish.model.wellknown import INBOUND_BIND_IPV4, INBOUND_BIND_IPV6
from pilotfish.runtime.agent.sockets import family_of, open_socket
from pilotfish.runtime.http.message import AnswerError
from pilotfish.runtime.linux.netns import NetNs

if TYPE_CHECKING:
    import aiohttp

_PASSED_ON = frozenset({"accept", "user-agent"})
"""Of the asking kubelet's headers. An app may tell probes from visitors by its `kube-probe/...`."""
_MOST_REDIRECTS = 10
_LARGEST_PAGE = 16 * 1024 * 1024
"""Bytes of an app's metrics: the agents of all pods are one process."""
_SOURCES = {socket.AF_INET: INBOUND_BIND_IPV4, socket.AF_INET6: INBOUND_BIND_IPV6}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    ok: bool
    message: str
    """What happened, as `get pods` would show it; for a passed HTTP probe its status."""


@dataclass(frozen=True, slots=True)
class Prober:
    """Probes one pod."""

    netns: NetNs | None
    addresses: tuple[str, ...]
    """The pod's own, the first of which is probed."""

    async def probe(self, probe: AppProbe, headers: Mapping[str, str]) -> ProbeResult:
        """Never raises: a refused connection, a timeout and a broken answer are results."""
        try:
            async with asyncio.timeout(max(1, probe.timeout_seconds)):
                if probe.http_get is not None:
                    return await self._http(probe.http_get, headers)
                if probe.grpc is not None:
                    return await self._grpc(probe.grpc)
                if probe.tcp_socket is not None:
                    return await self._tcp(probe.tcp_socket)
                return ProbeResult(False, "the probe has no action that the agent can do")
        except TimeoutError:
            return ProbeResult(False, f"no answer within {max(1, probe.timeout_seconds)} s")
        except OSError as error:
            return ProbeResult(False, _explain(error))

    async def fetch(self, url: str, timeout: float) -> str:
        """The body of a page of the app's. Raises OSError or aiohttp.ClientError."""
        async with self._session() as session, asyncio.timeout(timeout), session.get(url) as response:
            response.raise_for_status()
            page = bytearray()
            async for chunk in response.content.iter_any():
                page += chunk
                if len(page) > _LARGEST_PAGE:
                    raise AnswerError(f"{url} is longer than {_LARGEST_PAGE} bytes")
            return page.decode(errors="replace")

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def _http(self, action: HTTPGetAction, headers: Mapping[str, str]) -> ProbeResult:
        import aiohttp
        from yarl import URL

        host = bracketed(action.host or self.address)
        base = URL(f"{action.scheme.lower()}://{host}:{port_number(action.port)}")
        url = base.join(URL(action.path if action.path.startswith("/") else f"/{action.path}", encoded=True))
        passed_on = {name: value for name, value in headers.items() if name.lower() in _PASSED_ON}
        own = {header.name: header.value for header in action.http_headers}
        try:
            async with self._session() as session:
                status = await _follow(session, url, {"user-agent": "kube-probe/pilotfish", **passed_on, **own})
        except aiohttp.ClientConnectorError as error:
            return ProbeResult(False, f"{host}:{url.port}: {_explain(error.os_error)}")
        except aiohttp.ClientError as error:
            return ProbeResult(False, str(error) or type(error).__name__)
        return ProbeResult(200 <= status < 400, f"HTTP status {status}")

    async def _tcp(self, action: TCPSocketAction) -> ProbeResult:
        port = port_number(action.port)
        with self._socket(action.host or self.address) as connection:
            await asyncio.get_running_loop().sock_connect(connection, (action.host or self.address, port))
        return ProbeResult(True, f"port {port} is open")

    async def _grpc(self, action: GRPCAction) -> ProbeResult:
        loop = asyncio.get_running_loop()
        check = HealthCheck()
        with self._socket(self.address) as connection:
            await loop.sock_connect(connection, (self.address, action.port))
            await loop.sock_sendall(connection, check_request(f"{self.address}:{action.port}", action.service))
            while check.result is None:
                await loop.sock_sendall(connection, check.receive(await loop.sock_recv(connection, 16384)))
        return ProbeResult(check.result == "SERVING", check.result)

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        # The certificate is not verified: a probe asks whether the app lives, as the kubelet's does.
        factory = partial(_socket_for, self)
        connector = aiohttp.TCPConnector(socket_factory=factory, force_close=True, ssl=False, use_dns_cache=False)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def _socket(self, host: str) -> socket.socket:
        made = open_socket(self.netns, family_of(host))
        if host in self.addresses or host in ("127.0.0.1", "::1"):
            # A namespace that nobody prepared lacks ::6; then nobody captures in it, either.
            with suppress(OSError):
                made.bind((_SOURCES[socket.AddressFamily(made.family)], 0))
        return made


def _explain(error: OSError) -> str:
    """`Connection refused`; asyncio's own text names the address instead."""
    return os.strerror(error.errno) if error.errno else str(error)


def _socket_for(prober: Prober, address: Any) -> socket.socket:
    return prober._socket(address[4][0])


async def _follow(session: aiohttp.ClientSession, url: Any, headers: Mapping[str, str]) -> int:
    """The status after redirects on the same host; one to another host is a success of its own, as in Kubernetes."""
    for _ in range(_MOST_REDIRECTS):
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            location = response.headers.get("location")
            status = response.status
        target = url.join(type(url)(location)) if location and 300 <= status < 400 else None
        if target is None or target.host != url.host:
            return status
        url = target
    return status
