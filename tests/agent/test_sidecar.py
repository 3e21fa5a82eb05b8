"""An Envoy's life, told as dialogues: what happens, when, and what the machine asks for."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.agent.draining import DRAIN_FILTER, DRAIN_PATH
from pilotfish.agent.events import (
    Answered,
    Ask,
    Drain,
    Event,
    Exited,
    Kill,
    Post,
    Spawn,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.readiness import READINESS_FILTER
from pilotfish.agent.sidecar import Phase, Sidecar, how_it_ended

READY = {
    "cluster_manager.cds.update_success": 1,
    "listener_manager.lds.update_success": 1,
    "listener_manager.workers_started": 1,
    "server.state": 0,
}
LISTENER = "listener.0.0.0.0_15006.downstream_cx_active"
TERM, KILL = Kill(signal.SIGTERM), Kill(signal.SIGKILL)


def ready_sidecar() -> Sidecar:
    sidecar = Sidecar()
    sidecar.receive(Start(), 0)
    sidecar.receive(Spawned(7), 0.02)
    sidecar.receive(Answered(READY), 0.1)
    assert sidecar.ready
    return sidecar


def test_from_start_to_ready() -> None:
    sidecar = Sidecar()
    assert sidecar.timer() is None
    assert sidecar.receive(Start(), 0) == (Spawn(0),)
    assert sidecar.timer() is None, "there is no process to look at yet"
    assert sidecar.receive(Spawned(7), 0.02) == ()
    assert sidecar.timer() == pytest.approx(0.045)
    assert sidecar.receive(Tick(), 0.05) == (Ask(READINESS_FILTER),)
    assert sidecar.timer() is None, "one look at a time"
    assert sidecar.receive(Answered({}), 0.06) == ()
    assert (sidecar.ready, sidecar.message) == (False, "discovery has not sent clusters yet")
    assert sidecar.receive(Tick(), 0.09) == (Ask(READINESS_FILTER),)
    sidecar.receive(Answered(READY), 0.1)
    assert (sidecar.ready, sidecar.message, sidecar.pid) == (True, "", 7)
    assert sidecar.timer() == pytest.approx(5.1), "a ready one is looked at rarely"


def test_looks_become_rarer_while_discovery_is_away() -> None:
    sidecar = Sidecar()
    sidecar.receive(Start(), 0)
    sidecar.receive(Spawned(7), 0)
    for at, pause in ((0.1, 0.025), (1, 0.08), (5, 0.4), (600, 1.0)):
        sidecar.receive(Tick(), at)
        sidecar.receive(Answered({}), at)
        assert sidecar.timer() == pytest.approx(at + pause)


def test_the_first_restart_is_immediate_and_later_ones_back_off() -> None:
    sidecar = ready_sidecar()
    assert sidecar.receive(Exited(-9), 1) == (Spawn(1),)
    now, delays = 1.0, []
    for epoch in range(2, 10):
        sidecar.receive(Spawned(7), now)
        assert sidecar.receive(Exited(1), now) == ()
        assert sidecar.crash_looping
        timer = sidecar.timer()
        assert timer is not None
        delays.append(round(timer - now, 3))
        assert sidecar.receive(Tick(), timer) == (Spawn(epoch),)
        now = timer
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert sidecar.restarts == 9


def test_a_crash_loop_says_how_it_ends() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Exited(-6), 1)
    sidecar.receive(Exited(-6), 2)
    assert sidecar.message == "Envoy ended by SIGABRT (2 times in a row)"
    assert sidecar.exit_code == -6


def test_what_can_not_be_started_backs_off_too() -> None:
    sidecar = Sidecar()
    sidecar.receive(Start(), 0)
    assert sidecar.receive(Exited(126, "no such program"), 0) == (Spawn(1),)
    assert sidecar.receive(Exited(126, "no such program"), 0) == ()
    assert sidecar.message == "no such program (2 times in a row)"


def test_a_stable_minute_forgives_earlier_failures() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Exited(1), 1)
    sidecar.receive(Spawned(8), 1)
    assert sidecar.receive(Exited(1), 62) == (Spawn(2),)


def test_a_restarted_envoy_has_to_become_ready_again() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Exited(-9), 1)
    sidecar.receive(Spawned(8), 1.02)
    assert not sidecar.ready
    sidecar.receive(Answered(READY), 1.1)
    assert sidecar.ready


def test_one_unanswered_look_is_forgiven_and_three_are_not() -> None:
    sidecar = ready_sidecar()
    for at, ready in ((5, True), (10, True), (15, False)):
        sidecar.receive(Answered(None), at)
        assert sidecar.ready is ready
    assert sidecar.message == "Envoy does not answer on its admin port"
    sidecar.receive(Answered(READY), 20)
    assert sidecar.ready


def test_draining_ends_when_requests_do() -> None:
    sidecar = ready_sidecar()
    assert sidecar.receive(Drain(15), 10) == (Post(DRAIN_PATH),)
    assert not sidecar.ready
    assert sidecar.receive(Tick(), 10) == (Ask(DRAIN_FILTER),)
    sidecar.receive(Answered({LISTENER: 1}), 10.01)
    assert sidecar.timer() == pytest.approx(10.06)
    sidecar.receive(Answered({LISTENER: 0}), 10.06)
    assert not sidecar.drained, "a peer that learns late may still send something"
    sidecar.receive(Answered({LISTENER: 0}), 10.17)
    assert sidecar.drained
    assert sidecar.pid == 7, "outbound traffic still works"


def test_draining_ends_at_its_deadline() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Drain(11), 10)
    sidecar.receive(Tick(), 10)
    assert sidecar.timer() == 11
    sidecar.receive(Tick(), 11)
    assert sidecar.drained


def test_a_second_drain_changes_nothing() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Drain(11), 10)
    assert sidecar.receive(Drain(99), 10.5) == ()
    assert sidecar.timer() == pytest.approx(10)


def test_nothing_runs_so_nothing_drains() -> None:
    sidecar = Sidecar()
    assert sidecar.receive(Drain(11), 10) == ()
    assert sidecar.drained


def test_one_that_is_not_ready_has_nothing_to_drain_and_gets_nothing() -> None:
    sidecar = Sidecar()
    sidecar.receive(Start(), 0)
    sidecar.receive(Spawned(7), 0)
    assert sidecar.receive(Drain(10), 0.1) == ()
    assert sidecar.drained
    assert sidecar.receive(Answered(READY), 0.2) == (Post(DRAIN_PATH),)
    assert not sidecar.ready


def test_an_envoy_that_ends_while_draining_comes_back_for_outbound_traffic_alone() -> None:
    sidecar = ready_sidecar()
    sidecar.receive(Drain(11), 10)
    assert sidecar.receive(Exited(-9), 10.1) == (Spawn(1),)
    assert sidecar.drained
    sidecar.receive(Spawned(8), 10.2)
    assert sidecar.receive(Answered(READY), 10.3) == (Post(DRAIN_PATH),)
    assert not sidecar.ready


def test_stop_asks_first_and_forces_at_the_deadline() -> None:
    sidecar = ready_sidecar()
    assert sidecar.receive(Stop(3), 1) == (TERM,)
    assert sidecar.receive(Stop(2), 1) == (), "asked once; but sooner"
    assert sidecar.timer() == 2
    assert sidecar.receive(Tick(), 2) == (KILL,)
    assert sidecar.receive(Exited(-9), 2.1) == ()
    assert (sidecar.phase, sidecar.timer()) == (Phase.STOPPED, None)


def test_stop_while_the_process_is_being_made() -> None:
    sidecar = Sidecar()
    sidecar.receive(Start(), 0)
    assert sidecar.receive(Stop(3), 0.01) == ()
    assert sidecar.receive(Spawned(7), 0.02) == (TERM,)
    late = Sidecar()
    late.receive(Start(), 0)
    late.receive(Stop(0.01), 0.01)
    late.receive(Tick(), 0.01)
    assert late.receive(Spawned(7), 0.02) == (KILL,)


def test_stop_in_backoff_and_before_the_start_needs_no_signal() -> None:
    for sidecar in (Sidecar(), ready_sidecar()):
        if sidecar.pid:
            sidecar.receive(Exited(1), 1)
            sidecar.receive(Exited(1), 1)
        assert sidecar.receive(Stop(3), 1.1) == ()
        assert sidecar.phase is Phase.STOPPED
        assert sidecar.receive(Start(), 2) == ()


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
    """No event is an error; a stopped Envoy is never started again; ready means that a process runs."""
    sidecar = Sidecar()
    now = 0.0
    stopped = False
    for wait, event in history:
        now += wait
        effects = sidecar.receive(event, now)
        stopped = stopped or isinstance(event, Stop)
        assert not (stopped and any(isinstance(effect, Spawn) for effect in effects))
        assert not sidecar.ready or (sidecar.pid is not None and not sidecar.message)
