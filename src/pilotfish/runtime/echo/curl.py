"""The same by curl, for a container that has it and no Python: HTTP, and its status where an answer comes.

Source: https://curl.se/docs/manpage.html (--write-out, EXIT CODES)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.explain.ask import Ask
from pilotfish.explain.call import Application
from pilotfish.model.addresses import bracketed
from pilotfish.runtime.echo.calls import Result

_TIMEOUT: Final = 10
_TOLD: Final = r"%{http_code} %{local_ip} %{local_port} %{remote_ip} %{remote_port}"
_ENDS: Final = {6: "refused", 7: "refused", 28: "timeout", 35: "reset", 52: "reset", 55: "reset", 56: "reset"}
"""By its exit code: no address, no connection, no time, no handshake, no answer, broken off."""


def curl_command(ask: Ask) -> tuple[str, ...]:
    """ValueError for what curl does not send."""
    if ask.application is Application.TCP:
        raise ValueError("curl sends HTTP alone")
    return tuple(_words(ask))


def _words(ask: Ask) -> Iterator[str]:
    request, tls = ask.request, ask.tls
    yield from ("curl", "-sk", "-o", "/dev/null", "--max-time", str(_TIMEOUT), "--noproxy", "*", "-w", _TOLD)
    yield from ("-I",) if request.method == "HEAD" else ("-X", request.method)
    if ask.application is Application.HTTP2:
        yield "--http2" if tls is not None else "--http2-prior-knowledge"
    for name, value in {"host": request.host, **request.headers}.items():
        yield from ("-H", f"{name}: {value}")
    if ask.address:
        yield from ("--connect-to", f"::{bracketed(ask.address)}:{ask.port}")
    host = tls.server_name if tls is not None and tls.server_name else bracketed(ask.host)
    yield f"{'https' if tls is not None else 'http'}://{host}:{ask.port}{request.path}"


def read_curl(code: int, said: bytes) -> Result:
    """`said`: on its standard output."""
    status, source, source_port, target, target_port = (*said.decode(errors="replace").split()[:5], *("",) * 5)[:5]
    begin, end = _place(source, source_port), _place(target, target_port)
    if code == 0 and status.isdecimal() and int(status):
        return Result(status=int(status), source=begin, target=end)
    return Result(end=_ENDS.get(code, "reset"), source=begin, target=end)


def _place(address: str, port: str) -> str:
    return f"{bracketed(address)}:{port}" if address and port not in ("", "0") else ""
