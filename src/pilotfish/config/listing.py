"""A Kubernetes `List` that is read again with every change."""

from __future__ import annotations

import msgspec

from pilotfish.config.building import Fault
from pilotfish.config.loading import InPieces, Merging, finish, load_in_pieces, unfold
from pilotfish.config.manifest import Loaded
from pilotfish.config.piece import Piece, RawObject
from pilotfish.config.text import LARGEST_TEXT, Positions


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
        return finish(self.read_in_pieces(data))

    def read_in_pieces(self, data: bytes) -> InPieces[Loaded]:
        listed = _decode(data)
        if listed is None:
            return (yield from load_in_pieces(data.decode(errors="replace"), self._file, self._default_namespace))
        raw = [bytes(item) for item in listed.items]
        known, self._pieces = self._pieces, {}
        merging = Merging()
        merging.resource_version = listed.metadata.resource_version
        for item in zip(_lines_before(data, raw), raw, strict=True):
            pieces = known.get(item) or self._read_item(*item)
            self._pieces[item] = pieces
            for piece in pieces:
                merging.add(piece)
            yield
        return merging.loaded()

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
        return tuple(unfold(RawObject(value, self._file, self._default_namespace, positions, faults=faults, json=item)))


def _decode(data: bytes) -> _List | None:
    """None for what is no List in JSON, or too large a one: the reader of YAML says what is wrong with it."""
    if len(data) > LARGEST_TEXT:
        return None
    try:
        listed = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return listed if listed.kind == "List" else None


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
