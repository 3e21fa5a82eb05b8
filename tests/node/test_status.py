"""What kubectl would show of a container."""

from __future__ import annotations

from pilotfish.config.kubernetes import Container, PodSpec, Probe
from pilotfish.node import container as containers
from pilotfish.node import pod as pods
from pilotfish.node.events import Probed, Started
from pilotfish.node.status import container_state


def test_a_container_that_runs_says_which_probe_keeps_it_from_being_ready() -> None:
    spec = Container(name="app", readiness_probe=Probe(failure_threshold=2, period_seconds=1))
    pod = pods.create(PodSpec(containers=(spec,)), captured=False)
    c, _ = containers.advance(pod.containers[0], True, 30, 0)
    c = containers.handle(c, Started("app", c.run, 7), 0)
    said = []
    for at, ok in ((1, False), (3, False), (5, True)):
        c = containers.handle(c, Probed("app", c.run, "readiness", ok, "" if ok else "connection refused"), at)
        said.append(container_state(c, pod))
    assert said == [
        ("running", "", ""),
        ("running", "", "failed readiness probe: connection refused"),
        ("running", "", ""),
    ]
