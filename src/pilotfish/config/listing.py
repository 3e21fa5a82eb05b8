"""A Kubernetes `List` that is read again with every change."""

from __future__ import annotations

import msgspec

from pilotfish.config.building import Fault
from pilotfish.config.loading import load, merge, unfold
from pilotfish.config.manifest import Loaded
from pilotfish.config.piece import Piece, RawObject
from pilotfish.config.text import Positions


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _List(msgspec.Struct):
    kind: str
    items: list[msgspec.Raw]
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)


_DECODER = msgspec.json.Decoder(_List)


class ListReader:
    """Reads one List in JSON again and again; an item whose bytes did not change is not decoded again.

    What it gives for such an item is the same `Manifest`, not an equal one.
    """

    def __init__(self, file: str = "-", default_namespace: str = "default") -> None:
        self._file = file
        self._default_namespace = default_namespace
        self._pieces: dict[tuple[int, bytes], tuple[Piece, ...]] = {}
        """By the number of lines before the item, and its bytes."""

    def read(self, data: bytes) -> Loaded:
        """What `load` gives for the same text."""
        try:
            listed = _DECODER.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return load(data.decode(errors="replace"), self._file, self._default_namespace)
        if listed.kind != "List":
            return load(data.decode(errors="replace"), self._file, self._default_namespace)
        raw = [bytes(item) for item in listed.items]
        items = list(zip(_lines_before(data, raw), raw, strict=True))
        known = self._pieces
        self._pieces = {item: known.get(item) or self._read_item(*item) for item in items}
        return merge((p for item in items for p in self._pieces[item]), listed.metadata.resource_version)

    def _read_item(self, line: int, item: bytes) -> tuple[Piece, ...]:
        faults: tuple[Fault, ...] = ()
        try:
            value = msgspec.json.decode(item)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            value, faults = (
                None,
                (Fault("", "SyntaxError", f"the item can't be read, so it is not used: {error}", 1 + line),),
            )
        positions = Positions.of_json(item.decode(errors="replace"), line)
        return tuple(unfold(RawObject(value, self._file, self._default_namespace, positions, faults=faults)))


def _lines_before(data: bytes, items: list[bytes]) -> list[int]:
    if data.find(b"\n", 0, len(data) - 1) < 0:
        return [0] * len(items)
    lines, at, line = [], 0, 0
    for item in items:
        start = data.index(item, at)
        line += data.count(b"\n", at, start)
        lines.append(line)
        line += item.count(b"\n")
        at = start + len(item)
    return lines
