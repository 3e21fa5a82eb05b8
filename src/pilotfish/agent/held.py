"""Which ports are kept open whenever Envoy is away, so that who connects waits for the next one."""

from __future__ import annotations

from pilotfish.agent.events import Effect, Hold, Release


class Held:
    """Each method returns what is to be done for it."""

    __slots__ = ("ports",)

    def __init__(self) -> None:
        self.ports: tuple[int, ...] = ()

    def hold(self, ports: tuple[int, ...]) -> tuple[Effect, ...]:
        """These, and anew: another Envoy has opened them."""
        self.ports = ports
        return (Hold(ports),) if ports else ()

    def follow(self, ports: tuple[int, ...]) -> tuple[Effect, ...]:
        """Listeners that came are held; those that went are not, as nobody would ever answer there."""
        new = tuple(port for port in ports if port not in self.ports)
        released = self.release(*(port for port in self.ports if port not in ports))
        self.ports = ports
        return (*released, Hold(new)) if new else released

    def release(self, *ports: int) -> tuple[Effect, ...]:
        released = tuple(port for port in ports if port in self.ports)
        self.ports = tuple(port for port in self.ports if port not in ports)
        return (Release(released),) if released else ()
