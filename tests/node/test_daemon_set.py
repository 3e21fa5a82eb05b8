"""The one pod of a DaemonSet, and of so many a ReplicaSet."""

from __future__ import annotations

from dataclasses import replace

from tests.node.controlled import Node, stored


def text(kind: str = "DaemonSet", version: str = "v1", more: str = "") -> str:
    return f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent, version: {version}}}}}
    spec: {{containers: [{{name: app, command: [sleep, inf]}}]}}
  {more}
"""


def node(kind: str = "DaemonSet", more: str = "") -> Node:
    made = Node(stored(text(kind, more=more)))
    made.settle()
    made.log.clear()
    return made


def test_one_machine_has_one_pod() -> None:
    made = Node(stored(text()))
    made.step()
    assert made.log == ["+agent-0"]
    assert made.rollout().message == (
        'Waiting for daemon set "agent" rollout to finish: 0 of 1 updated pods are available...'
    )
    made.settle()
    assert made.rollout().message == 'daemon set "agent" successfully rolled out'
    assert made.status()["numberReady"] == made.status()["desiredNumberScheduled"] == 1


def test_the_new_pod_comes_when_the_old_one_is_gone() -> None:
    made = node()
    made.lingering = True
    made.change(text(version="v2"))
    made.step()
    assert made.log == ["-agent-0"]
    assert not made.step()
    made.bury()
    made.step()
    assert made.log == ["-agent-0", "+agent-1"]


def test_with_a_surge_the_old_pod_stays_until_the_new_one_is_available() -> None:
    more = "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    made = node(more=more)
    made.change(text(version="v2", more=more))
    made.step()
    assert made.log == ["+agent-1"]
    assert not made.step()
    made.ready("agent-1")
    made.step()
    assert made.log == ["+agent-1", "-agent-0"]


def test_on_delete_leaves_the_pod_that_there_is() -> None:
    more = "updateStrategy: {type: OnDelete}"
    made = node(more=more)
    made.change(text(version="v2", more=more))
    assert not made.step()
    made.pods.clear()
    made.settle()
    assert made.log == ["+agent-1"]


def test_a_replica_set_has_its_number_and_changes_no_pod_that_there_is() -> None:
    made = node("ReplicaSet", "replicas: 3")
    assert made.status()["readyReplicas"] == 3
    made.change(text("ReplicaSet", "v2", "replicas: 3"))
    assert not made.step()
    made.pods["agent-1"] = replace(made.pods["agent-1"], ready_since=None)
    made.change(text("ReplicaSet", "v2", "replicas: 1"))
    made.step()
    assert made.log == ["-agent-1", "-agent-2"], "what is not ready first, then the youngest"
    assert made.rollout().done
