"""How namespaces and links of a mesh are called, so that one that was left behind is known again.

The parts of a pod's namespace are separated by dots, as mesh and Kubernetes namespace are DNS labels and can't hold
one: with hyphens alone, pod `c` in `a-b` and pod `b-c` in `a` would be the same.
"""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv4Address

from pilotfish.runtime.errors import MachineError

_LONGEST = 200
_MESH_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def check_mesh_name(mesh: str) -> None:
    """MachineError unless `mesh` is a DNS label of at most 40 characters: it becomes part of names."""
    if not _MESH_NAME.fullmatch(mesh):
        raise MachineError(
            f"{mesh!r} can't be a mesh's name", "give it one of lower-case letters, digits and '-' with --name"
        )


def node_name(mesh: str) -> str:
    """The name of the node's namespace."""
    return f"pf-{mesh}"


def pod_prefix(mesh: str) -> str:
    """How the names of all pods' namespaces begin."""
    return f"{node_name(mesh)}."


def pod_name(mesh: str, namespace: str, pod: str) -> str:
    """The name of a pod's namespace, shortened where a file name can't be so long."""
    name = f"{pod_prefix(mesh)}{namespace}.{pod}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 10]}-{_digest(name, 9)}"


def is_shortened(mesh: str, namespace: str, pod: str) -> bool:
    """Whether the pod's namespace is called otherwise than the prefix and the pod's name."""
    return len(f"{pod_prefix(mesh)}{namespace}.{pod}") > _LONGEST


def host_interface(mesh: str) -> str:
    """The name of the host's end of the link."""
    return f"pf-{mesh}" if len(mesh) <= 12 else f"pf-{mesh[:7]}{_digest(mesh, 5)}"


def link_name(address: str) -> str:
    """The node's end of a pod's link, unique as the address is: 10.244.0.2 → veth0-2."""
    third, fourth = IPv4Address(address).packed[2:]
    return f"veth{third}-{fourth}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
