"""Planned restarts: an Envoy starts beside the one that serves, takes its listeners over, and lets it come to its end.

    Restart ─▶ `next` starts ─ready─▶ it is the one that serves; the one before ends its connections, and leaves
                  └──ended, or not ready within a minute──▶ the one that serves goes on

The first thing that a next one does is to close the admin port of the one that serves. Where it then comes to nothing,
nobody can ask or drain that one any more, though it serves: so there is another try soon, and ever more rarely.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/hot_restart
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.agent.events import Effect, Kill, Spawn
from pilotfish.agent.readiness import WHOSE, Stats

GIVE_UP_AFTER: Final = 60.0
"""Seconds for a next one to become ready. It waits for discovery's answer, as any that starts."""
_AGAIN: Final = 1.0
_AGAIN_MOST: Final = 60.0
_LATE: Final = 1.0
"""Seconds that one which leaves may be late: the one that took over tells it when its time is over, if it still is."""
_UPTIME: Final = "server.uptime"
_HARD: Final = 5.0
"""Seconds from SIGTERM to SIGKILL."""
FIRST_POLL: Final = 0.025
"""Seconds between two looks at an Envoy that just started. The interval grows with its age: an Envoy that waits for
discovery for minutes, or twenty that start at once on two cores, are not to be kept busy by questions."""
_POLL_SHARE: Final = 0.08
_POLL_STARTING_MOST: Final = 1.0


def poll_starting(age: float) -> float:
    """Seconds to the next look at one that starts."""
    return max(FIRST_POLL, min(_POLL_STARTING_MOST, age * _POLL_SHARE))


@dataclass(frozen=True, slots=True)
class Run:
    """One process of Envoy's."""

    epoch: int
    line: int
    number: int
    """All three as `events.Spawn` has them."""
    spawned_at: float
    pid: int | None = None
    poll_at: float | None = None
    """None while a look is under way, and before the process exists."""
    silences: int = 0
    was_ready: bool = False
    may_be_mute: bool = False
    """A next one started and came to nothing: it may have closed the admin port."""

    @property
    def spawn(self) -> Spawn:
        return Spawn(self.epoch, self.line, self.number)

    def answers(self, stats: Stats) -> bool:
        """Whether these stats are its own."""
        return stats.get(WHOSE, 0) == self.number


@dataclass(frozen=True, slots=True)
class _Leaving:
    run: Run
    until: float
    signal: signal.Signals
    """What it gets then."""
    uptime: int = 0
    """`server.uptime` when it was taken over from: what Envoy counted until then, it counts still."""


