"""One probe of the app, made from inside its pod.

The connection comes from 127.0.0.6 (::6), as those of Envoy's inbound side do: the capture rules let that pass to
the app.
Source: https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import quote, urljoin, urlsplit

import h11

from pilotfish.agent.health import HealthCheck, check_request
from pilotfish.agent.probes import AppProbe, port_number
from pilotfish.config.kubernetes import GRPCAction, HTTPGetAction, TCPSocketAction
from pilotfish.model.addresses import bracketed
from pilotfish.model.wellknown import INBOUND_BIND_IPV4, INBOUND_BIND_IPV6
from pilotfish.runtime.agent.sockets import family_of, open_socket
from pilotfish.runtime.http.message import Answer, AnswerError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.resolve import resolve

_PASSED_ON = frozenset({"accept", "user-agent"})
"""Of the asking kubelet's headers. An app may tell probes from visitors by its `kube-probe/...`."""
_MOST_REDIRECTS = 10
_LARGEST_PAGE = 16 * 1024 * 1024
"""Bytes of an app's metrics: the agents of all pods are one process."""
_LARGEST_HEAD = 1024 * 1024
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
        """The body of a page of the app's. Raises OSError."""
        place = _Place.parse(url)
        async with asyncio.timeout(timeout):
            answer = await self._ask(place, {"user-agent": "pilotfish"}, _LARGEST_PAGE)
        if answer.status != 200:
            raise AnswerError(f"{url} answered with status {answer.status}")
        return answer.body.decode(errors="replace")

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def _http(self, action: HTTPGetAction, headers: Mapping[str, str]) -> ProbeResult:
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        host, port = action.host or self.address, port_number(action.port)
        place = _Place(action.scheme.lower(), host, port, _sendable(path))
        passed_on = {name.lower(): value for name, value in headers.items() if name.lower() in _PASSED_ON}
        own = {header.name.lower(): header.value for header in action.http_headers}
        try:
            status = await self._follow(place, {"user-agent": "kube-probe/pilotfish", **passed_on, **own})
        except AnswerError as error:
            return ProbeResult(False, str(error))
        except OSError as error:
            return ProbeResult(False, f"{bracketed(host)}:{port}: {_explain(error)}")
        return ProbeResult(200 <= status < 400, f"HTTP status {status}")

    async def _follow(self, place: _Place, headers: Mapping[str, str]) -> int:
        """The status after redirects on the same host; one to another is a success of its own, as in Kubernetes."""
        status = 0
        for _ in range(_MOST_REDIRECTS):
            answer = await self._ask(place, headers)
            status, location = answer.status, answer.fields.get("location", "")
            target = place.join(location) if location and 300 <= status < 400 else None
            if target is None or target.host != place.host:
                return status
            place = target
        return status

    async def _ask(self, place: _Place, headers: Mapping[str, str], most: int | None = None) -> Answer:
        """`most`: bytes of the body; None: the answer's head is enough."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        fields = {"host": place.authority, **headers, "connection": "close"}
        try:
            request = h11.Request(method="GET", target=place.target, headers=list(fields.items()))
            asked = (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError as error:
            raise AnswerError(f"{place} can't be asked for so: {error}") from error
        _, address = await resolve(place.host, place.port)
        made = self._socket(address[0])
        try:
            await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        # The certificate is not verified: a probe asks whether the app lives, as the kubelet's does.
        tls = ssl._create_unverified_context() if place.scheme == "https" else None
        reader, writer = await asyncio.open_connection(sock=made, ssl=tls, server_hostname=place.host if tls else None)
        try:
            writer.write(asked)
            return await _receive(http, reader, place, most)
        finally:
            writer.transport.abort()

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


async def _receive(http: h11.Connection, reader: asyncio.StreamReader, place: _Place, most: int | None) -> Answer:
    head, body = Answer(0, b""), bytearray()
    while True:
        try:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
        except h11.RemoteProtocolError as error:
            raise AnswerError("this is no HTTP answer" if str(error).startswith("illegal") else str(error)) from error
        if isinstance(event, h11.Response):
            named = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            head = Answer(event.status_code, b"", named)
            if most is None:
                return head
        elif isinstance(event, h11.Data):
            body += event.data
            if most is not None and len(body) > most:
                raise AnswerError(f"{place} is longer than {most} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return replace(head, body=bytes(body))


def _sendable(path: str) -> str:
    """As it is, but for what can't stand in a request."""
    return quote(path, safe="!#$%&'()*+,/:;=?@[]~")


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str) -> _Place:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = _sendable(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
        return cls(parts.scheme, parts.hostname or "", port, target)

    @property
    def authority(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    def join(self, location: str) -> _Place | None:
        """Where a redirect leads to; None for what is no address of HTTP."""
        try:
            found = self.parse(urljoin(str(self), location))
        except ValueError:
            return None
        return found if found.scheme in ("http", "https") else None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"
