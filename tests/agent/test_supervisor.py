"""An Envoy's life, told as dialogues: what happens, when, and what the machine asks for."""

import math
import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.agent.events import (
    Answered,
    Ask,
    Drain,
    Event,
    Exited,
    Hold,
    Kill,
    Post,
    Release,
    Restart,
    Spawn,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.intake import GATEWAY, NODE, SIDECAR, Intake
from pilotfish.agent.readiness import draining_filter, readiness_filter
from pilotfish.agent.succession import GIVE_UP_AFTER
from pilotfish.agent.supervisor import LINGER, Phase, Supervisor, how_it_ended

READY = {
    "cluster_manager.cds.update_success": 1,
    "listener_manager.lds.update_success": 1,
    "listener_manager.workers_started": 1,
    "server.state": 0,
}
TAKEN_OVER = {**READY, "server.hot_restart_epoch": 1}
"""Of one that takes over from the first."""
LISTENER = "listener.0.0.0.0_15006.downstream_cx_active"
TERM, KILL = Kill(0, signal.SIGTERM), Kill(0, signal.SIGKILL)
OUTBOUND, INBOUND, BOTH = (15001,), (15006,), (15001, 15006)


def ready_supervisor() -> Supervisor:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(supervisor.epoch, 7), 0.02)
    assert supervisor.receive(Answered(READY), 0.1) == (Hold(BOTH),)
    assert supervisor.ready
    return supervisor


def test_from_start_to_ready() -> None:
    supervisor = Supervisor()
    assert supervisor.timer() is None
    assert supervisor.receive(Start(), 0) == (Spawn(0, 0, 0),)
    assert supervisor.timer() is None, "there is no process to look at yet"
    assert supervisor.receive(Spawned(supervisor.epoch, 7), 0.02) == ()
    assert supervisor.timer() == pytest.approx(0.045)
    assert supervisor.receive(Tick(), 0.05) == (Ask(readiness_filter(SIDECAR)),)
    assert supervisor.timer() is None, "one look at a time"
    assert supervisor.receive(Answered({}), 0.06) == ()
    assert (supervisor.ready, supervisor.message) == (False, "discovery has not sent clusters yet")
    assert supervisor.receive(Tick(), 0.09) == (Ask(readiness_filter(SIDECAR)),)
    supervisor.receive(Answered(READY), 0.1)
    assert (supervisor.ready, supervisor.message, supervisor.pid) == (True, "", 7)
    assert supervisor.timer() == pytest.approx(5.1), "a ready one is looked at rarely"


def test_looks_become_rarer_while_discovery_is_away() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(supervisor.epoch, 7), 0)
    for at, pause in ((0.1, 0.025), (1, 0.08), (5, 0.4), (600, 1.0)):
        supervisor.receive(Tick(), at)
        supervisor.receive(Answered({}), at)
        assert supervisor.timer() == pytest.approx(at + pause)


def test_the_first_restart_is_immediate_and_later_ones_back_off() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Exited(supervisor.epoch, -9), 1) == (Spawn(1, 1, 0),)
    now, delays = 1.0, []
    for epoch in range(2, 10):
        supervisor.receive(Spawned(supervisor.epoch, 7), now)
        assert supervisor.receive(Exited(supervisor.epoch, 1), now) == ()
        assert supervisor.crash_looping
        timer = supervisor.timer()
        assert timer is not None
        delays.append(round(timer - now, 3))
        assert supervisor.receive(Tick(), timer) == (Spawn(epoch, epoch, 0),)
        now = timer
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert supervisor.restarts == 9


def test_a_crash_loop_says_how_it_ends() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Exited(supervisor.epoch, -6), 1)
    supervisor.receive(Exited(supervisor.epoch, -6), 2)
    assert supervisor.message == "Envoy ended by SIGABRT (2 times in a row)"
    assert supervisor.exit_code == -6


def test_what_can_not_be_started_backs_off_too() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Exited(supervisor.epoch, 126, "no such program"), 0) == (Spawn(1, 1, 0),)
    assert supervisor.receive(Exited(supervisor.epoch, 126, "no such program"), 0) == ()
    assert supervisor.message == "no such program (2 times in a row)"


