"""What the agents of one process have in common."""

from __future__ import annotations

import socket
from pathlib import Path

from pilotfish.agent.names import NO_NAMES, Own
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.forward import Forwarder
from pilotfish.runtime.agent.nametables import NameTables
from pilotfish.runtime.agent.roots import Followers
from pilotfish.runtime.agent.sockets import open_socket, owned_by
from pilotfish.runtime.linux.spare import SpareLauncher


class AgentHost:
    """What the agents of one process have in common. Close it after them."""

    def __init__(
        self,
        resolvers: tuple[str, ...] = (),
        socket_owner: int | None = None,
        own_names: Own = NO_NAMES,
        alone: bool = True,
    ) -> None:
        """`resolvers`: the machine's (`machine_resolvers()`). `socket_owner`: the uid to whom the connections to
        resolvers and discovery are to belong; of use in a captured namespace, where this process is root. `own_names`:
        what the machine gives beside the mesh's. `alone`: those resolvers know no names of the mesh; a cluster's do.
        """
        self._owner = socket_owner
        self.own_names = own_names
        self.alone = alone
        self.forwarder = Forwarder(resolvers, socket_owner)
        self.names = NameTables(socket_owner)
        self.roots = Followers(self._socket)
        self.spare = SpareLauncher()
        """For the next Envoy that ends: the traffic of its pod waits for the one after it."""
        self.envoy: Path | None = None
        """Envoy's executable, if it is not to be that of the package."""

    def find_envoy(self) -> Path:
        """Looked for once. AgentError if it is missing."""
        if self.envoy is None:
            self.envoy = find_envoy()
        return self.envoy

    def _socket(self, family: int) -> socket.socket:
        with owned_by(self._owner):
            return open_socket(None, family)

    async def __aenter__(self) -> AgentHost:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.spare.close()
        await self.roots.close()
        await self.names.close()
