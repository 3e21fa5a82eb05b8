"""An Envoy's life, told as dialogues: what happens, when, and what the machine asks for."""

import math
import signal

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
    Spawn,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.intake import GATEWAY, SIDECAR
from pilotfish.agent.readiness import readiness_filter
from pilotfish.agent.supervisor import HOLD_MOST, Phase, Supervisor, how_it_ended

READY = {
    "cluster_manager.cds.update_success": 1,
    "listener_manager.lds.update_success": 1,
    "listener_manager.workers_started": 1,
    "server.state": 0,
}
LISTENER = "listener.0.0.0.0_15006.downstream_cx_active"
TERM, KILL = Kill(signal.SIGTERM), Kill(signal.SIGKILL)
OUTBOUND, INBOUND, BOTH = (15001,), (15006,), (15001, 15006)


def ready_supervisor() -> Supervisor:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(7), 0.02)
    assert supervisor.receive(Answered(READY), 0.1) == (Hold(BOTH),)
    assert supervisor.ready
    return supervisor


def test_from_start_to_ready() -> None:
    supervisor = Supervisor()
    assert supervisor.timer() is None
    assert supervisor.receive(Start(), 0) == (Spawn(0),)
    assert supervisor.timer() is None, "there is no process to look at yet"
    assert supervisor.receive(Spawned(7), 0.02) == ()
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
    supervisor.receive(Spawned(7), 0)
    for at, pause in ((0.1, 0.025), (1, 0.08), (5, 0.4), (600, 1.0)):
        supervisor.receive(Tick(), at)
        supervisor.receive(Answered({}), at)
        assert supervisor.timer() == pytest.approx(at + pause)


def test_the_first_restart_is_immediate_and_later_ones_back_off() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Exited(-9), 1) == (Spawn(1),)
    now, delays = 1.0, []
    for epoch in range(2, 10):
        supervisor.receive(Spawned(7), now)
        assert supervisor.receive(Exited(1), now) == ()
        assert supervisor.crash_looping
        timer = supervisor.timer()
        assert timer is not None
        delays.append(round(timer - now, 3))
        assert supervisor.receive(Tick(), timer) == (Spawn(epoch),)
        now = timer
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert supervisor.restarts == 9


def test_a_crash_loop_says_how_it_ends() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    supervisor.receive(Exited(-6), 1)
    supervisor.receive(Exited(-6), 2)
    assert supervisor.message == "Envoy ended by SIGABRT (2 times in a row)"
    assert supervisor.exit_code == -6


def test_what_can_not_be_started_backs_off_too() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Exited(126, "no such program"), 0) == (Spawn(1),)
    assert supervisor.receive(Exited(126, "no such program"), 0) == ()
    assert supervisor.message == "no such program (2 times in a row)"


def test_a_stable_minute_forgives_earlier_failures() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(1), 1)
    supervisor.receive(Spawned(8), 1)
    assert supervisor.receive(Exited(1), 62) == (Spawn(2),)


def test_one_that_served_is_started_again_at_once_a_few_times() -> None:
    supervisor = ready_supervisor()
    for epoch in range(1, 6):
        assert supervisor.receive(Exited(-9), epoch) == (Spawn(epoch),)
        supervisor.receive(Spawned(7), epoch)
        supervisor.receive(Answered(READY), epoch + 0.1)
    assert supervisor.receive(Exited(-9), 6) == ()
    assert supervisor.crash_looping


def test_who_connects_while_a_restarted_envoy_starts_waits_for_it() -> None:
    """So the pod stays ready: it would lose its place among the endpoints for less than it takes to tell."""
    supervisor = ready_supervisor()
    supervisor.receive(Exited(-9), 1)
    supervisor.receive(Spawned(8), 1.02)
    supervisor.receive(Answered({}), 1.05)
    assert supervisor.ready
    assert supervisor.receive(Answered(READY), 1.1) == (Hold(BOTH),)
    assert supervisor.ready


def test_nobody_waits_for_long() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(-9), 1)
    supervisor.receive(Spawned(8), 1.02)
    supervisor.receive(Tick(), 1.05)
    assert supervisor.timer() == 2
    assert supervisor.receive(Tick(), 2) == (Release(BOTH),)
    assert (supervisor.ready, supervisor.message) == (False, "Envoy is starting")
    assert supervisor.receive(Answered(READY), 2.5) == (Hold(BOTH),)


def test_one_that_backs_off_is_not_ready_though_its_ports_are_held_for_the_moment() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Exited(-9), 1)
    assert supervisor.receive(Exited(1), 1.1) == ()
    assert not supervisor.ready
    assert supervisor.receive(Tick(), 1.3) == (Spawn(2),)
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
    assert supervisor.receive(Tick(), 10) == (Ask(SIDECAR.drain_filter),)
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
    supervisor.receive(Spawned(7), 0)
    assert supervisor.receive(Drain(10), 0.1) == ()
    assert supervisor.drained
    assert supervisor.receive(Answered(READY), 0.2) == (Hold(OUTBOUND), Post(SIDECAR.drain_path))
    assert not supervisor.ready