def test_a_stable_minute_forgives_earlier_failures() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(supervisor.epoch, 1), 1)
    supervisor.receive(Spawned(supervisor.epoch, 8), 1)
    assert supervisor.receive(Exited(supervisor.epoch, 1), 62) == (Spawn(2, 2, 0),)


def test_one_that_served_is_started_again_at_once_a_few_times() -> None:
    supervisor = ready_supervisor()
    for epoch in range(1, 6):
        assert supervisor.receive(Exited(supervisor.epoch, -9), epoch) == (Spawn(epoch, epoch, 0),)
        supervisor.receive(Spawned(supervisor.epoch, 7), epoch)
        supervisor.receive(Answered(READY), epoch + 0.1)
    assert supervisor.receive(Exited(supervisor.epoch, -9), 6) == ()
    assert supervisor.crash_looping


def test_who_connects_while_a_restarted_envoy_starts_waits_for_it() -> None:
    """So the pod stays ready: it would lose its place among the endpoints for less than it takes to tell."""
    supervisor = ready_supervisor()
    supervisor.receive(Exited(supervisor.epoch, -9), 1)
    supervisor.receive(Spawned(supervisor.epoch, 8), 1.02)
    supervisor.receive(Answered({}), 1.05)
    assert supervisor.ready
    assert supervisor.receive(Answered(READY), 1.1) == (Hold(BOTH),)
    assert supervisor.ready


def test_nobody_waits_for_long() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(supervisor.epoch, -9), 1)
    supervisor.receive(Spawned(supervisor.epoch, 8), 1.02)
    supervisor.receive(Tick(), 1.05)
    assert supervisor.timer() == 2
    assert supervisor.receive(Tick(), 2) == (Release(BOTH),)
    assert (supervisor.ready, supervisor.message) == (False, "Envoy is starting")
    assert supervisor.receive(Answered(READY), 2.5) == (Hold(BOTH),)


def test_one_that_backs_off_is_not_ready_though_its_ports_are_held_for_the_moment() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(supervisor.epoch, -9), 1)
    assert supervisor.receive(Exited(supervisor.epoch, 1), 1.1) == ()
    assert not supervisor.ready
    assert supervisor.receive(Tick(), 1.3) == (Spawn(2, 2, 0),)
    assert supervisor.receive(Tick(), 2) == (Release(BOTH),)
    assert supervisor.receive(Tick(), 3) == (), "once"


def test_a_pod_that_drains_lets_nobody_wait_for_its_app() -> None:
    supervisor = ready_supervisor()
    assert supervisor.receive(Drain(15), 10) == (Release(INBOUND), Post(SIDECAR.drain_path))
    assert supervisor.receive(Stop(20), 12) == (Release(OUTBOUND), TERM)


def test_one_unanswered_look_is_forgiven_and_three_are_not() -> None:
    supervisor = ready_supervisor()
    for at, ready in ((5, True), (10, True), (15, False)):
        supervisor.receive(Answered(None), at)
        assert supervisor.ready is ready
    assert supervisor.message == "Envoy does not answer on its admin port"
    supervisor.receive(Answered(READY), 20)
    assert supervisor.ready


def test_draining_ends_when_requests_do() -> None:
    supervisor = ready_supervisor()
    assert supervisor.receive(Drain(15), 10) == (Release(INBOUND), Post(SIDECAR.drain_path))
    assert not supervisor.ready
    assert supervisor.receive(Tick(), 10) == (Ask(draining_filter(SIDECAR)),)
    supervisor.receive(Answered({LISTENER: 1}), 10.01)
    assert supervisor.timer() == pytest.approx(10.06)
    supervisor.receive(Answered({LISTENER: 0}), 10.06)
    assert not supervisor.drained, "a peer that learns late may still send something"
    supervisor.receive(Answered({LISTENER: 0}), 10.17)
    assert supervisor.drained
    assert supervisor.pid == 7, "outbound traffic still works"


def test_draining_ends_at_its_deadline() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Drain(11), 10)
    supervisor.receive(Tick(), 10)
    assert supervisor.timer() == 11
    supervisor.receive(Tick(), 11)
    assert supervisor.drained


