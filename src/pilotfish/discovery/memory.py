"""What outlives a restart of discovery: the objects that Envoy refused, and their last good forms.

    {"madeBy": "0.1.0", "objects": [{"refused": {...}, "lastGood": {...}, "message": ..., ...}]}

Values in, bytes out, and back; the file is the driver's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import msgspec

from pilotfish.config import load
from pilotfish.config.desired import DesiredState
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.rejection import Rejection
from pilotfish.model import ObjectRef, Source
from pilotfish.model.kinds import kind_named
from pilotfish.model.struct import Frozen

LARGEST: Final = 16 << 20
"""Bytes. What does not fit is forgotten at a restart."""
_LONGEST_MESSAGE: Final = 4000


@dataclass(frozen=True, slots=True)
class Remembered:
    """An object that Envoy refused."""

    ref: ObjectRef
    rejection: Rejection
    refused: Manifest | None
    """The form that it refused; None where whatever form there is now is to be offered."""
    last_good: Manifest | None
    """What is used in its stead; None for nothing."""
    as_of: str = ""
    """What all else was that went into what was refused (`as_of`)."""


class BrokenMemoryError(ValueError):
    """The bytes are not what `encode` made. `str` says why."""


class _Form(Frozen, rename="camel"):
    document: dict[str, Any]
    source: str


class _Ref(Frozen):
    kind: str
    group: str
    namespace: str
    name: str

    @classmethod
    def to(cls, ref: ObjectRef) -> _Ref:
        return cls(kind=ref.kind.name, group=ref.kind.group, namespace=ref.namespace, name=ref.name)

    @property
    def ref(self) -> ObjectRef:
        return kind_named(self.kind, self.group).ref(self.namespace, self.name)


class _Object(Frozen, rename="camel"):
    object: _Ref
    type_url: str
    resource: str
    message: str
    proxies: tuple[str, ...]
    owners: tuple[_Ref, ...] = ()
    as_of: str = ""
    refused: _Form | None = None
    last_good: _Form | None = None


class _File(Frozen, rename="camel"):
    made_by: str
    objects: tuple[_Object, ...]


_DECODER: Final = msgspec.json.Decoder(_File)


def as_of(desired: DesiredState, owners: Iterable[ObjectRef]) -> str:
    """A digest of the mesh config, and of these objects as they are."""
    manifests = desired.manifests
    forms = [(str(ref), manifests[ref].resource if ref in manifests else None) for ref in sorted(owners)]
    return sha256(msgspec.json.encode((desired.mesh_config, forms), enc_hook=str, order="deterministic")).hexdigest()


def merge(
    mine: Iterable[Remembered], others: tuple[Remembered, ...], manifests: Mapping[ObjectRef, Manifest]
) -> tuple[Remembered, ...]:
    """What several discoveries know; `others` itself where that says it already. `manifests`: the objects as they are.

    What this one knows goes before; where it has no last good form, another's is one. What it does not know of holds on
    while the object has the form that was refused. Who refuses it, and with which words, differs from one to the other,
    and alone is no news.
    """
    found = {one.ref: one for one in others if one.refused is not None and manifests.get(one.ref) == one.refused}
    good = {one.ref: one.last_good for one in others}
    for one in mine:
        found[one.ref] = one if one.last_good is not None else replace(one, last_good=good.get(one.ref))
    merged = tuple(found[ref] for ref in sorted(found))
    return others if list(map(_news, merged)) == list(map(_news, others)) else merged


def _news(one: Remembered) -> tuple[object, ...]:
    return one.ref, one.refused, one.last_good, one.as_of


def encode(
    remembered: Iterable[Remembered], made_by: str, most: int | None = None
) -> tuple[bytes, tuple[ObjectRef, ...]]:
    """The bytes, LARGEST at the most (or `most`), and which objects did not fit. `made_by`: this program's version."""
    head = msgspec.json.encode({"madeBy": made_by})[:-1] + b',"objects":['
    size = len(head) + len(b"]}") - len(b",")
    objects: list[bytes] = []
    too_much: list[ObjectRef] = []
    for one in remembered:
        encoded = msgspec.json.encode(_object(one), enc_hook=str)
        if size + len(encoded) + 1 <= (LARGEST if most is None else most):
            size += len(encoded) + 1
            objects.append(encoded)
        else:
            too_much.append(one.ref)
    return head + b",".join(objects) + b"]}", tuple(too_much)


def decode(data: bytes, made_by: str) -> tuple[Remembered, ...]:
    """What `encode` was given. Raises BrokenMemoryError.

    What another version of the program saw refused is offered again: Envoy may be given something else for it now.
    """
    try:
        file = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BrokenMemoryError(str(error)) from error
    return tuple(_remembered(one, file.made_by == made_by) for one in file.objects)


def _object(one: Remembered) -> _Object:
    rejection = one.rejection
    return _Object(
        object=_Ref.to(one.ref),
        type_url=rejection.type_url,
        resource=rejection.name,
        message=rejection.message[:_LONGEST_MESSAGE],
        proxies=tuple(sorted(rejection.proxies)),
        owners=tuple(map(_Ref.to, sorted(rejection.owners))),
        as_of=one.as_of,
        refused=_form(one.refused),
        last_good=_form(one.last_good),
    )


def _form(manifest: Manifest | None) -> _Form | None:
    if manifest is None:
        return None
    return _Form(document=dict(manifest.document), source=str(manifest.source) if manifest.source else "")


def _remembered(one: _Object, is_current: bool) -> Remembered:
    ref, owners = one.object.ref, frozenset(each.ref for each in one.owners)
    rejection = Rejection(one.type_url, one.resource, one.message, frozenset(one.proxies), owners)
    refused = _manifest(one.refused, ref) if is_current else None
    return Remembered(ref, rejection, refused, _manifest(one.last_good, ref), one.as_of)


def _manifest(form: _Form | None, ref: ObjectRef) -> Manifest | None:
    """None as well for a form that can't be read, or is another object's."""
    if form is None:
        return None
    text = msgspec.json.encode(form.document).decode()
    read = load(text, "-", ref.namespace).manifests
    return replace(read[0], source=Source.parse(form.source)) if read and read[0].ref == ref else None
