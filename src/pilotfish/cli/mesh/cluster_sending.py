"""Requests that are really sent from a container of a cluster's pod, by whatever it has that can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pilotfish.cli.failure import Failure
from pilotfish.explain.ask import Ask
from pilotfish.runtime.cluster.exec import NOT_THERE, Done
from pilotfish.runtime.echo.calls import Result, command_with_calls, read_results
from pilotfish.runtime.echo.curl import curl_command, read_curl

_LACKING: Final = (126, NOT_THERE)


def send(where: str, execute: Callable[[Sequence[str]], Done], asks: Sequence[Ask]) -> list[Result]:
    """By its Python, else by its curl. Raises Failure where it has neither."""
    done = execute(command_with_calls(asks))
    return read_results(done.output) if not done.code else [_send_by_curl(where, execute, ask) for ask in asks]


def _send_by_curl(where: str, execute: Callable[[Sequence[str]], Done], ask: Ask) -> Result:
    try:
        done = execute(curl_command(ask))
    except ValueError as error:
        raise Failure(f"nothing can be sent from {where}: it has no python3, and {error}") from error
    if done.code in _LACKING:
        raise Failure(f"nothing can be sent from {where}: it has neither python3 nor curl ({done.error})")
    return read_curl(done.code, done.output)