def test_a_second_drain_ends_sooner_and_never_later() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Drain(99), 10)
    supervisor.receive(Tick(), 10)
    assert supervisor.receive(Drain(11), 10.5) == ()
    assert supervisor.receive(Drain(99), 10.6) == ()
    assert supervisor.timer() == pytest.approx(11)
    supervisor.receive(Tick(), 11)
    assert supervisor.drained


def test_one_that_is_to_go_on_until_it_is_killed_needs_no_timer() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Drain(math.inf), 10)
    supervisor.receive(Tick(), 10)
    assert supervisor.timer() is None, "until Envoy has answered"
    supervisor.receive(Answered({LISTENER: 1}), 11)
    assert supervisor.timer() == pytest.approx(11.05)


def test_nothing_runs_so_nothing_drains() -> None:
    supervisor = Supervisor()
    assert supervisor.receive(Drain(11), 10) == ()
    assert supervisor.drained


def test_one_that_is_not_ready_has_nothing_to_drain_and_gets_nothing() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(supervisor.epoch, 7), 0)
    assert supervisor.receive(Drain(10), 0.1) == ()
    assert supervisor.drained
    assert supervisor.receive(Answered(READY), 0.2) == (Hold(OUTBOUND), Post(SIDECAR.drain_path))
    assert not supervisor.ready


def test_an_envoy_that_ends_while_draining_comes_back_for_outbound_traffic_alone() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Drain(11), 10)
    assert supervisor.receive(Exited(supervisor.epoch, -9), 10.1) == (Spawn(1, 1, 0),)
    assert supervisor.drained
    supervisor.receive(Spawned(supervisor.epoch, 8), 10.2)
    assert supervisor.receive(Answered(READY), 10.3) == (Hold(OUTBOUND), Post(SIDECAR.drain_path))
    assert not supervisor.ready


def test_stop_asks_first_and_forces_at_the_deadline() -> None:
    supervisor = ready_supervisor()
    assert supervisor.receive(Stop(3), 1) == (Release(BOTH), TERM)
    assert supervisor.receive(Stop(2), 1) == (), "asked once; but sooner"
    assert supervisor.timer() == 2
    assert supervisor.receive(Tick(), 2) == (KILL,)
    assert supervisor.receive(Exited(supervisor.epoch, -9), 2.1) == ()
    assert (supervisor.phase, supervisor.timer()) == (Phase.STOPPED, None)


def test_stop_while_the_process_is_being_made() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Stop(3), 0.01) == ()
    assert supervisor.receive(Spawned(supervisor.epoch, 7), 0.02) == (TERM,)
    late = Supervisor()
    late.receive(Start(), 0)
    late.receive(Stop(0.01), 0.01)
    late.receive(Tick(), 0.01)
    assert late.receive(Spawned(late.epoch, 7), 0.02) == (KILL,)


def test_stop_in_backoff_and_before_the_start_needs_no_signal() -> None:
    for supervisor in (Supervisor(), ready_supervisor()):
        if supervisor.pid:
            supervisor.receive(Exited(supervisor.epoch, 1), 1)
            supervisor.receive(Exited(supervisor.epoch, 1), 1)
        assert all(isinstance(effect, Release) for effect in supervisor.receive(Stop(3), 1.1))
        assert supervisor.phase is Phase.STOPPED
        assert supervisor.receive(Start(), 2) == ()


@pytest.mark.parametrize(("intake", "seconds"), [(SIDECAR, 1), (GATEWAY, 1), (NODE, 10)])
def test_how_long_who_connects_waits(intake: Intake, seconds: float) -> None:
    """For all listeners of a machine longer than for those of a pod."""
    supervisor = Supervisor(intake)
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(supervisor.epoch, 7), 0.02)
    supervisor.receive(Answered({**READY, "listener.0.0.0.0_80.downstream_cx_active": 0}), 0.1)
    supervisor.receive(Exited(supervisor.epoch, -9), 1)
    supervisor.receive(Spawned(supervisor.epoch, 8), 1.1)
    assert not any(isinstance(effect, Release) for effect in supervisor.receive(Tick(), 1 + seconds - 0.1))
    assert any(isinstance(effect, Release) for effect in supervisor.receive(Tick(), 1 + seconds))