class Succession:
    """Those beside the one that serves. The supervisor tells it what concerns them."""

    __slots__ = ("_again_at", "_leaving", "_linger", "failures", "next", "why")

    def __init__(self, linger: float) -> None:
        """`linger`: seconds that one which was taken over from has to end its connections."""
        self._linger = linger
        self.next: Run | None = None
        self._leaving: dict[int, _Leaving] = {}
        self._again_at: float | None = None
        self.failures = 0
        """How often a next one came to nothing, in all."""
        self.why = ""
        """Why the last that should take over did not, or does not yet."""

    @property
    def is_under_way(self) -> bool:
        return self.next is not None or bool(self._leaving)

    def leaves_within(self, now: float) -> float:
        """Seconds until nobody is left who ends; 0 if nobody is."""
        return max((each.until - now for each in self._leaving.values() if each.until < math.inf), default=0.0)

    def timer(self) -> float | None:
        times = [each.until for each in self._leaving.values() if each.until < math.inf]
        if self._again_at is not None:
            times.append(self._again_at)
        if self.next is not None:
            times.append(self.next.spawned_at + GIVE_UP_AFTER)
            times += [self.next.poll_at] if self.next.poll_at is not None else []
        return min(times, default=None)

    def begin(self, serving: Run, epoch: int, now: float) -> tuple[Effect, ...]:
        self._again_at = None
        self.why = "the new Envoy has not answered yet"
        self.next = Run(epoch, serving.line, serving.number + 1, now)
        return (self.next.spawn,)

    def begin_again(self, now: float) -> None:
        """Soon: the one that serves is mute."""
        self._again_at = now + min(_AGAIN_MOST, _AGAIN * 2.0 ** min(self.failures - 1, 10))

    def is_due(self, now: float) -> bool:
        return self._again_at is not None and now >= self._again_at

    def spawned(self, epoch: int, pid: int, now: float) -> tuple[Effect, ...]:
        if self.next is not None and self.next.epoch == epoch:
            self.next = replace(self.next, pid=pid, poll_at=now + FIRST_POLL)
        elif leaving := self._leaving.get(epoch):
            self._leaving[epoch] = replace(leaving, run=replace(leaving.run, pid=pid))
            return (Kill(epoch, signal.SIGKILL),)
        return ()

    def exited(self, epoch: int, how: str) -> bool:
        """Whether it was the next one, which thereby came to nothing."""
        self._leaving.pop(epoch, None)
        if self.next is None or self.next.epoch != epoch:
            return False
        self._failed(how)
        return True

    def looked(self, now: float, why: str = "") -> None:
        """The next one does not answer yet, or says `why` it is not ready."""
        if self.next is not None:
            self.why = why or self.why
            self.next = replace(self.next, poll_at=now + poll_starting(now - self.next.spawned_at))

    def looks(self) -> None:
        if self.next is not None:
            self.next = replace(self.next, poll_at=None)

    def promote(self, before: Run, stats: Stats, now: float) -> Run:
        """The next one serves, and `before` leaves."""
        taken, self.next, self.why = self.next, None, ""
        if taken is None:
            raise ValueError("there is no next one")
        self._leaving[before.epoch] = _Leaving(
            before, now + self._linger + _LATE, signal.SIGTERM, stats.get(_UPTIME, 0)
        )
        return replace(taken, was_ready=True)

    def give_up(self) -> tuple[Effect, ...]:
        return self.abandon(f"it is not ready after {GIVE_UP_AFTER:.0f} s: {self.why}")

    def abandon(self, why: str) -> tuple[Effect, ...]:
        """The next one is ended; without the one that served, its own start may hang."""
        self._again_at = None
        if self.next is None:
            return ()
        gone = self.next
        self._failed(why)
        self._leaving[gone.epoch] = _Leaving(gone, math.inf, signal.SIGKILL)
        return (Kill(gone.epoch, signal.SIGKILL),) if gone.pid is not None else ()

    def let_go(self, serving: Run, stats: Stats, now: float) -> tuple[Effect, ...]:
        """The one before `serving` ends when it has no connection left. Both figures are those of the last flush of
        Envoy's statistics, each five seconds."""
        if stats.get("server.parent_connections", 1):
            return ()
        return tuple(
            self._end(each, signal.SIGTERM, now)
            for each in tuple(self._leaving.values())
            if each.signal is signal.SIGTERM and each.run.line == serving.line and stats.get(_UPTIME, 0) > each.uptime
        )

    def tick(self, now: float) -> tuple[Effect, ...]:
        """Ends those whose time is over."""
        late = [each for each in self._leaving.values() if now >= each.until]
        return tuple(self._end(each, each.signal, now) for each in late)

    def _end(self, leaving: _Leaving, number: signal.Signals, now: float) -> Kill:
        until = math.inf if number is signal.SIGKILL else now + _HARD
        self._leaving[leaving.run.epoch] = replace(leaving, until=until, signal=signal.SIGKILL)
        return Kill(leaving.run.epoch, number)

    def kill(self, number: signal.Signals) -> Iterator[Kill]:
        """All of them; of those whose process is being made, `spawned` sees to it."""
        for run in (*((self.next,) if self.next is not None else ()), *(each.run for each in self._leaving.values())):
            if run.pid is not None:
                yield Kill(run.epoch, number)

    def _failed(self, why: str) -> None:
        self.next = None
        self.failures += 1
        self.why = why
