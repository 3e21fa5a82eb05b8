"""A mesh's network with pods in it: `network` in conftest makes one."""

from __future__ import annotations

import os

from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net.network import MeshNetwork

MESH = f"t{os.getpid()}"


def addresses(network: MeshNetwork, number: int) -> tuple[str, str]:
    return str(network.subnets.v4[number]), str(network.subnets.v6[number])


async def add(network: MeshNetwork, number: int, owned: bool = True) -> NetNs:
    return await network.add_pod("vm", f"pod-{number}", addresses(network, number), owned=owned)
