"""One Envoy's life as a state machine: events in, effects out.

    IDLE ─Start─▶ STARTING ─ready─▶ RUNNING
                   ▲  │  ◀─not ready─┘ │
                   │  └────Exited──────┤
                   └─Tick── BACKOFF ◀──┘      Stop: any ─▶ STOPPING ─Exited─▶ STOPPED

Two rules: every event is legal in every phase, and an effect is asked for once. Draining is beside the phases: Envoy
runs on, and its outbound side works, until Stop. From when it is first ready its ports are held, so that who connects
while it is away waits for the next one; those of a pod that drains, or whose Envoy does not come back soon, are not.
"""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from pilotfish.agent.backoff import count_failure, restart_delay
from pilotfish.agent.draining import Draining
from pilotfish.agent.events import (
    Answered,
    Ask,
    Drain,
    Effect,
    Event,
    Exited,
    Hold,
    Kill,
    Post,
    Release,
    Spawn,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.intake import SIDECAR, Intake
from pilotfish.agent.readiness import Stats, readiness_filter, why_not_ready
from pilotfish.agent.taken import Taken, count_taken


class Phase(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"


FIRST_POLL: Final = 0.025
"""Seconds between two looks at an Envoy that just started. The interval grows with its age: an Envoy that waits for
discovery for minutes, or twenty that start at once on two cores, are not to be kept busy by questions."""
_POLL_SHARE: Final = 0.08
_POLL_STARTING_MOST: Final = 1.0
_POLL_RUNNING: Final = 5.0
"""That it ended is known at once; this is for one that hangs, and costs 100 pods 3% of a core."""
_POLL_DRAINING: Final = 0.05
_SILENCES_STARTING: Final = 20
_SILENCES: Final = 3
"""Unanswered looks in a row after which Envoy is taken for stuck: one that starts has not opened its admin port yet,
and one big update may cost a running one a look."""

HOLD_MOST: Final = 1.0
"""Seconds for which who connects waits for an Envoy that ended. Ten times what a restart takes; after that it is better
for a client to be refused, and to try another pod."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One process of Envoy's."""

    spawned_at: float
    pid: int | None = None
    poll_at: float | None = None
    """None while a look is under way, and before the process exists."""
    silences: int = 0
    was_ready: bool = False


class Supervisor:
    """Give each event to `receive`, with the time; do what it returns; come back with Tick when `timer` says."""

    __slots__ = (
        "_deadline",
        "_held",
        "_intake",
        "_release_at",
        "_restart_at",
        "_run",
        "draining",
        "epoch",
        "exit_code",
        "failures",
        "message",
        "phase",
        "taken",
    )

    def __init__(self, intake: Intake = SIDECAR) -> None:
        self._intake = intake
        self.phase = Phase.IDLE
        self.epoch = -1
        self.failures = 0
        """In a row."""
        self.exit_code: int | None = None
        self.message = "Envoy has not been started"
        """Why Envoy does not serve; "" if it does."""
        self.draining: Draining | None = None
        self.taken = Taken()
        """As Envoy last told it."""
        self._run: _Run | None = None
        self._restart_at = 0.0
        self._held: tuple[int, ...] = ()
        self._release_at: float | None = None
        """None while Envoy serves."""
        self._deadline: float | None = None

    @property
    def ready(self) -> bool:
        """Traffic may come: Envoy serves, or starts again in a moment, for which who connects waits."""
        if self.draining:
            return False
        starts_again = self.phase is Phase.STARTING and self._release_at is not None and bool(self._held)
        return self.phase is Phase.RUNNING or starts_again

    @property
    def drained(self) -> bool:
        """No inbound work is left, or there was no more time for it."""
        return self.draining is not None and self.draining.over

    @property
    def restarts(self) -> int:
        return max(0, self.epoch)

    @property
    def pid(self) -> int | None:
        return self._run.pid if self._run else None

    @property
    def crash_looping(self) -> bool:
        return self.phase is Phase.BACKOFF or (self.phase is Phase.STARTING and self.failures > 2)

    def timer(self) -> float | None:
        """When to come back with Tick at the latest; None if nothing but an event can happen."""
        times = [self._deadline, self._release_at]
        if self.phase is Phase.BACKOFF:
            times.append(self._restart_at)
        elif self._run and self.phase is not Phase.STOPPING:
            times.append(self._run.poll_at)
        if self.draining and not self.draining.over and self.draining.until < math.inf:
            times.append(self.draining.until)
        return min((time for time in times if time is not None), default=None)

    def receive(self, event: Event, now: float) -> tuple[Effect, ...]:
        match event:
            case Start():
                return self._spawn(now) if self.phase is Phase.IDLE else ()
            case Spawned(pid):
                return self._spawned(pid, now)
            case Exited(code, message):
                return self._exited(code, message, now)
            case Answered(stats):
                return self._answered(stats, now)
            case Drain(until, earliest):
                return self._drain(until, earliest, now)
            case Stop(deadline):
                return self._stop(deadline)
            case Tick():
                return self._tick(now)

    def _spawn(self, now: float) -> tuple[Effect, ...]:
        self.phase = Phase.STARTING
        self.epoch += 1
        self.message = "Envoy is starting"
        self._run = _Run(now)
        return (Spawn(self.epoch),)

    def _spawned(self, pid: int, now: float) -> tuple[Effect, ...]:
        if not self._run:
            return ()
        self._run = replace(self._run, pid=pid, poll_at=now + FIRST_POLL)
        if self.phase is not Phase.STOPPING:
            return ()
        return (Kill(signal.SIGKILL if self._deadline is None else signal.SIGTERM),)

    def _exited(self, code: int, message: str, now: float) -> tuple[Effect, ...]:
        lasted = now - self._run.spawned_at if self._run else 0.0
        served = self._run is not None and self._run.was_ready
        self._run = None
        self.exit_code = code
        if self.draining:
            self.draining = replace(self.draining, over=True)
        if self.phase in (Phase.STOPPING, Phase.STOPPED):
            return self._stopped()
        if served:
            self._release_at = now + HOLD_MOST
        self.failures = count_failure(self.failures, lasted, served)
        delay = restart_delay(self.failures, served)
        if delay == 0:
            return self._spawn(now)
        self.phase = Phase.BACKOFF
        self._restart_at = now + delay
        self.message = f"{message or f'Envoy ended {how_it_ended(code)}'} ({self.failures} times in a row)"
        return ()

    def _stopped(self) -> tuple[Effect, ...]:
        self.phase = Phase.STOPPED
        self._deadline = None
        self.message = "Envoy was stopped"
        return ()

    def _answered(self, stats: Stats | None, now: float) -> tuple[Effect, ...]:
        run = self._run
        # Without a pid it is the last words of the process before.
        if not run or run.pid is None or self.phase is Phase.STOPPING:
            return ()
        effects: tuple[Effect, ...] = ()
        if self.draining and not self.draining.over:
            active = self._intake.count_active(stats) if stats is not None else None
            self.draining = self.draining.observe(active, now)
        else:
            effects = self._judge_readiness(stats, run)
            self.taken = count_taken(stats) if stats is not None else self.taken
        self._run = replace(
            run,
            silences=run.silences + 1 if stats is None else 0,
            was_ready=run.was_ready or self.phase is Phase.RUNNING,
            poll_at=now + self._poll_interval(now - run.spawned_at),
        )
        return effects

    def _judge_readiness(self, stats: Stats | None, run: _Run) -> tuple[Effect, ...]:
        if stats is not None:
            self.message = why_not_ready(stats, run.was_ready, self._intake)
        elif run.silences + 1 < (_SILENCES if run.was_ready else _SILENCES_STARTING):
            return ()
        else:
            self.message = "Envoy does not answer on its admin port"
        self.phase = Phase.STARTING if self.message else Phase.RUNNING
        if stats is None or self.phase is not Phase.RUNNING:
            return ()
        if run.was_ready:
            return () if self.draining else self._follow(self._intake.listening(stats))
        self._release_at = None
        # One that was restarted while the pod ends must not take new work.
        self._held = self._intake.lasting if self.draining else self._intake.listening(stats)
        held = (Hold(self._held),) if self._held else ()
        return (*held, Post(self._intake.drain_path)) if self.draining else held

    def _follow(self, ports: tuple[int, ...]) -> tuple[Effect, ...]:
        """Listeners that came are held; those that went are not, as nobody would ever answer there."""
        new = tuple(port for port in ports if port not in self._held)
        released = self._release(*(port for port in self._held if port not in ports))
        self._held = ports
        return (*released, Hold(new)) if new else released

    def _release(self, *ports: int) -> tuple[Effect, ...]:
        released = tuple(port for port in ports if port in self._held)
        self._held = tuple(port for port in self._held if port not in ports)
        return (Release(released),) if released else ()

    def _is_draining(self) -> bool:
        return self.draining is not None and not self.draining.over

    def _poll_interval(self, age: float) -> float:
        if self._is_draining():
            return _POLL_DRAINING
        if self.phase is Phase.RUNNING:
            return _POLL_RUNNING
        return max(FIRST_POLL, min(_POLL_STARTING_MOST, age * _POLL_SHARE))

    def _drain(self, until: float, earliest: float, now: float) -> tuple[Effect, ...]:
        if self.draining:
            self.draining = self.draining.hurry(until)
            return ()
        run = self._run
        # One that was not ready yet has no inbound work; it gets none, as it is drained when it becomes ready.
        if not run or not run.was_ready or self.phase is Phase.STOPPING:
            self.draining = Draining(now, until, over=True)
            return self._release_inbound()
        self.draining = Draining(now, until, earliest)
        if run.poll_at is not None:
            self._run = replace(run, poll_at=now)
        return (*self._release_inbound(), Post(self._intake.drain_path))

    def _release_inbound(self) -> tuple[Effect, ...]:
        return self._release(*(port for port in self._held if port not in self._intake.lasting))

    def _stop(self, deadline: float) -> tuple[Effect, ...]:
        released = self._release(*self._held)
        self._release_at = None
        if self.phase in (Phase.IDLE, Phase.BACKOFF, Phase.STOPPED):
            return (*self._stopped(), *released)
        first = self.phase is not Phase.STOPPING
        self.phase = Phase.STOPPING
        self.message = "Envoy is stopping"
        self._deadline = deadline if first or self._deadline is None else min(deadline, self._deadline)
        if self.draining:
            self.draining = replace(self.draining, over=True)
        return (*released, Kill(signal.SIGTERM)) if first and self.pid else released

    def _tick(self, now: float) -> tuple[Effect, ...]:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            return (Kill(signal.SIGKILL),) if self.pid else ()
        if self._release_at is not None and now >= self._release_at:
            self._release_at = None
            return self._release(*self._held)
        if self.phase is Phase.BACKOFF and now >= self._restart_at:
            return self._spawn(now)
        if self.draining and not self.draining.over and now >= self.draining.until:
            self.draining = replace(self.draining, over=True)
        run = self._run
        if run and run.poll_at is not None and now >= run.poll_at and self.phase is not Phase.STOPPING:
            self._run = replace(run, poll_at=None)
            intake = self._intake
            return (Ask(intake.drain_filter if self._is_draining() else readiness_filter(intake)),)
        return ()


def how_it_ended(code: int) -> str:
    """`with exit code 1`, or `by SIGKILL`."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
