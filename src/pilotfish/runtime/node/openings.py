"""Ports of the host that follow from the objects: opened, closed, and the same again when they come back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pilotfish.node.publish import Endpoints, Publish
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.publish import Port, Published
from pilotfish.runtime.tasks import Tasks

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Tried(Generic[K]):
    """What came of one that was to be opened."""

    key: K
    published: Published | None
    taken: tuple[Publish, ...]
    """Those that were tried before, in vain."""


class Openings(Generic[K]):
    def __init__(self, resolve: Callable[[K], Endpoints], netns: NetNs | None = None, in_turn: bool = True) -> None:
        """`resolve`: where a new connection goes. `netns`: where the ports are; None is this process's own. `in_turn`:
        each endpoint is, else the first that is there."""
        self._resolve = resolve
        self._netns = netns
        self._in_turn = in_turn
        self._open: dict[K, Published] = {}
        self._before: dict[K, tuple[Publish, int]] = {}
        """Where it was wanted, and the number that it got; also of those that are closed."""
        self._tasks = Tasks()

    def __iter__(self) -> Iterator[K]:
        return iter(self._open)

    def get(self, key: K) -> Published | None:
        return self._open.get(key)

    def update(self, wanted: Mapping[K, tuple[Publish, ...]]) -> tuple[Tried[K], ...]:
        """Closes what is not wanted there any more, and opens what is, in this order, each at its best place that is
        free."""
        for key in tuple(self._open):
            if key not in wanted or self._before[key][0] != wanted[key][0]:
                self._tasks.keep(self._open.pop(key).close())
        return tuple(self._try(key, publishes) for key, publishes in wanted.items() if key not in self._open)

    async def close(self) -> None:
        for published in self._open.values():
            await published.close()
        await self._tasks.ended()

    def _try(self, key: K, publishes: tuple[Publish, ...]) -> Tried[K]:
        """Where it was before, else where it is to be."""
        place, number = self._before.get(key, (None, 0))
        again = (replace(publishes[0], port=number),) if place == publishes[0] else ()
        taken = []
        for publish in (*again, *publishes):
            try:
                port = Port(publish, self._netns)
            except CannotStart:
                taken.append(publish)
                continue
            self._open[key] = published = Published(port, lambda _: self._resolve(key), in_turn=self._in_turn)
            self._before[key] = publishes[0], port.number
            self._tasks.keep(published.start())
            return Tried(key, published, tuple(taken))
        return Tried(key, None, tuple(taken))
