"""What a client may call, between the users' APIs and Envoy: what a Sidecar's egress comes to.

Parts of keys (`mesh.scope.Scope`): equal for all Sidecars that mean the same, and hashed once.
"""

from __future__ import annotations

from typing import Final

from pilotfish.model.protocol import Protocol
from pilotfish.model.ref import ObjectRef
from pilotfish.model.struct import Frozen

ANY: Final = "*"


class Import(Frozen, kw_only=False, cache_hash=True):
    """Hosts of a namespace."""

    namespace: str
    """`*` is any."""
    host: str
    """`*`, `*.example.com`, or one."""

    def covers(self, namespace: str, host: str) -> bool:
        """Whether all that `host` stands for is meant: it may be a wildcard itself."""
        return self.namespace in (ANY, namespace) and (self.host in (ANY, host) or self._holds(host))

    def touches(self, namespace: str, host: str) -> bool:
        """Whether some of what `host` stands for is meant."""
        if self.covers(namespace, host):
            return True
        return host.startswith("*") and self.namespace in (ANY, namespace) and self.host.endswith(host[1:])

    def _holds(self, host: str) -> bool:
        return self.host.startswith("*.") and host.endswith(self.host[1:])


class Imports(Frozen, kw_only=False, cache_hash=True):
    included: tuple[Import, ...]
    excluded: tuple[Import, ...] = ()

    def cover(self, namespace: str, host: str) -> bool:
        return any(each.covers(namespace, host) for each in self.included) and not any(
            each.covers(namespace, host) for each in self.excluded
        )

    def touch(self, namespace: str, host: str) -> bool:
        return any(each.touches(namespace, host) for each in self.included) and not any(
            each.covers(namespace, host) for each in self.excluded
        )


class EgressListener(Frozen, cache_hash=True):
    """Listeners of one port, or of all ports that no other has."""

    imports: Imports | None = None
    """None: all hosts."""
    port: int = 0
    """0 is every port that none before it has; for a socket, every port of a service comes there."""
    protocol: Protocol = Protocol.AUTO
    """With a port: what is spoken, whatever the services there declare."""
    bind: str = ""
    """An address, or `unix://` and a path; "" is that of each service, or any where requests say their host."""
    bound: bool = False
    """Connections are not captured: clients connect to the address itself."""
    ref: ObjectRef | None = None
    """The Sidecar, where it asks for more than hosts: Envoy may refuse what it asks for."""

    @property
    def has_every_port(self) -> bool:
        """Every port of its services is called here, whichever its own is: by what requests say."""
        return is_socket(self.bind) or self.protocol is Protocol.HTTP_PROXY


class Unclaimed(Frozen, cache_hash=True):
    """What becomes of what is for no host that the client sees."""

    allow_any: bool
    host: str = ""
    """Where it is sent instead of where it was going; with its port and subset."""
    port: int = 0
    subset: str = ""
    looked_up: bool = False
    """Requests go where their hosts lead."""


class Egress(Frozen, cache_hash=True):
    listeners: tuple[EgressListener, ...] = ()
    """None: one for all."""
    unclaimed: Unclaimed | None = None
    """None: as the mesh has it."""


EVERYTHING: Final = EgressListener()


def is_socket(bind: str) -> bool:
    return bind.startswith("unix:")


def with_http_proxy(egress: Egress | None, port: int) -> Egress:
    """With a listener for an app that is told of an HTTP proxy at this port, unless a Sidecar has something there. It
    leads to what the last one does."""
    found, unclaimed = listeners_of(egress), egress.unclaimed if egress is not None else None
    if any(each.port == port for each in found):
        return Egress(listeners=found, unclaimed=unclaimed)
    proxy = EgressListener(
        imports=found[-1].imports, port=port, protocol=Protocol.HTTP_PROXY, bind="127.0.0.1", bound=True
    )
    return Egress(listeners=(proxy, *found), unclaimed=unclaimed)


def listener_for(egress: Egress | None, port: int) -> EgressListener:
    """Through which calls of a port go: of its own, else of all that is left."""
    found = listeners_of(egress)
    return next((each for each in found if each.port == port), found[-1])


def listeners_of(egress: Egress | None) -> tuple[EgressListener, ...]:
    return egress.listeners if egress is not None and egress.listeners else (EVERYTHING,)
