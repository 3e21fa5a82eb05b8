"""How a command is run where a container is: `exec`, and what copies files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pilotfish.cli.failure import Failure
from pilotfish.cli.session import root
from pilotfish.model.wellknown import PROXY_GID, PROXY_UID
from pilotfish.runtime.control.views import ContainerView, PodView

if TYPE_CHECKING:
    from pilotfish.runtime.linux.process import ProcessSpec


def surroundings(pod: PodView, container: ContainerView) -> tuple[ProcessSpec, int | None]:
    """What `exec_in` and `spawn_in` are given. Raises Failure where the container does not run."""
    from pilotfish.runtime.linux.netns import NetNs
    from pilotfish.runtime.linux.process import BindMount, ProcessSpec
    from pilotfish.runtime.node.claim import find_private

    is_machines = container.kind == "proxy" and bool(pod.machine)
    if container.state != "running" or (container.pid is None and not is_machines):
        place = f"{pod.name}.{pod.namespace}"
        state = container.reason or container.state
        raise Failure(
            f"container {container.name} in pod {place} is not running ({state}), so nothing can be executed in it; "
            f"'pilotfish logs {place} -c {container.name}' shows why"
        )
    if path := pod.exec.get(container.name):
        return ProcessSpec.load(Path(path)), container.pid
    # The sidecar's container is Envoy, which may be the machine's: whoever looks around there is the sidecar's user,
    # whom capture lets pass. Envoy sees the machine's files, and asks the agent for names; a command has the pod's, as
    # in Kubernetes.
    etc = ((Path(pod.directory, "etc", name), f"/etc/{name}") for name in ("resolv.conf", "hosts"))
    spec = ProcessSpec(
        argv=(),
        env={"PATH": os.environ.get("PATH", os.defpath)},
        uid=PROXY_UID,
        gid=PROXY_GID,
        netns=NetNs(Path(pod.netns)),
        mounts=tuple(BindMount(str(source), target, read_only=True) for source, target in etc),
        hidden=find_private(root()),
    )
    return spec, None
