"""One Envoy's life as a state machine: events in, effects out.

    IDLE ─Start─▶ STARTING ─ready─▶ RUNNING
                   ▲  │  ◀─not ready─┘ │
                   │  └────Exited──────┤
                   └─Tick── BACKOFF ◀──┘      Stop: any ─▶ STOPPING ─Exited─▶ STOPPED

Two rules: every event is legal in every phase, and an effect is asked for once. Draining is beside the phases: Envoy
runs on, and its outbound side works, until Stop. So is a planned restart (`succession`): the phase is that of the one
that serves. From when it is first ready its ports are held, so that who connects while it is away waits for the next
one; those of a pod that drains, or whose Envoy does not come back soon, are not.
"""

from __future__ import annotations

import math
import signal
from dataclasses import replace
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
    Kill,
    Post,
    Restart,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.held import Held
from pilotfish.agent.intake import SIDECAR, Intake
from pilotfish.agent.readiness import Stats, draining_filter, readiness_filter, why_not_ready
from pilotfish.agent.succession import FIRST_POLL, GIVE_UP_AFTER, Run, Succession, poll_starting
from pilotfish.agent.taken import Taken, count_taken


class Phase(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"


_POLL_RUNNING: Final = 5.0
"""That it ended is known at once; this is for one that hangs, and costs 100 pods 3% of a core."""
_POLL_DRAINING: Final = 0.05
_POLL_SUCCEEDED: Final = 1.0
"""While the one before it ends its connections."""
_SILENCES_STARTING: Final = 20
_SILENCES: Final = 3
"""Unanswered looks in a row after which Envoy is taken for stuck: one that starts has not opened its admin port yet,
and one big update may cost a running one a look."""

LINGER: Final = 60.0
"""Seconds that an Envoy has to end its connections, after another has taken over from it: Istio's own default."""


class Supervisor:
    """Give each event to `receive`, with the time; do what it returns; come back with Tick when `timer` says."""

    __slots__ = (
        "_deadline",
        "_held",
        "_intake",
        "_release_at",
        "_restart_at",
        "_run",
        "_succession",
        "draining",
        "epoch",
        "exit_code",
        "failures",
        "message",
        "phase",
        "taken",
    )

    def __init__(self, intake: Intake = SIDECAR, linger: float = LINGER) -> None:
        self._intake = intake
        self._succession = Succession(linger)
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
        self._run: Run | None = None
        self._restart_at = 0.0
        self._held = Held()
        self._release_at: float | None = None
        """None while Envoy serves."""
        self._deadline: float | None = None

    @property
    def ready(self) -> bool:
        """Traffic may come: Envoy serves, or starts again in a moment, for which who connects waits."""
        if self.draining:
            return False
        starts_again = self.phase is Phase.STARTING and self._release_at is not None and bool(self._held.ports)
        return self.phase is Phase.RUNNING or starts_again

    @property
    def drained(self) -> bool:
        """No inbound work is left, or there was no more time for it."""
        return self.draining is not None and self.draining.over

    @property
    def restarts(self) -> int:
        return max(0, self.epoch)

    @property
    def handovers_failed(self) -> int:
        """How often another Envoy was to take over, and did not."""
        return self._succession.failures

    @property
    def why_not_handed_over(self) -> str:
        """Of the last time; "" if another has taken over, or never was to."""
        return self._succession.why

    def why_not_restart(self, now: float) -> str:
        """Why another Envoy can't take over now; "" if it can."""
        if self.draining:
            return "its pod ends"
        if self._succession.next is not None:
            return "another Envoy is about to take over already"
        if self._succession.is_under_way:
            left = math.ceil(self._succession.leaves_within(now))
            return f"the Envoy before this one still ends its connections, for {left} s at the most"
        if self.phase is not Phase.RUNNING:
            return f"no Envoy serves that another could take over from: {self.message}"
        return ""

    @property
    def pid(self) -> int | None:
        return self._run.pid if self._run else None

    @property
    def crash_looping(self) -> bool:
        return self.phase is Phase.BACKOFF or (self.phase is Phase.STARTING and self.failures > 2)

    def timer(self) -> float | None:
        """When to come back with Tick at the latest; None if nothing but an event can happen."""
        times = [self._deadline, self._release_at]
        if self.phase is not Phase.STOPPING:
            times.append(self._succession.timer())
        if self.phase is Phase.BACKOFF:
            times.append(self._restart_at)
        elif self._run and self.phase is not Phase.STOPPING and self._succession.next is None:
            times.append(self._run.poll_at)
        if self.draining and not self.draining.over and self.draining.until < math.inf:
            times.append(self.draining.until)
        return min((time for time in times if time is not None), default=None)

    def receive(self, event: Event, now: float) -> tuple[Effect, ...]:
        match event:
            case Start():
                return self._spawn(now) if self.phase is Phase.IDLE else ()
            case Spawned(epoch, pid):
                return self._spawned(epoch, pid, now)
            case Exited(epoch, code, message):
                return self._exited(epoch, code, message, now)
            case Answered(stats):
                return self._answered(stats, now)
            case Restart():
                return self._hand_over(now) if not self.why_not_restart(now) else ()
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
        self._run = Run(self.epoch, self.epoch, 0, now)
        return (self._run.spawn,)

    def _hand_over(self, now: float) -> tuple[Effect, ...]:
        if self._run is None:
            return ()
        self.epoch += 1
        return self._succession.begin(self._run, self.epoch, now)

    def _spawned(self, epoch: int, pid: int, now: float) -> tuple[Effect, ...]:
        if self._run and self._run.epoch == epoch:
            self._run = replace(self._run, pid=pid, poll_at=now + FIRST_POLL)
            known: tuple[Effect, ...] = ()
        else:
            known = self._succession.spawned(epoch, pid, now)
        if self.phase is not Phase.STOPPING or known:
            return known
        return (Kill(epoch, signal.SIGKILL if self._deadline is None else signal.SIGTERM),)

    def _exited(self, epoch: int, code: int, message: str, now: float) -> tuple[Effect, ...]:
        how = message or f"Envoy ended {how_it_ended(code)}"
        if self._run and self._run.epoch == epoch:
            self.exit_code = code
            return self._lost(self._run, how, now)
        if self._succession.exited(epoch, how):
            self._serve_on(now)
        is_last = self.phase is Phase.STOPPING and not self._run and not self._succession.is_under_way
        return self._stopped() if is_last else ()

    def _serve_on(self, now: float) -> None:
        """The next one has come to nothing, and may have closed the admin port of the one that serves."""
        if self._run:
            self._run = replace(self._run, may_be_mute=True, poll_at=now)

    def _lost(self, run: Run, how: str, now: float) -> tuple[Effect, ...]:
        """The one that served, or was to."""
        self._run = None
        if self.draining:
            self.draining = replace(self.draining, over=True)
        if self.phase is Phase.STOPPING:
            return () if self._succession.is_under_way else self._stopped()
        abandoned = self._succession.abandon(f"the one that it was to take over from ended: {how}")
        if run.was_ready:
            self._release_at = now + self._intake.waited
        self.failures = count_failure(self.failures, now - run.spawned_at, run.was_ready)
        delay = restart_delay(self.failures, run.was_ready)
        if delay == 0:
            return (*abandoned, *self._spawn(now))
        self.phase = Phase.BACKOFF
        self._restart_at = now + delay
        self.message = f"{how} ({self.failures} times in a row)"
        return abandoned

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
        if self._succession.next is not None:
            return self._next_answered(self._succession.next, run, stats, now)
        if stats is not None and not run.answers(stats):  # the last words of one that came to nothing
            self._run = replace(run, poll_at=now + FIRST_POLL)
            return ()
        if stats is None and run.may_be_mute:
            self._run = replace(run, poll_at=None)
            self._succession.begin_again(now)
            return ()
        effects: tuple[Effect, ...] = ()
        if self.draining and not self.draining.over:
            active = self._intake.count_active(stats) if stats is not None else None
            self.draining = self.draining.observe(active, now)
        else:
            effects = self._judge_readiness(stats, run)
            self.taken = count_taken(stats) if stats is not None else self.taken
        if stats is not None:
            effects = (*effects, *self._succession.let_go(run, stats, now))
        self._run = replace(
            run,
            silences=run.silences + 1 if stats is None else 0,
            was_ready=run.was_ready or self.phase is Phase.RUNNING,
            may_be_mute=False,
            poll_at=now + self._poll_interval(now - run.spawned_at),
        )
        return effects

    def _next_answered(self, taken: Run, before: Run, stats: Stats | None, now: float) -> tuple[Effect, ...]:
        """Or the one before it did, or none: the admin port changes hands."""
        if stats is None or not taken.answers(stats):
            self._succession.looked(now)
            return ()
        if why := why_not_ready(stats, was_ready=False, intake=self._intake):
            self._succession.looked(now, why)
            return ()
        self._run = replace(self._succession.promote(before, stats, now), poll_at=now + _POLL_SUCCEEDED)
        self.phase, self.message, self._release_at = Phase.RUNNING, "", None
        # Its sockets are those of the one before: what was held is so still.
        return (Post(self._intake.drain_path),) if self.draining else self._held.follow(self._intake.listening(stats))

    def _judge_readiness(self, stats: Stats | None, run: Run) -> tuple[Effect, ...]:
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
            return () if self.draining else self._held.follow(self._intake.listening(stats))
        self._release_at = None
        # One that was restarted while the pod ends must not take new work.
        held = self._held.hold(self._intake.lasting if self.draining else self._intake.listening(stats))
        return (*held, Post(self._intake.drain_path)) if self.draining else held

    def _is_draining(self) -> bool:
        return self.draining is not None and not self.draining.over

    def _poll_interval(self, age: float) -> float:
        if self._is_draining():
            return _POLL_DRAINING
        if self.phase is Phase.RUNNING:
            return _POLL_SUCCEEDED if self._succession.is_under_way else _POLL_RUNNING
        return poll_starting(age)

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
        if self._succession.next is not None:
            return self._release_inbound()  # it drains the one before, and is drained when it serves
        if run.poll_at is not None:
            self._run = replace(run, poll_at=now)
        return (*self._release_inbound(), Post(self._intake.drain_path))

    def _release_inbound(self) -> tuple[Effect, ...]:
        return self._held.release(*(port for port in self._held.ports if port not in self._intake.lasting))

    def _stop(self, deadline: float) -> tuple[Effect, ...]:
        released = self._held.release(*self._held.ports)
        self._release_at = None
        if self.phase is Phase.STOPPED or not (self._run or self._succession.is_under_way):
            return (*self._stopped(), *released)
        first = self.phase is not Phase.STOPPING
        self.phase = Phase.STOPPING
        self.message = "Envoy is stopping"
        self._deadline = deadline if first or self._deadline is None else min(deadline, self._deadline)
        if self.draining:
            self.draining = replace(self.draining, over=True)
        return (*released, *self._kill(signal.SIGTERM)) if first else released

    def _kill(self, number: signal.Signals) -> tuple[Effect, ...]:
        own = (Kill(self._run.epoch, number),) if self._run and self._run.pid else ()
        return (*own, *self._succession.kill(number))

    def _tick(self, now: float) -> tuple[Effect, ...]:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            return self._kill(signal.SIGKILL)
        if self._release_at is not None and now >= self._release_at:
            self._release_at = None
            return self._held.release(*self._held.ports)
        if self.phase is Phase.STOPPING:
            return ()
        if self.phase is Phase.BACKOFF and now >= self._restart_at:
            return self._spawn(now)
        if effects := self._succession.tick(now):
            return effects
        if self.draining and not self.draining.over and now >= self.draining.until:
            self.draining = replace(self.draining, over=True)
        return self._look(now)

    def _look(self, now: float) -> tuple[Effect, ...]:
        run, taken, intake = self._run, self._succession.next, self._intake
        if run is None:
            return ()
        if taken is not None:
            if now >= taken.spawned_at + GIVE_UP_AFTER:
                self._serve_on(now)
                return self._succession.give_up()
            if taken.poll_at is None or now < taken.poll_at:
                return ()
            self._succession.looks()
            return (Ask(readiness_filter(intake)),)
        if self._succession.is_due(now):
            return self._hand_over(now)
        if run.poll_at is None or now < run.poll_at:
            return ()
        self._run = replace(run, poll_at=None)
        return (Ask(draining_filter(intake) if self._is_draining() else readiness_filter(intake)),)


def how_it_ended(code: int) -> str:
    """`with exit code 1`, or `by SIGKILL`."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
