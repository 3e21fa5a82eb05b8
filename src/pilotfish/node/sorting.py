"""The output of a machine's Envoy, whose pods each have the lines that are theirs in a log of their own.

A pod's line of text begins with the file of its network namespace and a blank, and goes on as that of a sidecar; one in
JSON has it as a member (`envoy.machine.places`). All others are the Envoy's own.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final

from pilotfish.envoy.naming import NAMESPACE_MEMBER

_MEMBER: Final = b'"%s":"' % NAMESPACE_MEMBER.encode()
_LONGEST: Final = 1 << 20
"""Bytes of a line: what has none so long is taken as it is."""


class OutputSorter:
    """Implements `runtime.linux.logs.Sorter`."""

    def __init__(self, prefix: str) -> None:
        """`prefix`: how the files of all pods' network namespaces begin."""
        self._prefix = prefix.encode()
        self._kept = b""
        self._writers: dict[bytes, Callable[[bytes], None]] = {}

    def add(self, netns: str, write: Callable[[bytes], None]) -> None:
        """What is a pod's goes there from now on."""
        self._writers[netns.encode()] = write

    def remove(self, netns: str) -> None:
        self._writers.pop(netns.encode(), None)

    def take(self, chunk: bytes) -> bytes:
        """Returns what is nobody's, or that of a pod that is gone."""
        chunk = self._kept + chunk
        cut = chunk.rfind(b"\n") + 1 if len(chunk) - chunk.rfind(b"\n") <= _LONGEST else len(chunk)
        chunk, self._kept = chunk[:cut], chunk[cut:]
        return self._sort(chunk) if self._prefix in chunk else chunk

    def end(self) -> bytes:
        rest, self._kept = self._kept, b""
        return self._sort(rest)

    def _sort(self, chunk: bytes) -> bytes:
        rest: list[bytes] = []
        of_pods: dict[bytes, list[bytes]] = {}
        for line in BytesIO(chunk):
            netns, said = _split(line)
            (of_pods.setdefault(netns, []).append(said) if netns in self._writers else rest.append(line))
        for netns, lines in of_pods.items():
            self._writers[netns](b"".join(lines))
        return b"".join(rest)


def _split(line: bytes) -> tuple[bytes, bytes]:
    """(the file, the line as that of a sidecar)."""
    if not line.startswith(b"{"):
        netns, _, said = line.partition(b" ")
        return netns, said
    # What a request brings along can't look so: its quotes are escaped.
    before, _, rest = line.partition(_MEMBER)
    netns, _, after = rest.partition(b'"')
    if before.endswith(b","):
        return netns, before[:-1] + after
    return netns, before + after.removeprefix(b",")