def test_an_envoy_that_ends_while_draining_comes_back_for_outbound_traffic_alone() -> None:
    supervisor = ready_supervisor()
    supervisor.receive(Drain(11), 10)
    assert supervisor.receive(Exited(-9), 10.1) == (Spawn(1),)
    assert supervisor.drained
    supervisor.receive(Spawned(8), 10.2)
    assert supervisor.receive(Answered(READY), 10.3) == (Hold(OUTBOUND), Post(SIDECAR.drain_path))
    assert not supervisor.ready


def test_stop_asks_first_and_forces_at_the_deadline() -> None:
    supervisor = ready_supervisor()
    assert supervisor.receive(Stop(3), 1) == (Release(BOTH), TERM)
    assert supervisor.receive(Stop(2), 1) == (), "asked once; but sooner"
    assert supervisor.timer() == 2
    assert supervisor.receive(Tick(), 2) == (KILL,)
    assert supervisor.receive(Exited(-9), 2.1) == ()
    assert (supervisor.phase, supervisor.timer()) == (Phase.STOPPED, None)


def test_stop_while_the_process_is_being_made() -> None:
    supervisor = Supervisor()
    supervisor.receive(Start(), 0)
    assert supervisor.receive(Stop(3), 0.01) == ()
    assert supervisor.receive(Spawned(7), 0.02) == (TERM,)
    late = Supervisor()
    late.receive(Start(), 0)
    late.receive(Stop(0.01), 0.01)
    late.receive(Tick(), 0.01)
    assert late.receive(Spawned(7), 0.02) == (KILL,)


def test_stop_in_backoff_and_before_the_start_needs_no_signal() -> None:
    for supervisor in (Supervisor(), ready_supervisor()):
        if supervisor.pid:
            supervisor.receive(Exited(1), 1)
            supervisor.receive(Exited(1), 1)
        assert all(isinstance(effect, Release) for effect in supervisor.receive(Stop(3), 1.1))
        assert supervisor.phase is Phase.STOPPED
        assert supervisor.receive(Start(), 2) == ()


def test_how_it_ended() -> None:
    assert how_it_ended(1) == "with exit code 1"
    assert how_it_ended(-11) == "by SIGSEGV"
    assert how_it_ended(-99) == "by signal 99"


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(Start()),
    st.builds(Spawned, st.just(7)),
    st.builds(Exited, st.sampled_from([0, 1, -9])),
    st.builds(Answered, st.sampled_from([None, {}, READY, {LISTENER: 0}, {LISTENER: 2}])),
    st.builds(Drain, st.just(50.0)),
    st.builds(Stop, st.just(60.0)),
    st.just(Tick()),
)


@given(st.lists(st.tuples(st.floats(0, 20), EVENTS), max_size=40))
def test_any_history_keeps_the_promises(history: list[tuple[float, Event]]) -> None:
    """No event is an error; a stopped Envoy is never started again; ready means that it serves or that its ports are
    held; who is held is let go: when the pod ends, and a second after Envoy did.
    """
    supervisor = Supervisor()
    now = 0.0
    stopped = False
    held: set[int] = set()
    away_since: float | None = None
    for wait, event in history:
        now += wait
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
        assert not (stopped and any(isinstance(effect, Spawn) for effect in effects))
        assert not supervisor.ready or (supervisor.phase is Phase.RUNNING and not supervisor.message) or held
        assert not (held and stopped)
        assert 15006 not in held or supervisor.draining is None
        if isinstance(event, Exited) and away_since is None:
            away_since = now
        if supervisor.phase is Phase.RUNNING:
            away_since = None
        assert not held or away_since is None or now - away_since < HOLD_MOST


def test_a_gateway_holds_the_ports_of_its_listeners_as_they_come_and_go() -> None:
    supervisor = Supervisor(GATEWAY)
    supervisor.receive(Start(), 0)
    supervisor.receive(Spawned(7), 0.02)
    http = {**READY, "listener.0.0.0.0_80.downstream_cx_active": 0}
    both = {**http, "listener.0.0.0.0_443.downstream_cx_active": 0}
    assert supervisor.receive(Answered(READY), 0.1) == (), "no Gateway selects it"
    assert supervisor.ready
    assert supervisor.receive(Answered(http), 5) == (Hold((80,)),)
    assert supervisor.receive(Answered(both), 10) == (Hold((443,)),)
    assert supervisor.receive(Answered(http), 15) == (Release((443,)),)
    assert supervisor.receive(Drain(30), 20) == (Release((80,)), Post("/drain_listeners?graceful"))
