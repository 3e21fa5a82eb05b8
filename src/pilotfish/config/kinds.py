"""Which struct an object of each kind is read into, and what is said of one for which there is none."""

from __future__ import annotations

from pilotfish.config import istio, kubernetes
from pilotfish.config.kubernetes import Resource
from pilotfish.model import Kind, Severity
from pilotfish.model.kinds import SUPPORTED

_MODULES = (kubernetes, istio)
"""Those that hold kinds: once they are imported, `Resource` knows its subclasses."""

STRUCTS: dict[Kind, type[Resource]] = {struct.kind: struct for struct in Resource.__subclasses__()}


def struct_of(kind: Kind, api_version: str) -> type[Resource] | None:
    return STRUCTS.get(kind) if api_version in kind.api_versions else None


def describe_unread(kind: Kind, api_version: str) -> tuple[str, str, Severity]:
    """Where `struct_of` gives None: reason, message, and how bad it is."""
    if kind.without_effect is not None:
        return "UnsupportedKind", f"{kind} {kind.without_effect.message}", kind.without_effect.severity
    if kind in STRUCTS:
        wanted = " or ".join(kind.api_versions)
        message = f"there is no {kind} in {api_version!r}, so the object is not used; write apiVersion: {wanted}"
    else:
        known = ", ".join(sorted(map(str, SUPPORTED)))
        message = f"{kind} of {api_version} is not a supported kind; it has no effect. Supported: {known}"
    return "UnknownKind", message, Severity.ERROR
