"""One API server, asked over HTTP: every answer bounded in time and size, every refusal named.

A request that the server puts off (429, or 503 with a time) is made again after the time that it asks for, as long as
its own time lasts. Where credentials are refused they are read again once. Nothing else is tried twice here: whoever
asks knows what that would mean.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from pilotfish.cluster.kubeconfig import Access
from pilotfish.cluster.paths import attributes
from pilotfish.cluster.status import read_refusal
from pilotfish.runtime.cluster.credentials import Credentials
from pilotfish.runtime.cluster.errors import ApiError, Unreachable, refused
from pilotfish.runtime.cluster.port_forward import PROTOCOL, PortForward
from pilotfish.runtime.connector import Connector

TIMEOUT: Final = 30.0
"""Seconds for a request and its answer."""
MOST: Final = 256 * 2**20
"""Bytes of an answer, and of one event of a watch."""
MOST_OF_AN_EVENT: Final = 16 * 2**20
LASTS: Final = 20
"""Seconds after which the server is asked to end a watch: a kind of which nothing changes may have nothing to say for
hours, and so would a way that is dead, or a server that hangs. The kernel of that one answers TCP's keep-alive."""
OVERDUE: Final = 5.0
"""Seconds after that, without a word, by which it is taken for dead."""
OPENS: Final = 10.0
"""Seconds for a server to agree to a watch, before it has anything to say of it."""
_MOST_REFUSAL: Final = 2**20
_CONNECT: Final = 10.0
_PAUSE: Final = 1.0
"""Seconds until what was put off is asked again, where the server names no time."""
_PUT_OFF: Final = (429, 503)
_JSON: Final = "application/json"
_ACCEPT: Final = f"{_JSON}, */*"
"""JSON where there is a choice: the server's public keys are `application/jwk-set+json` alone."""
APPLY: Final = "application/apply-patch+yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
Param = str | int | bool


class _ListMeta(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    token: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Any]
    """Decoded, or as `shape` says."""
    resource_version: str
    """Of the whole list: the same on each page."""


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: Any
    """Decoded, or as `shape` says; of an ERROR the Status."""


