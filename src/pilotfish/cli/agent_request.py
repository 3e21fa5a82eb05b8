"""`pilotfish agent-request`: what a container's hooks ask the agent of their pod."""

from __future__ import annotations

import socket
import time

import click

from pilotfish.cli.failure import Failure
from pilotfish.model.wellknown import STATUS_PORT

_ANSWER = 5.0
"""Seconds for one answer."""
_AGAIN = 0.1


@click.group(name="agent-request", short_help="Ask the agent of this pod: for hooks of its containers.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=STATUS_PORT, show_default=True, help="The agent's status port."
)
@click.pass_context
def command(ctx: click.Context, port: int) -> None:
    """Ask the agent of the pod that this container is in."""
    ctx.obj = port


@command.command("drain")
@click.pass_obj
def drain(port: int) -> None:
    """Take no more inbound work from now on: the pod ends. Envoy serves on until its container is told to end."""
    _post(port, "/drain")


@command.command("quit")
@click.pass_obj
def quit_(port: int) -> None:
    """End agent and Envoy, as the pod's work is done."""
    _post(port, "/quitquitquit")


@command.command("wait")
@click.option(
    "--timeout", type=float, default=60.0, show_default=True, metavar="SECONDS", help="Exit code 1 after so long."
)
@click.pass_obj
def wait(port: int, timeout: float) -> None:
    """Return when the proxy is ready."""
    until = time.monotonic() + timeout
    while why := _why_not_ready(port):
        if time.monotonic() >= until:
            raise Failure(f"the proxy is not ready after {timeout:g} s: {why}")
        time.sleep(_AGAIN)


def _why_not_ready(port: int) -> str:
    try:
        status, said = _ask(port, "GET", "/healthz/ready")
    except OSError as error:
        return f"its agent does not answer ({error})"
    return "" if status == 200 else said


def _post(port: int, path: str) -> None:
    try:
        status, said = _ask(port, "POST", path)
    except OSError as error:
        raise Failure(f"the agent of this pod does not answer at port {port}: {error}; is its container up?") from error
    if status != 200:
        raise Failure(f"the agent answered {status}: {said}")


def _ask(port: int, method: str, path: str) -> tuple[int, str]:
    from pilotfish.runtime.http import blocking
    from pilotfish.runtime.http.message import Request

    answer = blocking.ask(socket.socket(), ("127.0.0.1", port), Request(method, path), _ANSWER, most=65536)
    return answer.status, answer.body.decode(errors="replace").strip()
