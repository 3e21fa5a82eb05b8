"""Text → Loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pilotfish.config.conflict import duplicate_object, second_mesh_config
from pilotfish.config.manifest import Loaded, Manifest, WrittenMeshConfig
from pilotfish.config.meshconfig import value_at
from pilotfish.config.piece import Piece, RawObject, read_object
from pilotfish.config.text import ParsedDocument, read
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import SUPPORTED, kind_written


def load(text: str, file: str, default_namespace: str = "default") -> Loaded:
    """Every object of a text: YAML (any number of documents) or JSON, Lists unfolded. Never raises.

    `file` is for messages ("-" for standard input). Objects without a namespace get `default_namespace`.
    """
    documents = tuple(read(text, file))
    pieces = (piece for document in documents for piece in _read_document(document, file, default_namespace))
    return merge(pieces, next(filter(None, map(_list_version, documents)), ""))


def merge(pieces: Iterable[Piece], resource_version: str = "") -> Loaded:
    """One text's pieces as a whole. Of objects with the same ref, and of meshConfigs, the first holds."""
    manifests: dict[ObjectRef, Manifest] = {}
    problems: list[Problem] = []
    broken: set[ObjectRef] = set()
    mesh_config: WrittenMeshConfig | None = None
    incomplete = False
    for piece in pieces:
        problems += piece.problems
        incomplete |= piece.incomplete
        if piece.mesh_config is not None:
            mesh_config = mesh_config or piece.mesh_config
            if mesh_config.config != piece.mesh_config.config:
                problems.append(second_mesh_config(piece.mesh_config, mesh_config))
        if piece.broken is not None:
            broken.add(piece.broken)
        if piece.manifest is not None:
            first = manifests.get(piece.manifest.ref)
            if first is None:
                manifests[piece.manifest.ref] = piece.manifest
            else:
                problems.append(duplicate_object(piece.manifest, first))
    return Loaded(
        tuple(manifests.values()), tuple(problems), mesh_config, frozenset(broken - manifests.keys()),
        incomplete, resource_version,
    )  # fmt: skip


def unfold(raw: RawObject) -> Iterator[Piece]:
    """The objects inside of a List (or PodList, ServiceList, ...), or the object itself."""
    kind, items = value_at(raw.value, "kind"), value_at(raw.value, "items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield read_object(raw)
        return
    for index, item in enumerate(items):
        step = f"items[{index}]"
        inside = (fault for fault in raw.faults if fault.path.startswith(f"{step}."))
        faults = tuple(replace(fault, path=fault.path.removeprefix(f"{step}.")) for fault in inside)
        prefix = f"{raw.prefix}.{step}" if raw.prefix else step
        yield from unfold(replace(raw, value=item, prefix=prefix, faults=faults))
    for fault in raw.faults:
        if not fault.path.startswith("items["):
            source = Source(raw.file, fault.line)
            yield Piece(problems=(Problem(None, fault.path, fault.reason, fault.message, source=source),))


def _list_version(document: ParsedDocument) -> str:
    version = value_at(document.value, "metadata", "resourceVersion")
    return version if isinstance(version, str) and value_at(document.value, "kind") == "List" else ""


def _read_document(document: ParsedDocument, file: str, default_namespace: str) -> Iterable[Piece]:
    if document.unread:
        return (_unread(document, file, default_namespace),)
    raw = RawObject(document.value, file, default_namespace, document.positions, faults=document.faults)
    return unfold(raw)


_API_VERSION = re.compile(r"^apiVersion:[ \t]*[\"']?([\w./-]+)", re.MULTILINE)
_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)", re.MULTILINE)
_METADATA = re.compile(r"^metadata:[ \t]*\n((?:[ \t][^\n]*\n|\n)*)", re.MULTILINE)
_NAME = re.compile(r"^[ \t]+name:[ \t]*[\"']?([\w.-]+)", re.MULTILINE)
_NAMESPACE = re.compile(r"^[ \t]+namespace:[ \t]*[\"']?([\w.-]+)", re.MULTILINE)


def _unread(document: ParsedDocument, file: str, default_namespace: str) -> Piece:
    """A text that is no YAML. Which object it was meant to be can often still be seen: it keeps its last good form."""
    ref = _guess_ref(document.unread, default_namespace)
    fault = document.faults[0]
    problem = Problem(ref, "", fault.reason, fault.message, Severity.ERROR, Source(file, fault.line))
    return Piece(problems=(problem,), broken=ref, incomplete=ref is None)


def _guess_ref(text: str, default_namespace: str) -> ObjectRef | None:
    written, version = _KIND.search(text), _API_VERSION.search(text)
    metadata = _METADATA.search(f"{text}\n")
    name = _NAME.search(metadata[1]) if metadata else None
    kind = kind_written(written[1], version[1] if version else "") if written else None
    if kind not in SUPPORTED or metadata is None or name is None:
        return None
    namespace = _NAMESPACE.search(metadata[1])
    return kind.ref(namespace[1] if namespace else default_namespace, name[1])
