"""What is known of one collection of the API server, whatever becomes of the connections over which it is told.

    ask ─▶ LIST    seen* listed     the whole, in pages; then what was known and is not in it is gone
         ▶ STREAM  seen* bookmark   the same over a watch that begins with all there is (sendInitialEvents)
         ▶ WATCH   event*           what changed after the version that is known

    each ─▶ the changes that follow: (name, True) to take in, (name, False) gone

A connection may end at any point (`cut`), and what was known then still is; when the versions after the known one are
forgotten (`expired`, 410), all is asked for anew, and an object that went in between is found gone at the end of that.
An object whose version is known already is no change.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)
"""What names an object in the collection."""


class Ask(Enum):
    LIST = "list"
    STREAM = "stream"
    WATCH = "watch"


class Reflection(Generic[N]):
    """Versions are compared for equality alone."""

    def __init__(self, streams: bool = True) -> None:
        """`streams`: whether to ask for lists over watches, until it turns out that they are not served."""
        self.version = ""
        """After which changes are to be asked for; "" as long as no list was complete."""
        self.is_synced = False
        """All that there is has been told once."""
        self.streams = streams
        """Whether lists are asked for over watches."""
        self._known: dict[N, str] = {}
        """By name, its version."""
        self._seen: set[N] | None = None
        """In the list that is being read; None outside of one."""

    def __len__(self) -> int:
        return len(self._known)

    def ask(self) -> Ask:
        """What is to be asked for now; what was being read before is given up."""
        self._seen = None
        if self.version:
            return Ask.WATCH
        self._seen = set()
        return Ask.STREAM if self.streams else Ask.LIST

    @property
    def is_listing(self) -> bool:
        return self._seen is not None

    def seen(self, name: N, version: str) -> bool:
        """An object of a list, or one that was added or changed. True if that is news."""
        if self._seen is not None:
            self._seen.add(name)
        else:
            self.version = version or self.version
        if self._known.get(name) == version:
            return False
        self._known[name] = version
        return True

    def gone(self, name: N, version: str) -> bool:
        """An object was deleted. True if that is news."""
        if self._seen is not None:
            self._seen.discard(name)
        else:
            self.version = version or self.version
        return self._known.pop(name, None) is not None

    def bookmark(self, version: str, ends_list: bool) -> tuple[N, ...]:
        """Nothing up to this version is left to be told. `ends_list`: of a streamed one. Who is found gone by that."""
        if self._seen is not None:
            return self.listed(version) if ends_list else ()
        self.version = version or self.version
        return ()

    def listed(self, version: str) -> tuple[N, ...]:
        """The list is complete. Who is found gone."""
        seen, self._seen = self._seen or set[N](), None
        self.version, self.is_synced = version, True
        return tuple(self._drop(seen))

    def expired(self) -> None:
        """410: from the known version on, nothing can be told any more."""
        self.version, self._seen = "", None

    def streams_unserved(self) -> None:
        """The server has no lists over watches."""
        self.streams = False
        self.expired()

    def absent(self) -> tuple[N, ...]:
        """There is no such collection. Who is found gone."""
        self.expired()
        self.is_synced = True
        return tuple(self._drop(set()))

    def _drop(self, seen: set[N]) -> Iterator[N]:
        for name in [name for name in self._known if name not in seen]:
            del self._known[name]
            yield name
