"""A command in a pod's container, through the API server and the kubelet, over one WebSocket.

    channel 1: standard output     channel 2: standard error     channel 3: how it ended, a Status

Nothing is written to it: what it is to read stands among its arguments.
Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-connect-get-requests-of-exec
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import msgspec

from pilotfish.cluster.paths import item
from pilotfish.model.kinds import POD
from pilotfish.model.struct import Frozen
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import Unreachable

_OUT, _ERROR, _END = 1, 2, 3
_MOST: Final = 16 * 2**20
NOT_THERE: Final = 127
"""The exit code where the program is not in the container: what a shell says, and what a runtime that can't start it
is told as."""


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    output: bytes
    error: str
    """What it, or the container's runtime, said of it."""


class _Cause(Frozen):
    reason: str = ""
    message: str = ""


class _Details(Frozen):
    causes: tuple[_Cause, ...] | None = None


class _Status(Frozen):
    status: str = ""
    message: str = ""
    details: _Details | None = None


async def run(api: Api, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Done:
    """Raises Unreachable where it does not end in time, ApiError where it may not be, or there is no such container."""
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
    where = f"container {container} of pod {pod} in namespace {namespace}"
    pieces: dict[int, bytearray] = {_OUT: bytearray(), _ERROR: bytearray(), _END: bytearray()}
    socket = await api.open_socket(item(POD, namespace, pod, "exec"), query)
    try:
        async with asyncio.timeout(timeout):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY and message.data and message.data[0] in pieces:
                    pieces[message.data[0]] += message.data[1:]
                    if sum(map(len, pieces.values())) > _MOST:
                        raise Unreachable(f"what is said in {where} is longer than {_MOST} bytes")
    except TimeoutError as error:
        raise Unreachable(f"what runs in {where} has not ended within {timeout:g} s") from error
    finally:
        await socket.close()
    return _done(bytes(pieces[_OUT]), bytes(pieces[_ERROR]), bytes(pieces[_END]), where)


def _done(output: bytes, error: bytes, end: bytes, where: str) -> Done:
    if not end:
        raise Unreachable(f"the way to {where} broke off", "try again")
    try:
        status = msgspec.json.decode(end, type=_Status)
    except msgspec.DecodeError as wrong:
        raise Unreachable(f"how it ended in {where} can't be read: {end[:200]!r}") from wrong
    said = error.decode(errors="replace").strip()
    if status.status == "Success":
        return Done(0, output, said)
    causes = status.details.causes if status.details is not None else None
    code = next((each.message for each in causes or () if each.reason == "ExitCode"), "")
    # Without a code it was not started.
    return Done(int(code) if code.isdecimal() else NOT_THERE, output, said or status.message)
