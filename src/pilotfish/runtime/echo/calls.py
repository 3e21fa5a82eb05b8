"""What is asked of the programs, and what they say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

import msgspec

from pilotfish.explain.ask import Ask
from pilotfish.model.struct import Frozen

_PYTHON: Final = (os.path.realpath(sys.executable), "-IS", "-c")
"""Not by the path of an environment, which a pod's user may not be able to walk."""


class Result(Frozen):
    status: int | None = None
    """None where no HTTP was answered."""
    echo: str = ""
    """The pod that answered, where its app is `server.py`."""
    end: str = ""
    """`refused`, `reset` or `timeout`, where there was no answer."""
    source: str = ""
    """`IP:PORT` that the connection came from, and (`target`) where it went: access logs know it by both."""
    target: str = ""


def client_command() -> tuple[str, ...]:
    """It reads calls, and writes what `read_results` reads."""
    return (*_PYTHON, _text("client.py"))


def command_with_calls(asks: Iterable[Ask]) -> tuple[str, ...]:
    """The same where nothing can be written to it, by whatever Python there is: it reads its arguments instead."""
    code = "import io, sys; sys.stdin = io.StringIO(sys.argv[1]); exec(sys.argv[2])"
    return ("python3", "-IS", "-c", code, build_calls(asks).decode(), _text("client.py"))


def server_command(places: Iterable[str]) -> tuple[str, ...]:
    """`places`: ADDRESS:PORT."""
    return (*_PYTHON, _text("server.py"), *places)


def build_calls(asks: Iterable[Ask]) -> bytes:
    return msgspec.json.encode([_call(ask) for ask in asks])


def read_results(text: bytes) -> list[Result]:
    """msgspec.DecodeError where it is none."""
    return msgspec.json.decode(text, type=list[Result])


def _call(ask: Ask) -> dict[str, Any]:
    request, tls = ask.request, ask.tls
    return {
        "host": ask.host,
        "port": ask.port,
        "address": ask.address,
        "protocol": ask.application.value,
        "waits": ask.server_first,
        "method": request.method,
        "path": request.path,
        "authority": request.host,
        "headers": dict(request.headers),
        "tls": tls is not None,
        "sni": tls.server_name if tls is not None else "",
        "alpn": tls.alpn if tls is not None else "",
    }


def _text(name: str) -> str:
    return files("pilotfish.runtime.echo").joinpath(name).read_text()
