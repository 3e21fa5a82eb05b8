"""The machine's own services, for pods: `host.pilotfish.internal` is an address of the node, where ports that the
objects ask for are relayed to the machine's loopback. Its others lead to the host's end of the mesh (`servicenet`).

The sockets that listen are in the node's namespace, so that none of the host's ports is taken.
"""

from __future__ import annotations

from pilotfish.model.wellknown import MACHINE_NAME
from pilotfish.node.machine_ports import MachinePort, find_machine_ports
from pilotfish.node.publish import Endpoints, Publish
from pilotfish.node.store import Store
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.node.openings import Openings

_LOOPBACKS = ("127.0.0.1", "::1")


class Machine:
    def __init__(self, network: MeshNetwork) -> None:
        self._address = str(network.subnets.machine)
        self._relays = Openings[MachinePort](_endpoints, network.node, in_turn=False)
        self._seen = -1

    def update(self, store: Store) -> None:
        """Opens and closes what follows from the objects."""
        if self._seen == store.version:
            return
        self._seen = store.version
        wanted = find_machine_ports({ref: stored.manifest for ref, stored in store.objects.items()})
        self._relays.update({port: (self._publish(port),) for port in sorted(wanted)})

    async def close(self) -> None:
        await self._relays.close()

    def _publish(self, port: MachinePort) -> Publish:
        number, protocol = port
        return Publish(self._address, number, MACHINE_NAME, "", str(number), protocol)


def _endpoints(port: MachinePort) -> Endpoints:
    """Of UDP nobody says whether it is there."""
    number, protocol = port
    return tuple((address, number) for address in (_LOOPBACKS if protocol == "TCP" else _LOOPBACKS[:1]))
