"""Which pods a Deployment wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.config.kubernetes import (
    Container,
    DeploymentSpec,
    DeploymentStrategy,
    HTTPGetAction,
    LabelSelector,
    Metadata,
    PodSpec,
    PodTemplate,
    Probe,
    RollingUpdate,
)
from pilotfish.config.values import IntOrString
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.node.controllers import deployment as deployments
from pilotfish.node.controllers.deployment import DeploymentState
from pilotfish.node.controllers.values import (
    Create,
    Now,
    PodFacts,
    Remove,
    next_available,
    pod_name,
    template_hash,
)

REF = DEPLOYMENT.ref("vm", "calculator")


def template(version: str) -> PodTemplate:
    probe = Probe(http_get=HTTPGetAction(port=IntOrString("http")))
    container = Container(name="c", readiness_probe=probe)
    return PodTemplate(metadata=Metadata(labels={"version": version}), spec=PodSpec(containers=(container,)))


def spec(version: str = "v1", replicas: int = 3, surge: int | str = "25%", gone: int | str = "25%") -> DeploymentSpec:
    rolling = RollingUpdate(max_surge=IntOrString(surge), max_unavailable=IntOrString(gone))
    return DeploymentSpec(
        selector=LabelSelector(),
        template=template(version),
        replicas=replicas,
        strategy=DeploymentStrategy(rolling_update=rolling),
    )


@dataclass
class World:
    """Pods as a node would keep them; those that are removed are gone at once."""

    spec: DeploymentSpec
    state: DeploymentState = field(default_factory=lambda: DeploymentState(REF))
    pods: list[PodFacts] = field(default_factory=list)
    leaving: int = 0
    now: float = 0.0
    made: int = 0
    removed: list[PodFacts] = field(default_factory=list)

    @property
    def clock(self) -> Now:
        return Now(self.now, self.now, UTC)

    def step(self) -> bool:
        """True if anything was done."""
        self.now += 1
        self.state, actions = deployments.plan(self.spec, {}, self.state, self.pods, self.clock, self.leaving)
        for action in actions:
            if isinstance(action, Create):
                self.made += 1
                ref = POD.ref("vm", f"pod-{self.made}")
                self.pods.append(PodFacts(ref, action.hash, None, self.now + self.made / 1000))
            else:
                self._remove(action)
        return bool(actions)

    def _remove(self, action: Remove) -> None:
        self.removed += [p for p in self.pods if p.ref == action.pod]
        self.pods = [p for p in self.pods if p.ref != action.pod]

    def make_ready(self, index: int, ready: bool = True) -> None:
        self.pods[index] = replace(self.pods[index], ready_since=self.now if ready else None)

    def all_ready(self) -> None:
        for index, pod in enumerate(self.pods):
            if pod.ready_since is None:
                self.make_ready(index)

    def settle(self) -> None:
        for _ in range(100):
            self.all_ready()
            if not self.step():
                return
        raise AssertionError("it never settles")

    @property
    def available(self) -> int:
        return sum(p.ready_since is not None for p in self.pods)

    def message(self) -> str:
        counts = deployments.count(self.spec, self.pods, self.clock)
        return deployments.rollout_message("calculator", self.spec, self.state, counts, self.clock)


@settings(max_examples=200)
@given(
    replicas=st.integers(1, 8),
    surge=st.integers(0, 4) | st.sampled_from(["25%", "50%", "100%"]),
    gone=st.integers(0, 4) | st.sampled_from(["0%", "25%", "50%"]),
    choices=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40),
)
def test_a_rolling_update_keeps_its_bounds(
    replicas: int, surge: int | str, gone: int | str, choices: list[tuple[int, bool]]
) -> None:
    world = World(spec("v1", replicas, surge, gone))
    world.settle()
    world.spec = spec("v2", replicas, surge, gone)
    max_surge, max_gone = deployments.bounds(world.spec)
    for index, ready in choices:
        before = world.available
        world.step()
        assert len(world.pods) <= replicas + max_surge
        # A pod that fails by itself is nobody's fault; but no step may take away more than may be missing.
        assert world.available >= min(before, replicas - max_gone)
        if ready and world.pods:
            world.make_ready(index % len(world.pods))
    world.settle()
    assert len(world.pods) == replicas
    assert {p.hash for p in world.pods} == {template_hash(template("v2"))}


@pytest.mark.parametrize(
    ("surge", "gone", "replicas", "expected"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 1, (1, 0)),
        ("25%", "25%", 3, (1, 0)),
        (0, 0, 3, (0, 1)),
        (2, "100%", 3, (2, 3)),
    ],
)
def test_percentages_round_as_in_kubernetes(
    surge: int | str, gone: int | str, replicas: int, expected: tuple[int, int]
) -> None:
    assert deployments.bounds(spec("v1", replicas, surge, gone)) == expected


def test_the_last_old_pod_stays_until_the_new_one_is_ready() -> None:
    world = World(spec("v1", 1))
    world.settle()
    old = world.pods[0].ref
    world.spec = spec("v2", 1)
    world.step()
    world.step()
    assert world.pods[0].ref == old
    assert len(world.pods) == 2
    world.make_ready(1)
    world.step()
    assert [p.ref for p in world.removed] == [old]


def test_unready_pods_go_first_then_the_youngest() -> None:
    world = World(spec("v1", 4))
    world.settle()
    world.make_ready(1, ready=False)
    world.spec = msgspec.structs.replace(world.spec, replicas=2)
    unready, youngest = world.pods[1].ref, world.pods[3].ref
    world.step()
    assert [p.ref for p in world.removed] == [unready, youngest]


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    world = World(msgspec.structs.replace(spec("v1", 2), strategy=DeploymentStrategy(type="Recreate")))
    world.settle()
    world.spec = msgspec.structs.replace(world.spec, template=template("v2"))
    world.leaving = 2
    world.step()
    assert world.pods == []
    assert not world.step(), "the old ones still leave"
    world.leaving = 0
    world.step()
    assert len(world.pods) == 2


def test_a_paused_deployment_is_scaled_but_not_rolled() -> None:
    world = World(spec("v1", 2))
    world.settle()
    world.spec = msgspec.structs.replace(spec("v2", 3), paused=True)
    world.settle()
    assert len(world.pods) == 3
    assert {p.hash for p in world.pods} == {template_hash(template("v1"))}


def test_min_ready_seconds_holds_the_rollout_back() -> None:
    world = World(msgspec.structs.replace(spec("v1", 1), min_ready_seconds=30))
    world.step()
    world.make_ready(0)
    assert next_available(30, world.pods, world.clock) == world.now + 30
    assert deployments.count(world.spec, world.pods, world.clock).available == 0
    world.now += 30
    assert deployments.count(world.spec, world.pods, world.clock).available == 1


def test_going_back_takes_up_the_old_replica_set() -> None:
    world = World(spec("v1", 1))
    world.settle()
    first = world.pods[0].hash
    for version in ("v2", "v1"):
        world.spec = spec(version, 1)
        world.settle()
    assert world.pods[0].hash == first
    assert [rs.revision for rs in world.state.replica_sets] == [2, 3]


def test_old_replica_sets_are_forgotten() -> None:
    world = World(msgspec.structs.replace(spec("v0", 1), revision_history_limit=2))
    for version in range(6):
        world.spec = msgspec.structs.replace(world.spec, template=template(f"v{version}"))
        world.settle()
    assert len(world.state.replica_sets) == 3


def test_rollout_messages_are_kubectls() -> None:
    world = World(spec("v1", 2))
    waiting = 'Waiting for deployment "calculator" rollout to finish: '
    assert world.message() == waiting + "0 out of 2 new replicas have been updated..."
    world.step()
    assert world.message() == waiting + "0 of 2 updated replicas are available..."
    world.settle()
    assert world.message() == 'deployment "calculator" successfully rolled out'
    world.spec = spec("v2", 2, surge=2, gone=0)
    world.step()
    assert world.message() == waiting + "2 old replicas are pending termination..."
    world.now += 601
    assert world.message() == 'error: deployment "calculator" exceeded its progress deadline'


def test_names_look_like_kubernetes_own() -> None:
    hashed = template_hash(template("v1"))
    names = {pod_name(f"calculator-v1-{hashed}", n) for n in range(200)}
    assert len(names) == 200
    assert all(name.startswith(f"calculator-v1-{hashed}-") and len(name.rpartition("-")[2]) == 5 for name in names)
