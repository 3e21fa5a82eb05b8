"""What is told of what happened to pods."""

from __future__ import annotations

from dataclasses import replace

from pilotfish.config import load
from pilotfish.config.kubernetes import Pod
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.node import events as ev
from pilotfish.node import history, pod
from pilotfish.node.history import History
from pilotfish.node.identity import PodIdentity

TEXT = """
apiVersion: v1
kind: Pod
metadata: {name: web-1}
spec: {containers: [{name: app, command: [run]}]}
"""


def identity() -> PodIdentity:
    resource = load(TEXT, "-").manifests[0].resource
    assert isinstance(resource, Pod)
    ref, owner = POD.ref("default", "web-1"), DEPLOYMENT.ref("default", "web")
    return PodIdentity(ref, "u", {}, {}, resource.spec, ("10.0.0.1",), "10.0.0.9", "here", "/d", "/f", owner=owner)


class Told:
    def __init__(self) -> None:
        self.history = History()
        self.identity = identity()
        self.state = pod.create(self.identity.spec, captured=False)
        self.now = 100.0

    def hear(self, *events: ev.Event | None) -> None:
        for event in events:
            self.now += 1
            self.state, _ = pod.step(self.state, event, self.now)
            self.history.note_pod(self.identity, event, self.state, self.now)

    @property
    def said(self) -> list[tuple[str, str, int]]:
        return [(each.reason, each.message, each.count) for each in self.history.happenings]


def test_a_life_of_a_pod() -> None:
    told = Told()
    told.hear(None, ev.SandboxReady(), ev.Started("app", 0, 77), ev.Exited("app", 0, 3))
    assert told.said == [
        ("SuccessfulCreate", "Created pod: web-1", 1),
        ("Scheduled", "Successfully assigned default/web-1 to here", 1),
        ("Started", "Started container app", 1),
        ("Failed", "container app ended with exit code 3", 1),
    ]
    told.hear(ev.Started("app", 1, 78), ev.Exited("app", 1, 3))
    assert told.said[-1] == ("BackOff", "Back-off restarting container app, which ended with exit code 3", 1)
    told.hear(ev.Deleted(0))
    assert [each[:2] for each in told.said[-2:]] == [
        ("SuccessfulDelete", "Deleted pod: web-1"), ("Killing", "Stopping app")
    ]  # fmt: skip


def test_alike_ones_are_counted_and_come_last() -> None:
    told = Told()
    told.hear(None, ev.SandboxFailed("no room"), ev.SandboxReady(), ev.SandboxFailed("no room"))
    (failed,) = (each for each in told.history.happenings if each.reason == "FailedCreatePodSandBox")
    assert (failed.count, failed.first, failed.last, failed.type) == (2, 102, 104, "Warning")
    assert told.history.happenings[-1] == failed


def test_only_so_many_are_kept() -> None:
    told = Told()
    told.hear(None, *(ev.SandboxFailed(f"for the {number}. time") for number in range(2 * history._MOST)))
    assert len(told.history.happenings) == history._MOST
    assert told.said[-1][1] == f"for the {2 * history._MOST - 1}. time"


def test_a_pod_that_is_made_again_is_made_again() -> None:
    told = Told()
    told.hear(None)
    told.history.note_pod(told.identity, ev.Removed(), replace(told.state, stage="gone"), 200)
    told.hear(None)
    assert ("Scheduled", "Successfully assigned default/web-1 to here", 2) in told.said