def test_how_it_ended() -> None:
    assert how_it_ended(1) == "with exit code 1"
    assert how_it_ended(-11) == "by SIGSEGV"
    assert how_it_ended(-99) == "by signal 99"


EVENTS: st.SearchStrategy[Event | type[Spawned | Exited]] = st.one_of(
    st.just(Start()),
    st.sampled_from([Spawned, Exited]),
    st.builds(Answered, st.sampled_from([None, {}, READY, TAKEN_OVER, {LISTENER: 0}, {LISTENER: 2}])),
    st.just(Restart()),
    st.builds(Drain, st.just(50.0)),
    st.builds(Stop, st.just(60.0)),
    st.just(Tick()),
)


class Machine:
    """Processes as the machine has them: asked for, made, ended."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.made: list[int] = []

    def make(self, event: Event | type[Spawned | Exited], number: int) -> Event | None:
        """What happens to one of the processes; None if there is none to which it could."""
        if event is Spawned:
            if not self.asked:
                return None
            self.made.append(self.asked.pop(number % len(self.asked)))
            return Spawned(self.made[-1], 7)
        if event is Exited:
            if not self.made:
                return None
            return Exited(self.made.pop(number % len(self.made)), -9)
        return event if not isinstance(event, type) else None


@given(st.lists(st.tuples(st.floats(0, 20), EVENTS, st.integers(0, 9)), max_size=40))
def test_any_history_keeps_the_promises(history: list[tuple[float, Event | type[Spawned | Exited], int]]) -> None:
    """No event is an error; a stopped Envoy is never started again; ready means that it serves or that its ports are
    held; who is held is let go: when the pod ends, and a second after Envoy did. There never are more than two that
    serve or are to, and only what runs is killed. When all has ended, it is stopped.
    """
    supervisor = Supervisor()
    machine = Machine()
    now = 0.0
    stopped = False
    held: set[int] = set()
    away_since: float | None = None
    for wait, drawn, number in history:
        now += wait
        event = machine.make(drawn, number)
        if event is None:
            continue
        effects = supervisor.receive(event, now)
        while (timer := supervisor.timer()) is not None and timer <= now:
            effects += supervisor.receive(Tick(), now)
        stopped = stopped or isinstance(event, Stop)
        for effect in effects:
            if isinstance(effect, Hold):
                held |= set(effect.ports)
            elif isinstance(effect, Release):
                assert set(effect.ports) <= held, "asked for once"
                held -= set(effect.ports)
            elif isinstance(effect, Spawn):
                machine.asked.append(effect.epoch)
            elif isinstance(effect, Kill):
                assert effect.epoch in machine.made
        assert not (stopped and any(isinstance(effect, Spawn) for effect in effects))
        assert not supervisor.ready or (supervisor.phase is Phase.RUNNING and not supervisor.message) or held
        assert not (held and stopped)
        assert 15006 not in held or supervisor.draining is None
        if supervisor.phase is Phase.RUNNING:
            away_since = None
        elif isinstance(event, Exited) and away_since is None:
            away_since = now
        assert not held or away_since is None or now - away_since < SIDECAR.waited
    supervisor.receive(Stop(now), now)
    for epoch in (*machine.asked, *machine.made):
        assert supervisor.phase is Phase.STOPPING
        supervisor.receive(Exited(epoch, 0), now)
    assert supervisor.phase is Phase.STOPPED


def test_a_gateway_holds_the_ports_of_its_listeners_as_they_come_and_go() -> None:
    supervisor = Supervisor(GATEWAY)
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(supervisor.epoch, 7), 0.02)
    http = {**READY, "listener.0.0.0.0_80.downstream_cx_active": 0}
    both = {**http, "listener.0.0.0.0_443.downstream_cx_active": 0}
    assert supervisor.receive(Answered(READY), 0.1) == (), "no Gateway selects it"
    assert supervisor.ready
    assert supervisor.receive(Answered(http), 5) == (Hold((80,)),)
    assert supervisor.receive(Answered(both), 10) == (Hold((443,)),)
    assert supervisor.receive(Answered(http), 15) == (Release((443,)),)
    assert supervisor.receive(Drain(30), 20) == (Release((80,)), Post("/drain_listeners?graceful"))


def test_a_planned_restart_lets_another_take_over_and_the_one_before_end() -> None:
    supervisor = ready_supervisor()
    assert supervisor.receive(Restart(), 10) == (Spawn(1, line=0, number=1),)
    supervisor.receive(Spawned(1, 8), 10.02)
    assert supervisor.timer() == pytest.approx(10.045)
    assert supervisor.receive(Tick(), 10.05) == (Ask(readiness_filter(SIDECAR)),)
    supervisor.receive(Answered(READY), 10.06)
    assert (supervisor.ready, supervisor.pid) == (True, 7), "that was the old one, whose admin port is not closed yet"
    supervisor.receive(Tick(), 10.1)
    supervisor.receive(Answered(None), 10.1)
    assert supervisor.ready, "nobody answers for a moment"
    supervisor.receive(Tick(), 10.15)
    assert supervisor.receive(Answered(TAKEN_OVER), 10.15) == (), "its sockets are those that are held"
    assert (supervisor.ready, supervisor.pid, supervisor.restarts) == (True, 8, 1)
    supervisor.receive(Exited(0, 0), 10.15 + LINGER)
    assert (supervisor.ready, supervisor.phase, supervisor.failures) == (True, Phase.RUNNING, 0)
    assert supervisor.receive(Restart(), 90) == (Spawn(2, line=0, number=2),)


def taken_over() -> Supervisor:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    supervisor.receive(Answered({**TAKEN_OVER, "server.uptime": 10}), 10)
    assert supervisor.pid == 8
    return supervisor


def test_the_one_before_is_ended_when_its_last_connection_is() -> None:
    """Counted after it was taken over from: what was counted before says nothing of those that came since."""
    supervisor = taken_over()
    for at, figures, effects in (
        (11, {"server.uptime": 10, "server.parent_connections": 0}, ()),
        (16, {"server.uptime": 15, "server.parent_connections": 3}, ()),
        (21, {"server.uptime": 21, "server.parent_connections": 0}, (TERM,)),
    ):
        assert supervisor.receive(Tick(), at) == (Ask(readiness_filter(SIDECAR)),)
        assert supervisor.receive(Answered({**TAKEN_OVER, **figures}), at) == effects
    assert supervisor.receive(Exited(0, 0), 21.1) == ()
    assert supervisor.why_not_restart(21.2) == ""


def test_the_one_before_is_ended_when_its_time_is_over() -> None:
    supervisor = taken_over()
    supervisor.receive(Tick(), 12)
    assert supervisor.timer() == pytest.approx(10 + LINGER + 1)
    assert supervisor.receive(Tick(), 10 + LINGER + 1) == (TERM,)
    assert supervisor.receive(Tick(), 10 + LINGER + 6) == (KILL,)
    assert supervisor.receive(Tick(), 10 + LINGER + 60) == (), "once"


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (Supervisor, "no Envoy serves that another could take over from: Envoy has not been started"),
        (taken_over, "the Envoy before this one still ends its connections, for 31 s at the most"),
    ],
)
def test_when_no_other_can_take_over(prepare: Callable[[], Supervisor], why: str) -> None:
    supervisor = prepare()
    assert supervisor.why_not_restart(40) == why
    assert supervisor.receive(Restart(), 40) == ()


def test_only_one_takes_over_at_a_time_and_none_of_a_pod_that_ends() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    assert supervisor.why_not_restart(10) == "another Envoy is about to take over already"
    assert supervisor.receive(Restart(), 10) == ()
    draining = ready_supervisor()
    draining.receive(Drain(30), 10)
    assert draining.why_not_restart(10) == "its pod ends"


def test_one_that_ends_before_it_takes_over_leaves_the_old_one_serving() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    assert supervisor.receive(Exited(1, 1), 10.2) == ()
    assert supervisor.why_not_handed_over == "Envoy ended with exit code 1"
    assert supervisor.receive(Tick(), 10.2) == (Ask(readiness_filter(SIDECAR)),)
    assert supervisor.receive(Answered(READY), 10.2) == ()
    assert (supervisor.ready, supervisor.pid, supervisor.exit_code) == (True, 7, None)
    assert supervisor.timer() == pytest.approx(15.2), "it can still be asked: nobody needs another"


def test_an_old_one_whose_admin_port_was_closed_goes_on_and_is_replaced_soon() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    now = 10.0
    for epoch, pause in ((1, 1), (2, 2), (3, 4)):
        supervisor.receive(Spawned(epoch, 8), now)
        supervisor.receive(Exited(epoch, 1), now)
        supervisor.receive(Tick(), now)
        supervisor.receive(Answered(None), now)
        assert supervisor.ready
        assert supervisor.timer() == now + pause
        now += pause
        assert supervisor.receive(Tick(), now) == (Spawn(epoch + 1, line=0, number=1),)
    supervisor.receive(Spawned(4, 9), now)
    supervisor.receive(Answered(TAKEN_OVER), now)
    assert (supervisor.ready, supervisor.pid, supervisor.why_not_handed_over) == (True, 9, "")


def test_one_that_never_gets_ready_is_given_up() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    supervisor.receive(Answered({"server.hot_restart_epoch": 1}), 10.1)
    assert supervisor.receive(Tick(), 10 + GIVE_UP_AFTER) == (Kill(1, signal.SIGKILL),)
    assert supervisor.why_not_handed_over == "it is not ready after 60 s: discovery has not sent clusters yet"
    supervisor.receive(Exited(1, -9), 10 + GIVE_UP_AFTER)
    assert (supervisor.ready, supervisor.pid) == (True, 7)


def test_without_the_old_one_the_new_one_does_not_take_over() -> None:
    """Its start may hang for ever, as it waits for answers of the one that is gone."""
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    assert supervisor.receive(Exited(0, -9), 10.1) == (Kill(1, signal.SIGKILL), Spawn(2, line=2, number=0))
    assert supervisor.ready, "its ports are held"
    supervisor.receive(Exited(1, -9), 10.11)
    supervisor.receive(Spawned(2, 9), 10.12)
    assert supervisor.receive(Answered(READY), 10.2) == (Hold(BOTH),)
    assert (supervisor.ready, supervisor.pid) == (True, 9)


def test_a_new_one_whose_process_is_still_being_made_is_ended_as_soon_as_it_is_there() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    assert supervisor.receive(Exited(0, -9), 10.1) == (Spawn(2, line=2, number=0),)
    assert supervisor.receive(Spawned(1, 8), 10.2) == (Kill(1, signal.SIGKILL),)


def test_a_new_one_that_ends_is_started_afresh_while_the_one_before_ends_its_connections() -> None:
    supervisor = taken_over()
    assert supervisor.receive(Exited(1, -9), 11) == (Spawn(2, line=2, number=0),)
    supervisor.receive(Spawned(2, 9), 11)
    supervisor.receive(Answered(READY), 11.1)
    others = {**READY, "server.uptime": 5, "server.parent_connections": 0}
    assert supervisor.receive(Answered(others), 16.2) == (), "it knows nothing of that one's connections"
    assert supervisor.receive(Tick(), 11 + LINGER) == (TERM,)


def test_a_pod_that_ends_while_another_takes_over_is_drained_when_it_has() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    assert supervisor.receive(Drain(15), 10.1) == (Release(INBOUND),)
    assert supervisor.receive(Tick(), 10.2) == (Ask(readiness_filter(SIDECAR)),)
    assert supervisor.receive(Answered(TAKEN_OVER), 10.2) == (Post(SIDECAR.drain_path),)
    assert not supervisor.ready
    supervisor.receive(Answered({LISTENER: 0, "server.hot_restart_epoch": 1}), 10.3)
    supervisor.receive(Answered({LISTENER: 0, "server.hot_restart_epoch": 1}), 10.5)
    assert supervisor.drained


def test_stop_ends_both() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Restart(), 10)
    supervisor.receive(Spawned(1, 8), 10)
    assert supervisor.receive(Stop(20), 11) == (Release(BOTH), TERM, Kill(1, signal.SIGTERM))
    assert supervisor.receive(Exited(0, 0), 11.1) == ()
    assert not supervisor.ready
    assert supervisor.receive(Tick(), 20) == (Kill(1, signal.SIGKILL),)
    supervisor.receive(Exited(1, -9), 20.1)
    assert supervisor.phase is Phase.STOPPED
