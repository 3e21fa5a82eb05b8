"""Text → Loaded."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from pilotfish.config.conflict import duplicate_object, second_mesh_config
from pilotfish.config.manifest import Loaded, Manifest, WrittenMeshConfig
from pilotfish.config.meshconfig import value_at
from pilotfish.config.piece import Piece, RawObject, read_object
from pilotfish.config.text import ParsedDocument, read_in_pieces
from pilotfish.config.unfilled import Explainer
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import SUPPORTED, kind_written

MOST_PROBLEMS = 1_000
"""Of one text: nobody reads more of them."""

T = TypeVar("T")
InPieces = Generator[None, None, T]
"""Work that stops now and then, so that whoever drives it may do something else, and returns its result at the end."""


def load(text: str, file: str, default_namespace: str = "default") -> Loaded:
    """Every object of a text: YAML (any number of documents) or JSON, Lists unfolded. Never raises.

    `file` is for messages ("-" for standard input). Objects without a namespace get `default_namespace`.
    """
    return finish(load_in_pieces(text, file, default_namespace))


def load_in_pieces(text: str, file: str, default_namespace: str = "default") -> InPieces[Loaded]:
    """As `load`, in pieces of a few milliseconds."""
    merging, explainer = Merging(), Explainer(text, file)
    for document in read_in_pieces(text, file):
        if document is not None:
            merging.resource_version = merging.resource_version or _list_version(document)
            for piece in _read_document(document, file, default_namespace):
                merging.add(explainer.explain(piece, document.line, is_read=not document.unread))
                yield
        yield
    return merging.loaded()


def finish(work: InPieces[T]) -> T:
    """All of it at once."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: T = end.value
        return result


class Merging:
    """One text's pieces as a whole. Of objects with the same ref, and of meshConfigs, the first holds."""

    def __init__(self) -> None:
        self.resource_version = ""
        self._manifests: dict[ObjectRef, Manifest] = {}
        self._problems: list[Problem] = []
        self._unsaid = 0
        self._broken: set[ObjectRef] = set()
        self._mesh_config: WrittenMeshConfig | None = None
        self._incomplete = False
        self._has_foreign = False

    def add(self, piece: Piece) -> None:
        if piece.problems and not (piece.is_foreign and self._has_foreign):
            self._say(piece.problems)
        self._has_foreign |= piece.is_foreign
        self._incomplete |= piece.incomplete
        if piece.mesh_config is not None:
            self._mesh_config = self._mesh_config or piece.mesh_config
            if self._mesh_config.config != piece.mesh_config.config:
                self._say((second_mesh_config(piece.mesh_config, self._mesh_config),))
        if piece.broken is not None:
            self._broken.add(piece.broken)
        if piece.manifest is not None:
            first = self._manifests.setdefault(piece.manifest.ref, piece.manifest)
            if first is not piece.manifest:
                self._say((duplicate_object(piece.manifest, first),))

    def loaded(self) -> Loaded:
        if self._unsaid:
            message = f"{self._unsaid} more problems of this text are not shown; mend those that are"
            self._problems.append(Problem(None, "", "TooManyProblems", message, source=self._problems[-1].source))
        return Loaded(
            tuple(self._manifests.values()), tuple(self._problems), self._mesh_config,
            frozenset(self._broken - self._manifests.keys()), self._incomplete, self.resource_version,
        )  # fmt: skip

    def _say(self, problems: tuple[Problem, ...]) -> None:
        room = MOST_PROBLEMS - len(self._problems)
        self._problems += problems[:room]
        self._unsaid += max(0, len(problems) - room)


def unfold(raw: RawObject) -> Iterator[Piece]:
    """The objects inside of a List (or PodList, ServiceList, ...), or the object itself."""
    kind, items = value_at(raw.value, "kind"), value_at(raw.value, "items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list | None)):
        yield read_object(raw)
        return
    items = [_with_kind(item, value_at(raw.value, "apiVersion"), kind) for item in items or []]
    for index, item in enumerate(items):
        step = f"items[{index}]"
        inside = (fault for fault in raw.faults if fault.path.startswith(f"{step}."))
        faults = tuple(replace(fault, path=fault.path.removeprefix(f"{step}.")) for fault in inside)
        prefix = f"{raw.prefix}.{step}" if raw.prefix else step
        yield from unfold(replace(raw, value=item, prefix=prefix, faults=faults, json=None))
    for fault in raw.faults:
        if not fault.path.startswith("items["):
            source = Source(raw.file, fault.line)
            yield Piece(problems=(Problem(None, fault.path, fault.reason, fault.message, source=source),))


def _with_kind(item: object, api_version: object, kind: str) -> object:
    """An item of a ServiceList that names neither: a Service, as kubectl reads it. The API server writes such lists."""
    if kind == "List" or not isinstance(item, dict) or "kind" in item or "apiVersion" in item:
        return item
    return {"apiVersion": api_version, "kind": kind.removesuffix("List"), **item}


def _list_version(document: ParsedDocument) -> str:
    version = value_at(document.value, "metadata", "resourceVersion")
    return version if isinstance(version, str) and value_at(document.value, "kind") == "List" else ""


def _read_document(document: ParsedDocument, file: str, default_namespace: str) -> Iterable[Piece]:
    if document.unread:
        return (_unread(document, file, default_namespace),)
    raw = RawObject(document.value, file, default_namespace, document.positions, faults=document.faults)
    return unfold(raw)


_HEADING = re.compile(r"^(?:(\w+):|[ \t]+(name|namespace):)[ \t]*[\"']?([\w./-]*)", re.MULTILINE)
_HEAD = 2**16
"""Characters of a text in which it says which object it means to be."""


def _unread(document: ParsedDocument, file: str, default_namespace: str) -> Piece:
    """A text that is no YAML. Which object it was meant to be can often still be seen: it keeps its last good form."""
    ref = _guess_ref(document.unread, default_namespace)
    fault = document.faults[0]
    problem = Problem(ref, "", fault.reason, fault.message, Severity.ERROR, Source(file, fault.line))
    return Piece(problems=(problem,), broken=ref, incomplete=ref is None)


def _guess_ref(text: str, default_namespace: str) -> ObjectRef | None:
    """One pass: the fields of the document itself, and the first name and namespace inside of its metadata."""
    found: dict[str, str] = {}
    parent = ""
    for field, inner, value in _HEADING.findall(text[:_HEAD]):
        parent = field or parent
        if field:
            found.setdefault(field, value)
        elif parent == "metadata" and value:
            found.setdefault(f"metadata.{inner}", value)
    kind = kind_written(found.get("kind", ""), found.get("apiVersion", ""))
    name = found.get("metadata.name")
    if kind not in SUPPORTED or not name:
        return None
    return kind.ref(found.get("metadata.namespace", default_namespace), name)
