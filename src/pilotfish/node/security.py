"""As whom a container runs, and what it may do: its pod's `securityContext` and its own, which wins.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.config.kubernetes import Capabilities, Container, PodSecurityContext, PodSpec, SecurityContext
from pilotfish.model import capabilities
from pilotfish.node.environment import Missing
from pilotfish.node.images import Image

_NON_ROOT = "runAsNonRoot"


@dataclass(frozen=True, slots=True)
class Security:
    uid: int | None
    """None: as the mesh's own process, which is root."""
    gid: int | None
    """None: as `uid`, or with an image the group that its files name."""
    user: str | None = None
    """USER[:GROUP] as the image's files have it, in the place of `uid`; None without an image."""
    groups: tuple[int, ...] = ()
    capabilities: frozenset[str] | None = capabilities.DEFAULT
    """What it may have at the most; root has all of them. None: all that there are."""
    no_new_privileges: bool = False
    read_only_root: bool = False

    @property
    def of_its_pod(self) -> bool:
        """It has no capability but those that every container has, and those over its pod's network. Others the kernel
        asks of the machine's own users, and would not take from one of a user namespace."""
        own = capabilities.DEFAULT | {"CAP_NET_ADMIN", "CAP_NET_BROADCAST"}
        return self.capabilities is not None and self.capabilities <= own


def build(spec: PodSpec, container: Container, image: Image | None) -> Security | Missing:
    """Or why it may not start."""
    pod, own = spec.security_context or PodSecurityContext(), container.security_context or SecurityContext()
    uid = pod.run_as_user if own.run_as_user is None else own.run_as_user
    gid = pod.run_as_group if own.run_as_group is None else own.run_as_group
    user = None if image is None else image.user if uid is None else str(uid)
    if pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root:
        field = "spec.securityContext" if own.run_as_non_root is None else "securityContext"
        if why := _may_be_root(uid, user):
            return Missing(f"{field}.{_NON_ROOT}", why, "give it a runAsUser other than 0")
    listed = own.capabilities or Capabilities()
    return Security(
        uid=uid,
        # Kubernetes takes the image's group, root's where that names none. Without an image: the user's own number.
        gid=uid if gid is None and image is None else gid,
        user=user,
        groups=tuple(dict.fromkeys((*pod.supplemental_groups, *(() if pod.fs_group is None else (pod.fs_group,))))),
        capabilities=None if own.privileged else capabilities.change(listed.add, listed.drop),
        no_new_privileges=not own.allow_privilege_escalation,
        read_only_root=own.read_only_root_filesystem,
    )


def volume_group(spec: PodSpec) -> int | None:
    """Whose the pod's volumes are, beside their owner."""
    return spec.security_context.fs_group if spec.security_context else None


def _may_be_root(uid: int | None, user: str | None) -> str:
    """Why, in the words of kubelet's verifyRunAsNonRoot; else "". Without an image it is, if nothing is said."""
    if uid is not None:
        return "" if uid else "container's runAsUser breaks non-root policy"
    name = (user or "0").partition(":")[0] or "0"
    if not name.isdecimal():
        return f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
    return "" if int(name) else "container has runAsNonRoot and image will run as root"
