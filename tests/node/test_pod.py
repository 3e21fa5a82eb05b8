"""A pod's life, told as a dialogue."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.config.kubernetes import (
    Container,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    PodSpec,
    Probe,
)
from pilotfish.node import events as ev
from pilotfish.node import pod as pods
from pilotfish.node.pod import PodState
from pilotfish.node.status import status_word

EXEC = ExecAction(command=("true",))


class Talk:
    """A pod, and the clock."""

    def __init__(self, spec: PodSpec, captured: bool = True) -> None:
        self.pod: PodState = pods.create(spec, captured)
        self.now = 0.0
        self.effects: list[ev.Effect] = []
        self.tell(None)

    def tell(self, *events: ev.Event | None) -> list[ev.Effect]:
        """Returns what is to be done after the events."""
        self.effects = []
        for event in events:
            self.pod, effects = pods.step(self.pod, event, self.now)
            self.effects += effects
        return self.effects

    def wait(self, seconds: float) -> list[ev.Effect]:
        """Time passes; what becomes due is done when it is due."""
        end, done = self.now + seconds, list[ev.Effect]()
        while (at := pods.wake_at(self.pod)) is not None and at <= end:
            self.now = max(at, self.now)
            done += self.tell(None)
        self.now = end
        self.effects = done
        return done

    def start(self, name: str, run: int = 0) -> list[ev.Effect]:
        return self.tell(ev.Started(name, run, 100 + run))

    def exit(self, name: str, code: int, run: int = 0) -> list[ev.Effect]:
        return self.tell(ev.Exited(name, run, code))

    @property
    def word(self) -> str:
        return status_word(self.pod)

    def container(self, name: str) -> Any:
        return next(c for c in self.pod.containers if c.name == name)


def app(name: str = "app", **fields: Any) -> Container:
    return Container(name=name, command=("run",), **fields)


def running(spec: PodSpec, captured: bool = True) -> Talk:
    talk = Talk(spec, captured)
    talk.tell(ev.SandboxReady())
    for container in spec.containers:
        talk.start(container.name)
    return talk


def test_the_app_never_starts_before_its_sandbox() -> None:
    talk = Talk(PodSpec(containers=(app(),)))
    assert talk.effects == [ev.Do("build sandbox")]
    assert talk.word == "ContainerCreating"
    assert talk.wait(3600) == []
    assert talk.tell(ev.SandboxReady()) == [ev.Start("app", 0)]
    talk.start("app")
    assert talk.pod.ready
    assert (talk.word, talk.pod.phase) == ("Running", "Running")


def test_a_failed_sandbox_is_tried_again() -> None:
    talk = Talk(PodSpec(containers=(app(),)))
    assert talk.tell(ev.SandboxFailed("no Envoy")) == []
    assert talk.word == "CreatePodSandboxError"
    assert talk.wait(1) == [ev.Do("build sandbox")]
    talk.tell(ev.SandboxFailed("no Envoy"))
    assert talk.wait(1.9) == []
    assert talk.wait(0.2) == [ev.Do("build sandbox")]


def test_init_containers_then_sidecar_then_app() -> None:
    helper = app("helper", restart_policy="Always", startup_probe=Probe(exec=EXEC))
    talk = Talk(PodSpec(containers=(app(),), init_containers=(app("first"), helper, app("second"))))
    assert talk.word == "Init:0/3"
    assert talk.tell(ev.SandboxReady()) == [ev.Start("first", 0)]
    talk.start("first")
    assert talk.exit("first", 0) == [ev.Start("helper", 0)]
    assert talk.word == "Init:1/3"
    assert talk.start("helper") == [ev.RunProbe("helper", 0, "startup")], "the next waits for `started`"
    assert talk.tell(ev.Probed("helper", 0, "startup", ok=True)) == [ev.Start("second", 0)]
    assert talk.pod.phase == "Pending"
    talk.start("second")
    assert talk.exit("second", 0) == [ev.Start("app", 0)]
    talk.start("app")
    assert talk.word == "Running"
    assert talk.pod.ready


def test_a_failing_init_container_is_restarted_and_keeps_the_app_waiting() -> None:
    talk = Talk(PodSpec(containers=(app(),), init_containers=(app("first"),)))
    talk.tell(ev.SandboxReady())
    talk.start("first")
    assert talk.exit("first", 1) == [ev.Start("first", 1)]
    talk.start("first", 1)
    assert talk.exit("first", 1, run=1) == []
    assert talk.word == "Init:CrashLoopBackOff"
    assert talk.wait(10) == [ev.Start("first", 2)]


def test_a_failing_init_container_of_a_pod_that_never_restarts_ends_it() -> None:
    talk = Talk(PodSpec(containers=(app(),), init_containers=(app("first"),), restart_policy="Never"))
    talk.tell(ev.SandboxReady())
    talk.start("first")
    assert [type(a).__name__ for a in talk.exit("first", 1)] == ["Do"]
    talk.tell(ev.ProxyStopped())
    talk.tell(ev.Removed())
    assert (talk.pod.phase, talk.pod.stage) == ("Failed", "finished")


def test_back_off_as_kubelet_does_it() -> None:
    talk = running(PodSpec(containers=(app(),)))
    waits: list[float] = []
    for run in range(8):
        died = talk.now
        talk.exit("app", 1, run)
        started = talk.effects or talk.wait(400)
        assert started[0] == ev.Start("app", run + 1)
        due = talk.now if not waits else died
        waits.append(talk.container("app").backoff)
        assert due >= died
        talk.start("app", run + 1)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_back_off_is_forgotten_after_ten_minutes_of_running() -> None:
    talk = running(PodSpec(containers=(app(),)))
    talk.exit("app", 1)
    talk.start("app", 1)
    assert talk.exit("app", 1, 1) == []
    assert talk.word == "CrashLoopBackOff"
    talk.wait(10)
    talk.start("app", 2)
    talk.wait(600)
    assert talk.exit("app", 1, 2) == [ev.Start("app", 3)]


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("OnFailure", 0, "Succeeded"), ("Never", 0, "Succeeded"), ("Never", 3, "Failed")],
)
def test_a_pod_that_comes_to_its_end(policy: Any, code: int, phase: str) -> None:
    talk = running(PodSpec(containers=(app(),), restart_policy=policy))
    assert talk.exit("app", code) == [ev.Do("stop proxy", talk.now + 30)]
    assert not talk.pod.ready
    assert talk.tell(ev.ProxyStopped()) == [ev.Do("remove sandbox")]
    talk.tell(ev.Removed())
    assert (talk.pod.stage, talk.pod.phase) == ("finished", phase)
    talk.tell(ev.Deleted(30))
    assert talk.pod.stage == "gone"


def test_a_pod_that_runs_for_too_long_has_failed() -> None:
    helper = Container(name="helper", command=("run",), restart_policy="Always")
    spec = PodSpec(containers=(app(),), init_containers=(helper,), restart_policy="Never", active_deadline_seconds=60)
    talk = Talk(spec)
    talk.tell(ev.SandboxReady())
    talk.start("helper")
    talk.start("app")
    assert talk.wait(59) == []
    assert talk.wait(1) == [ev.Signal("app", 0, "TERM")]
    assert (talk.pod.phase, talk.pod.ready, talk.word) == ("Failed", False, "Error")
    assert talk.exit("app", 143) == [ev.Signal("helper", 0, "TERM")], "as at any other end"
    assert talk.exit("helper", 0) == [ev.Do("stop proxy", 90)]
    talk.tell(ev.ProxyStopped(), ev.Removed())
    assert talk.pod.stage == "finished"


def test_readiness_decides_and_is_probed_eagerly_at_first() -> None:
    probe = Probe(exec=EXEC, period_seconds=10, failure_threshold=2)
    talk = running(PodSpec(containers=(app(readiness_probe=probe),)))
    assert talk.effects == [ev.RunProbe("app", 0, "readiness")]
    assert not talk.pod.ready
    talk.tell(ev.Probed("app", 0, "readiness", ok=False))
    assert talk.wait(0.1) == [ev.RunProbe("app", 0, "readiness")]
    talk.tell(ev.Probed("app", 0, "readiness", ok=True))
    assert talk.pod.ready
    assert talk.wait(9.8) == [], "once it has passed, the period holds"
    assert talk.wait(0.3) == [ev.RunProbe("app", 0, "readiness")]
    talk.tell(ev.Probed("app", 0, "readiness", ok=False))
    assert talk.pod.ready, "one failure of two"
    talk.wait(10)
    talk.tell(ev.Probed("app", 0, "readiness", ok=False))
    assert not talk.pod.ready


def test_eager_probes_do_not_count_as_failures() -> None:
    probe = Probe(exec=EXEC, period_seconds=10, failure_threshold=2)
    talk = running(PodSpec(containers=(app(startup_probe=probe),)))
    for _ in range(12):
        talk.tell(ev.Probed("app", 0, "startup", ok=False, message="not yet"))
        assert ev.Signal("app", 0, "TERM") not in talk.effects or talk.now >= 10
        talk.wait(1)
        if talk.container("app").stopping:
            break
    assert talk.now >= 10


def test_liveness_restarts_after_its_threshold() -> None:
    probe = Probe(exec=EXEC, period_seconds=5, failure_threshold=2)
    talk = running(PodSpec(containers=(app(liveness_probe=probe),)))
    assert talk.tell(ev.Probed("app", 0, "liveness", ok=False, message="no answer")) == []
    talk.wait(5)
    assert talk.tell(ev.Probed("app", 0, "liveness", ok=False, message="no answer")) == [ev.Signal("app", 0, "TERM")]
    assert not talk.pod.ready
    assert talk.wait(30) == [ev.Signal("app", 0, "KILL")]
    assert talk.exit("app", 137) == [ev.Start("app", 1)]
    assert "no answer" in talk.container("app").message or talk.container("app").phase == "starting"


def test_liveness_and_readiness_wait_for_startup() -> None:
    probe = Probe(exec=EXEC)
    talk = running(PodSpec(containers=(app(startup_probe=probe, liveness_probe=probe, readiness_probe=probe),)))
    assert talk.effects == [ev.RunProbe("app", 0, "startup")]
    after = talk.tell(ev.Probed("app", 0, "startup", ok=True))
    assert after == [ev.RunProbe("app", 0, "liveness"), ev.RunProbe("app", 0, "readiness")]


def test_the_way_down_has_one_deadline_and_an_order() -> None:
    pre_stop = Lifecycle(pre_stop=LifecycleHandler(exec=EXEC))
    helper = app("helper", restart_policy="Always")
    talk = Talk(PodSpec(containers=(app(lifecycle=pre_stop), app("other")), init_containers=(helper,)))
    talk.tell(ev.SandboxReady())
    for name in ("helper", "app", "other"):
        talk.start(name)
    assert talk.pod.ready
    assert talk.tell(ev.Deleted(10)) == [ev.Do("withdraw", 10)]
    assert not talk.pod.ready, "no endpoint from now on"
    assert talk.word == "Terminating"
    talk.now = 1
    assert talk.tell(ev.Withdrawn()) == [ev.Do("drain", 10)]
    talk.now = 3
    assert talk.tell(ev.Drained()) == [ev.RunHook("app", 0, "preStop", 10), ev.Signal("other", 0, "TERM")]
    assert talk.tell(ev.Hooked("app", 0, "preStop", ok=True)) == [ev.Signal("app", 0, "TERM")]
    talk.exit("other", 0)
    assert talk.wait(2) == []
    assert talk.exit("app", 0) == [ev.Signal("helper", 0, "TERM")], "sidecars outlive the apps"
    assert talk.exit("helper", 0) == [ev.Do("stop proxy", 10)], "the proxy outlives the sidecars"
    assert talk.tell(ev.ProxyStopped()) == [ev.Do("remove sandbox")]
    talk.tell(ev.Removed())
    assert talk.pod.stage == "gone"


def test_what_does_not_stop_is_killed_at_the_deadline() -> None:
    helper = app("helper", restart_policy="Always")
    talk = Talk(PodSpec(containers=(app(),), init_containers=(helper,)), captured=False)
    talk.tell(ev.SandboxReady())
    talk.start("helper")
    talk.start("app")
    assert talk.tell(ev.Deleted(10)) == [ev.Signal("app", 0, "TERM")]
    assert talk.wait(10) == [ev.Signal("app", 0, "KILL")]
    killed = [ev.Signal("helper", 0, "TERM"), ev.Signal("helper", 0, "KILL")]
    assert talk.exit("app", 137) == killed, "the deadline is everybody's"


def test_a_long_pre_stop_leaves_two_seconds_for_term() -> None:
    talk = running(PodSpec(containers=(app(lifecycle=Lifecycle(pre_stop=LifecycleHandler(exec=EXEC))),)), False)
    assert talk.tell(ev.Deleted(5)) == [ev.RunHook("app", 0, "preStop", 5)]
    assert talk.wait(5) == [ev.Signal("app", 0, "TERM")]
    assert talk.wait(1.9) == []
    assert talk.wait(0.2) == [ev.Signal("app", 0, "KILL")]


def test_nothing_is_drained_when_the_mesh_ends() -> None:
    talk = running(PodSpec(containers=(app(),)))
    assert talk.tell(ev.Deleted(5, drain=False)) == [ev.Signal("app", 0, "TERM")]


def test_deleted_again_in_a_hurry() -> None:
    talk = running(PodSpec(containers=(app(),)))
    talk.tell(ev.Deleted(30))
    assert talk.tell(ev.Deleted(0, drain=False)) == [ev.Signal("app", 0, "TERM"), ev.Signal("app", 0, "KILL")]


def test_an_uncaptured_pod_needs_no_proxy_and_no_drain() -> None:
    talk = running(PodSpec(containers=(app(),)), captured=False)
    assert talk.pod.ready
    assert talk.tell(ev.Deleted(5)) == [ev.Signal("app", 0, "TERM")]


def test_a_proxy_that_fails_makes_the_pod_unready() -> None:
    talk = running(PodSpec(containers=(app(),)))
    talk.tell(ev.ProxyReady(False))
    assert not talk.pod.ready
    talk.tell(ev.ProxyReady(True))
    assert talk.pod.ready


def test_missing_configuration_holds_the_container_until_it_comes() -> None:
    talk = Talk(PodSpec(containers=(app(),)))
    talk.tell(ev.SandboxReady())
    talk.tell(ev.NotStarted("app", 0, "CreateContainerConfigError", 'ConfigMap "x" not found', blocked=True))
    assert talk.word == "CreateContainerConfigError"
    assert talk.wait(600) == []
    assert talk.tell(ev.ConfigChanged()) == [ev.Start("app", 0)]


def test_a_program_that_is_missing_is_a_crash() -> None:
    talk = Talk(PodSpec(containers=(app(),)))
    talk.tell(ev.SandboxReady())
    assert talk.tell(ev.NotStarted("app", 0, "StartError", "no such file")) == [ev.Start("app", 1)]
    talk.tell(ev.NotStarted("app", 1, "StartError", "no such file"))
    assert talk.word == "CrashLoopBackOff"
    assert talk.container("app").message == "no such file"


def test_a_failed_post_start_kills_the_container() -> None:
    hooks = Lifecycle(post_start=LifecycleHandler(exec=EXEC))
    talk = running(PodSpec(containers=(app(lifecycle=hooks),)))
    assert not talk.pod.ready
    assert talk.effects == [ev.RunHook("app", 0, "postStart")]
    assert talk.tell(ev.Hooked("app", 0, "postStart", ok=False, message="no")) == [ev.Signal("app", 0, "KILL")]


def test_news_of_an_earlier_run_changes_nothing() -> None:
    talk = running(PodSpec(containers=(app(readiness_probe=Probe(exec=EXEC)),)))
    talk.exit("app", 1)
    talk.start("app", 1)
    talk.tell(ev.Probed("app", 0, "readiness", ok=True))
    assert not talk.pod.ready
    talk.tell(ev.Exited("app", 0, 1))
    assert talk.container("app").phase == "running"


@settings(max_examples=300)
@given(st.data())
def test_whatever_happens_a_deleted_pod_comes_to_its_end(data: st.DataObject) -> None:
    """Every effect is answered, in some order, at some time; then nothing is left, and no app outlives its proxy."""
    hook = Lifecycle(pre_stop=LifecycleHandler(exec=EXEC))
    spec = PodSpec(
        containers=(app(lifecycle=hook), app("other", readiness_probe=Probe(exec=EXEC))),
        init_containers=(app("first"), app("helper", restart_policy="Always")),
        termination_grace_period_seconds=5,
    )
    talk = Talk(spec)
    pending: list[ev.Event] = []
    alive: set[str] = set()
    deleted = False

    def take(effects: list[ev.Effect]) -> None:
        for effect in effects:
            match effect:
                case ev.Do("stop proxy"):
                    assert not alive, "a container outlives the proxy"
                    pending.append(ev.ProxyStopped())
                case ev.Do(what):
                    answers: dict[str, ev.Event] = {
                        "build sandbox": ev.SandboxReady(),
                        "withdraw": ev.Withdrawn(),
                        "drain": ev.Drained(),
                    }
                    pending.append(answers.get(what, ev.Removed()))
                case ev.Start(name, run):
                    alive.add(name)
                    pending.append(ev.Started(name, run, 1))
                case ev.RunProbe(name, run, kind):
                    pending.append(ev.Probed(name, run, kind, data.draw(st.booleans())))
                case ev.RunHook(name, run, kind):
                    pending.append(ev.Hooked(name, run, kind, data.draw(st.booleans())))
                case ev.Signal(name, run):
                    pending.append(ev.Exited(name, run, 143))

    take(talk.effects)
    for _ in range(60):
        choice = data.draw(st.integers(0, 10))
        if choice == 0 and not deleted:
            deleted = True
            take(talk.tell(ev.Deleted(5)))
        elif choice == 1 or not pending:
            take(talk.wait(data.draw(st.floats(0, 20))))
        else:
            event = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            if isinstance(event, ev.Exited):
                alive.discard(event.container)
            take(talk.tell(event))
    take(talk.tell(ev.Deleted(5)))
    for _ in range(200):
        if talk.pod.stage == "gone":
            break
        if pending:
            event = pending.pop(0)
            if isinstance(event, ev.Exited):
                alive.discard(event.container)
            take(talk.tell(event))
        else:
            take(talk.wait(10))
    assert talk.pod.stage == "gone"
    assert not talk.pod.ready


def test_probes_of_a_spec_are_what_it_says() -> None:
    spec = PodSpec(containers=(app(liveness_probe=Probe(exec=EXEC, initial_delay_seconds=7)),))
    talk = running(msgspec.structs.replace(spec))
    assert talk.effects == []
    assert talk.wait(7) == [ev.RunProbe("app", 0, "liveness")]


def test_a_gateway_is_ready_by_its_proxy_alone_and_does_not_end_by_itself() -> None:
    talk = Talk(PodSpec(containers=(Container(name="istio-proxy", image="auto"),)))
    assert (talk.pod.phase, talk.word) == ("Pending", "ContainerCreating")
    talk.tell(ev.SandboxReady())
    assert (talk.pod.phase, talk.word, talk.pod.ready) == ("Running", "Running", True)
    talk.tell(ev.ProxyReady(False))
    talk.wait(60)
    assert (talk.pod.phase, talk.pod.ready) == ("Running", False)
    talk.tell(ev.ProxyReady(True))
    assert talk.tell(ev.Deleted(30)) == [ev.Do("withdraw", talk.now + 30)]


def test_an_image_that_is_not_there_is_looked_for_again_and_that_is_no_restart() -> None:
    talk = Talk(PodSpec(containers=(app(),)), captured=False)
    assert talk.tell(ev.SandboxReady()) == [ev.Start("app", 0)]
    assert talk.tell(ev.NoImage("app", 0, "ErrImagePull", "no such host")) == []
    assert (talk.word, talk.container("app").message) == ("ErrImagePull", "no such host")
    assert talk.wait(4) == []
    assert talk.wait(1) == [ev.Start("app", 0)]
    talk.tell(ev.NoImage("app", 0, "ImagePullBackOff", "no such host"))
    assert talk.word == "ImagePullBackOff"
    assert talk.tell(ev.ConfigChanged()) == [ev.Start("app", 0)], "a secret may have come"
    talk.start("app")
    assert (talk.word, talk.container("app").run) == ("Running", 0)


def test_a_pod_that_waits_for_an_image_ends_at_once() -> None:
    talk = Talk(PodSpec(containers=(app(),)), captured=False)
    talk.tell(ev.SandboxReady(), ev.NoImage("app", 0, "ErrImagePull", "no such host"))
    assert talk.tell(ev.Deleted(30)) == [ev.Do("stop proxy", 30.0)]


def test_a_container_that_took_too_much_memory_says_so() -> None:
    talk = Talk(PodSpec(containers=(app(),), restart_policy="Never"), captured=False)
    talk.tell(ev.SandboxReady())
    talk.start("app")
    talk.tell(ev.Exited("app", 0, 137, out_of_memory=True))
    assert talk.container("app").reason == "OOMKilled"
    talk = Talk(PodSpec(containers=(app(),), restart_policy="Never"), captured=False)
    talk.tell(ev.SandboxReady())
    talk.start("app")
    talk.tell(ev.Exited("app", 0, 0, out_of_memory=True))
    assert talk.container("app").reason == "Completed", "it outlived a child that was killed"
