"""Which struct an object of each kind is read into, and what is said of one for which there is none."""

from __future__ import annotations

from difflib import get_close_matches

from pilotfish.config import istio, kubernetes, workloads
from pilotfish.config.kubernetes import Resource
from pilotfish.model import Kind, Severity
from pilotfish.model.kinds import GROUPS, KINDS, SUPPORTED

_MODULES = (kubernetes, workloads, istio)
"""Those that hold kinds: once they are imported, `Resource` knows its subclasses."""

STRUCTS: dict[Kind, type[Resource]] = {
    struct.kind: struct for struct in sorted(Resource.__subclasses__(), key=lambda struct: SUPPORTED.index(struct.kind))
}


def struct_of(kind: Kind, api_version: str) -> type[Resource] | None:
    return STRUCTS.get(kind) if api_version in kind.api_versions else None


def describe_unread(kind: Kind, api_version: str) -> tuple[str, str, Severity]:
    """Where `struct_of` gives None: reason, message, and how bad it is."""
    if kind.without_effect is not None:
        return "UnsupportedKind", f"{kind} {kind.without_effect.message}", kind.without_effect.severity
    if kind in STRUCTS:
        wanted = " or ".join(kind.api_versions)
        message = f"there is no {kind} in {api_version!r}, so the object is not used; write apiVersion: {wanted}"
        return "UnknownKind", message, Severity.ERROR
    meant = _meant(kind)
    if not meant and kind.group not in GROUPS:
        message = f"{kind} of {api_version} is no part of a mesh, so it has no effect; remove it if that is not meant"
        return "UnsupportedKind", message, Severity.INFO
    known = meant or f". Supported: {', '.join(sorted(map(str, SUPPORTED)))}"
    return "UnknownKind", f"{kind} of {api_version} is not a supported kind; it has no effect{known}", Severity.ERROR


def _meant(kind: Kind) -> str:
    """What a slip of the pen seems to stand for."""
    if kind.group in GROUPS:
        close = get_close_matches(kind.name, (known.name for known in KINDS), n=1, cutoff=0.8)
        return f"; did you mean {close[0]}?" if close else ""
    close = get_close_matches(kind.group, GROUPS, n=1, cutoff=0.85)
    likely = (known for known in KINDS if close and (known.name, known.group) == (kind.name, close[0]))
    return next((f"; did you mean apiVersion: {known.api_versions[0]}?" for known in likely), "")