class Api:
    """`async with` opens and closes its connections. A path is one of `cluster.paths`, or any other of the server.

    What it raises: `Unreachable`, `ApiError` (`Forbidden`, `Unauthorized`), and MachineError for credentials that can't
    be had. Keyword arguments beyond those named are the query: `fieldSelector="spec.nodeName=a"`, `dryRun="All"`.
    """

    def __init__(self, access: Access, agent: str = "pilotfish") -> None:
        """`agent`: how the server's logs call this process."""
        self.access = access
        self._credentials = Credentials(access)
        self._url = URL(access.server.url)
        self._proxy = access.server.proxy or _proxy_of(self._url)
        encoding = "gzip" if access.server.compress else "identity"
        self._headers = {"User-Agent": agent, "Accept": _ACCEPT, "Accept-Encoding": encoding}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        connector = Connector(limit=0, socket_factory=_watched_socket)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, timeout: float = TIMEOUT, **params: Param) -> Any:
        """Decoded JSON."""
        return msgspec.json.decode(await self.read(path, timeout=timeout, **params))

    async def read(self, path: str, *, timeout: float = TIMEOUT, **params: Param) -> bytes:
        """As it was answered: JSON, or the text of `/version`, `/readyz`, a pod's log."""
        return await self._ask("GET", path, params, timeout=timeout)

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = _JSON,
        timeout: float = TIMEOUT,
        **params: Param,
    ) -> Any:
        """POST, PUT, PATCH, DELETE. `body`: of a request, as Python values or bytes."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        answer = await self._ask(method, path, params, data, content_type, timeout)
        return msgspec.json.decode(answer) if answer else None

    async def apply(
        self, path: str, obj: object, *, manager: str = "pilotfish", force: bool = False, dry_run: bool = False
    ) -> Any:
        """Server-side apply: `obj` has what its manager wants, and no more. A conflict is an ApiError of 409."""
        params: dict[str, Any] = {"fieldManager": manager, "force": force}
        if dry_run:
            params["dryRun"] = "All"
        return await self.send("PATCH", path, obj, content_type=APPLY, **params)

    async def pages(
        self, path: str, *, limit: int = 500, shape: Any = Any, timeout: float = TIMEOUT, **params: Param
    ) -> AsyncIterator[Page]:
        """A list, in pieces. `timeout` is of one. An ApiError of 410 means that it has to begin anew."""
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        token = ""
        while True:
            asked: dict[str, Param] = {"limit": limit, **params}
            if token:
                asked["continue"] = token
                asked.pop("resourceVersion", None)
                asked.pop("resourceVersionMatch", None)
            answer = await self.read(path, timeout=timeout, **asked)
            found = _decode(_LISTS, answer, path)
            items: list[Any] = found.items or []
            yield Page(
                items if shape is msgspec.Raw else [decoder.decode(each) for each in items], found.metadata.version
            )
            token = found.metadata.token
            if not token:
                return

    async def watch(
        self,
        path: str,
        *,
        since: str = "",
        shape: Any = Any,
        lasts: float = LASTS,
        opened: Callable[[], None] = lambda: None,
        **params: Param,
    ) -> AsyncGenerator[Event, None]:
        """What changes, until the server ends it. `since`: a resourceVersion. `lasts`: seconds after which it does;
        Unreachable where it says nothing, not even that, for longer. An event of type ERROR is given out as any other.
        `opened` is called when the server has agreed."""
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        asked: dict[str, Param] = {"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": ceil(lasts), **params}
        if since:
            asked["resourceVersion"] = since
        async with self._open("GET", path, asked, patience=OPENS) as response:
            opened()
            async for line in self._lines(response, path, lasts + OVERDUE):
                event = _decode(_EVENTS, line, path)
                if event.type == "ERROR":
                    kept = msgspec.json.decode(event.object)
                else:
                    kept = event.object if shape is msgspec.Raw else decoder.decode(event.object)
                yield Event(event.type, kept)

    async def pieces(self, path: str, *, idle: float | None = None, **params: Param) -> AsyncGenerator[bytes, None]:
        """What is answered, as it comes: a log that is followed. `idle`: seconds of silence, after which it is
        Unreachable; None: however long it has nothing to say."""
        async with self._open("GET", path, params) as response:
            while True:
                async with asyncio.timeout(idle):
                    piece = await response.content.readany()
                if not piece:
                    return
                yield piece

    async def port_forward(self, namespace: str, pod: str, port: int) -> PortForward:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        opened = await self.open_socket(path, [("ports", str(port))])
        return PortForward(opened, f"port {port} of pod {pod} in namespace {namespace}")

    async def open_socket(self, path: str, query: Sequence[tuple[str, str]]) -> aiohttp.ClientWebSocketResponse:
        """To a part of a pod that speaks in channels: `portforward`, `exec`."""
        url = self._url.joinpath(path.lstrip("/")).with_query(query)
        options = await self._options()
        # What is no document can't be accepted as JSON: it is refused with 406.
        headers = [*options.pop("headers"), ("Accept", "*/*")]
        try:
            async with asyncio.timeout(TIMEOUT):
                opened: aiohttp.ClientWebSocketResponse = await self._opened().ws_connect(
                    url, protocols=(PROTOCOL,), max_msg_size=0, compress=0, headers=headers, **options
                )
                return opened
        except aiohttp.WSServerHandshakeError as error:
            # aiohttp gives no body of a refusal: the same question without the upgrade is refused alike, with one.
            await self._ask_refusal(error.status, path, dict(query))
            refusal = read_refusal(error.status, error.message.encode())
            raise refused(attributes("GET", path), refusal, self.access.origin) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _ask_refusal(self, status: int, path: str, query: Mapping[str, str]) -> None:
        """Raises what is said where a plain request is refused alike, and not because it is plain."""
        try:
            await self._ask("GET", path, query)
        except ApiError as error:
            if error.code == status and "pgrade request" not in error.said:
                raise

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Param],
        body: bytes | None = None,
        content_type: str = _JSON,
        timeout: float = TIMEOUT,
    ) -> bytes:
        try:
            async with (
                asyncio.timeout(timeout),
                self._open(method, path, params, body, content_type, timeout) as response,
            ):
                return await _read(response, path)
        except TimeoutError as error:
            raise self._silent(timeout) from error

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, Param],
        body: bytes | None = None,
        content_type: str = _JSON,
        patience: float = TIMEOUT,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """An answer of less than 400, of which the head is here. `patience`: seconds for it."""
        asked = attributes(method, path, watch=bool(params.get("watch")))
        url = self._url.joinpath(path.lstrip("/")).with_query({key: _text(value) for key, value in params.items()})
        loop = asyncio.get_running_loop()
        until, doubted = loop.time() + patience, False
        while True:
            options = await self._options()
            headers = [*options.pop("headers"), *([("Content-Type", content_type)] if body is not None else [])]
            try:
                async with asyncio.timeout_at(until):
                    response = await self._opened().request(
                        method, url, data=body, headers=headers, allow_redirects=False, **options
                    )
            except TimeoutError as error:
                raise self._silent(patience) from error
            except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
                self._credentials.doubt()
                raise self._unreachable(error) from error
            async with response:
                if response.status < 300:
                    try:
                        yield response
                    except (aiohttp.ClientError, OSError) as error:
                        if isinstance(error, TimeoutError):
                            raise
                        raise self._unreachable(error) from error
                    finally:
                        _drop_unread(response)
                    return
                retry_after = response.headers.get("Retry-After", "")
                async with asyncio.timeout_at(until):
                    said = await response.content.read(_MOST_REFUSAL)
            refusal = read_refusal(response.status, said, retry_after)
            pause = refusal.retry_after if refusal.retry_after is not None else _PAUSE
            if refusal.code == 401 and not doubted:
                doubted = True
                self._credentials.doubt()
            elif refusal.code in _PUT_OFF and (retry_after or refusal.code == 429) and loop.time() + pause < until:
                await asyncio.sleep(pause)
            else:
                raise refused(asked, refusal, self.access.origin)

    async def _lines(self, response: aiohttp.ClientResponse, path: str, idle: float) -> AsyncIterator[bytes]:
        rest = b""
        while True:
            try:
                async with asyncio.timeout(idle):
                    piece = await response.content.readany()
            except TimeoutError as error:
                text = f"{self._said} has said nothing for {idle:.0f} s of a watch of {path}"
                raise Unreachable(text, "see how it is") from error
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > MOST_OF_AN_EVENT:
                raise Unreachable(f"an event of {path} is longer than {MOST_OF_AN_EVENT} bytes")
            for line in whole:
                if line:
                    yield line

    async def _options(self) -> dict[str, Any]:
        """Of each request."""
        server = self.access.server
        context = await self._credentials.tls()
        return {
            "headers": await self._credentials.headers(),
            "ssl": context if context is not None else True,
            "server_hostname": server.tls_name or None,
            "proxy": self._proxy or None,
        }

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("an Api is used inside of `async with`")
        return self._session

    @property
    def _said(self) -> str:
        return f"the API server {self._url} of {self.access.origin}"

    def _silent(self, seconds: float) -> Unreachable:
        return Unreachable(f"{self._said} has not answered within {seconds:.0f} s", "see how it is")

    def _unreachable(self, error: Exception) -> Unreachable:
        """What the network, TLS or a proxy made of it."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            shown = error.certificate_error
            is_named = isinstance(shown, ssl.SSLCertVerificationError) and "mismatch" in shown.verify_message
            remedy = f"mend {'tls-server-name' if is_named else 'certificate-authority'} of the kubeconfig"
            return Unreachable(f"{self._said} does not prove who it is: {shown}", remedy)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return Unreachable(f"the proxy {self._proxy} does not lead to {self._said}: {error.message}", "ask it why")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            what = f"the proxy {self._proxy}, which leads to {self._said},"
        else:
            what = self._said
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        why = (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
        return Unreachable(f"{what} can't be reached: {why[:300]}", "see whether it runs, and what is between")


_LISTS: Final = msgspec.json.Decoder(_List)
_EVENTS: Final = msgspec.json.Decoder(_Event)


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes, path: str) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        text = f"what is answered for {path} is not an API server's: {error}, in {body[:200]!r}"
        raise Unreachable(text, "see whether the server of the kubeconfig is one") from error


async def _read(response: aiohttp.ClientResponse, path: str) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MOST:
            raise Unreachable(f"the answer for {path} is longer than {MOST} bytes", "ask for less of it")
    return b"".join(pieces)


def _drop_unread(response: aiohttp.ClientResponse) -> None:
    """The connection of an answer that nobody wants the rest of, such as a watch: TLS would wait for the server to say
    goodbye, for half a minute where it is stuck."""
    connection = response.connection
    if connection is not None and connection.transport is not None and not response.content.at_eof():
        connection.transport.abort()


def _text(value: Param) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _proxy_of(url: URL) -> str:
    """As the environment says; never for what it excepts."""
    if url.host is None or proxy_bypass(url.host):
        return ""
    found = getproxies().get(url.scheme, "")
    return found if found.startswith("http") else ""


def _watched_socket(info: Any) -> socket.socket:
    """One whose peer's silent end the kernel notices: a watch may have nothing to say for long."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
    return made
