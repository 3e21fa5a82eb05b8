"""What somebody wants explained: where to, and with what, as curl spells it.

http://web:8080/path    HTTP; https:// is HTTP in TLS
web:6379                TCP; HTTP where a method, a header or a path is given
10.96.0.7:80            an address: no name is resolved
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pilotfish.explain.call import Application, Call, Direction, HttpRequest, Tls, is_address
from pilotfish.model.addresses import bracketed
from pilotfish.model.private import REDACTED

OUTSIDE: Final = "outside"
"""Who asks from outside of every pod."""
_PORTS: Final = {"http": 80, "https": 443}
_SECRET: Final = ("authorization", "proxy-authorization")


@dataclass(frozen=True, slots=True)
class Ask:
    url: str
    """As it was given."""
    host: str
    port: int
    address: str = ""
    """Where no name is to be resolved."""
    application: Application = Application.HTTP
    tls: Tls | None = None
    request: HttpRequest = field(default_factory=HttpRequest)
    source: str = ""
    uid: int = 0
    server_first: bool = False
    """Of TCP: the client waits for the server's first bytes, as SMTP and MySQL do."""

    went_to: str = ""
    """The cluster that an access log tells, which tells no headers."""

    @property
    def is_http(self) -> bool:
        return self.application is not Application.TCP

    now: float = 0.0
    """Seconds since the epoch; at 0 no token has expired."""

    @property
    def shown_headers(self) -> dict[str, str]:
        """As whoever reads the report may see them: no credentials."""
        return {name: _hide(value) if name in _SECRET else value for name, value in self.request.headers.items()}

    def call(self, address: str, source: str) -> Call:
        return Call(
            Direction.OUTBOUND,
            address,
            self.port,
            self.application,
            self.tls,
            self.request,
            self.source or source,
            server_first=self.server_first,
            went_to=self.went_to,
            now=self.now,
        )


def parse(
    to: str,
    *,
    method: str = "",
    headers: Iterable[str] = (),
    sni: str = "",
    alpn: str = "",
    tls: bool = False,
    http2: bool = False,
    source: str = "",
    uid: int = 0,
    server_first: bool = False,
    jwt: str = "",
    now: float = 0.0,
    resolve: Mapping[tuple[str, int], str] | None = None,
) -> Ask:
    """ValueError says what is wrong and how it is written. `headers`: `Name: value`. `resolve`: addresses by (host,
    port), as curl's --resolve gives them."""
    has_scheme = "://" in to
    parts = urlsplit(to if has_scheme else f"//{to}")
    scheme = parts.scheme or ("https" if tls else "http")
    if scheme not in (*_PORTS, "tcp"):
        raise ValueError(f"{to}: {scheme}:// is not understood; write http://, https://, or HOST:PORT for TCP")
    host = parts.hostname or ""
    try:
        port = parts.port or _PORTS.get(scheme if has_scheme else "", 0)
    except ValueError:
        raise ValueError(f"{to}: the port must be a number from 1 to 65535") from None
    if not host or not port:
        raise ValueError(f"{to}: write a URL, HOST:PORT or ADDRESS:PORT")
    given = dict(map(_parse_header, headers))
    if jwt:
        given["authorization"] = f"Bearer {jwt}"
    is_http = scheme != "tcp" and (has_scheme or bool(method or given or parts.path))
    secure = scheme == "https" or tls
    shown = bracketed(host)
    authority = given.pop("host", "") or (shown if port == _PORTS.get(scheme) else f"{shown}:{port}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if server_first and (is_http or secure or sni):
        raise ValueError(f"{to}: over HTTP and TLS it is the client who speaks first; write HOST:PORT")
    application = (Application.HTTP2 if http2 else Application.HTTP) if is_http else Application.TCP
    named = "" if is_address(host) else host
    return Ask(
        url=to,
        host=host,
        port=port,
        address=host if not named else (resolve or {}).get((host, port), ""),
        application=application,
        tls=Tls(sni or named, tuple(filter(None, alpn.split(",")))) if secure or sni else None,
        request=HttpRequest(authority, path, method or "GET", given, "https" if secure else "http"),
        source=source,
        uid=uid,
        server_first=server_first,
        now=now,
    )


def _hide(value: str) -> str:
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {REDACTED}" if space and scheme.isalpha() else REDACTED


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"-H {text!r}: write a header as 'Name: value'")
    return name.strip().lower(), value.strip()
