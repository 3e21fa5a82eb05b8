"""What the pages of the monitoring port have in common: parameters in, JSON out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

_LONGEST_WAIT = 60.0
_LONGEST_NUMBER = 18
"""Digits. Python refuses to read numbers of thousands of them."""
NO_PROXY = "give proxyID=, a node id or NAME.NAMESPACE\n"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Pages = dict[str, tuple[Handler, str]]
"""By name below a folder: who answers, and what the answer is."""


def add_pages(app: web.Application, folder: str, pages: Pages) -> None:
    """`GET /FOLDER/NAME` for each, and `GET /FOLDER` that lists them."""
    lines = [f"/{folder}/{name:12} {what}" for name, (_, what) in sorted(pages.items())]

    async def index(request: web.Request) -> web.Response:
        return web.Response(text="\n".join(lines) + "\n")

    app.router.add_get(f"/{folder}", index)
    for name, (handler, _) in pages.items():
        app.router.add_get(f"/{folder}/{name}", handler)


def answer(value: Any, status: int = 200) -> web.Response:
    compact = msgspec.json.encode(value, enc_hook=str)
    return web.Response(body=msgspec.json.format(compact, indent=2), status=status, content_type="application/json")


def number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        raise web.HTTPBadRequest(
            text=f"{name}={text[:_LONGEST_NUMBER]} is not a number of at most {_LONGEST_NUMBER} digits\n"
        )
    return int(text)


def wait(request: web.Request) -> float:
    """The seconds that the client is ready to wait."""
    text = request.query.get("wait", "0")
    try:
        return max(0.0, min(float(text), _LONGEST_WAIT))
    except ValueError:
        raise web.HTTPBadRequest(text=f"wait={text} is not a number of seconds\n") from None
