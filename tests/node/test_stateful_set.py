"""Which pods a StatefulSet wants, and in which order."""

from __future__ import annotations

import pytest

from pilotfish.model.kinds import PERSISTENT_VOLUME_CLAIM
from pilotfish.node.controllers import stateful_set
from tests.node.controlled import Node, stored


def text(version: str = "v1", replicas: int = 3, more: str = "", of: str = "") -> str:
    return f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: {replicas}
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db, version: {version}}}}}
    spec:
      containers: [{{name: app, command: [sleep, inf], volumeMounts: [{{name: data, mountPath: /data}}]}}]
      volumes: [{{name: data, emptyDir: {{}}}}]
{of}
  {more}
"""


CLAIMS = "volumeClaimTemplates: [{metadata: {name: data, labels: {a: b}}, spec: {accessModes: [ReadWriteOnce]}}]"


def claim(ordinal: int) -> object:
    return PERSISTENT_VOLUME_CLAIM.ref("default", f"data-db-{ordinal}")


def node(replicas: int = 3, more: str = "") -> Node:
    made = Node(stored(text(replicas=replicas, more=more)))
    made.settle()
    made.log.clear()
    return made


def test_pods_come_one_after_the_other_each_when_the_one_before_is_ready() -> None:
    made = Node(stored(text()))
    made.step()
    assert made.log == ["+db-0"]
    assert not made.step(), "db-0 is not ready"
    made.ready()
    made.step()
    assert made.log == ["+db-0", "+db-1"]
    made.settle()
    assert made.log == ["+db-0", "+db-1", "+db-2"]
    assert made.rollout().done


def test_in_parallel_all_come_at_once() -> None:
    made = Node(stored(text(more="podManagementPolicy: Parallel")))
    made.step()
    assert made.log == ["+db-0", "+db-1", "+db-2"]


def test_a_pod_that_went_comes_back_under_its_name_before_any_later_one() -> None:
    made = node()
    made.pods.pop("db-1")
    made.step()
    assert made.log == ["+db-1"]


def test_a_pod_has_its_name_its_host_name_and_its_claims() -> None:
    made = node(1, CLAIMS)
    pod = made.made["db-0"]
    spec = pod.template.spec
    assert (spec.hostname, spec.subdomain) == ("db-0", "db")
    assert pod.labels["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert pod.labels["apps.kubernetes.io/pod-index"] == "0"
    assert [volume.name for volume in spec.volumes] == ["data"], "in the place of the template's own"
    assert spec.volumes[0].persistent_volume_claim is not None
    assert spec.volumes[0].persistent_volume_claim.claim_name == "data-db-0"
    written = pod.document["spec"]
    assert isinstance(written, dict)
    assert written["hostname"] == "db-0"
    assert written["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
    assert made.objects == [claim(0)]


def test_it_shrinks_from_the_highest_one_at_a_time_and_claims_stay() -> None:
    made = node(3, CLAIMS)
    made.change(text(replicas=1, more=CLAIMS))
    made.lingering = True
    made.step()
    assert made.log == ["-db-2"]
    assert not made.step(), "db-2 is not gone"
    made.bury()
    made.step()
    assert made.log == ["-db-2", "-db-1"]
    assert made.deleted == []


def test_a_claim_goes_when_the_set_says_so() -> None:
    retention = "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Delete}"
    more = f"{CLAIMS}\n  {retention}"
    made = node(2, more)
    made.change(text(replicas=1, more=more))
    made.settle()
    assert made.deleted == [claim(1)]
    assert stateful_set.left_claims(made.object, made.state) == (claim(0),)
    assert stateful_set.left_claims(stored(text(more=CLAIMS)), made.state) == ()


def test_an_update_goes_from_the_highest_down_each_when_the_last_is_ready() -> None:
    made = node()
    made.change(text("v2"))
    made.step()
    assert made.log == ["-db-2"]
    made.step()
    assert made.log == ["-db-2", "+db-2"]
    assert not made.step(), "db-2 is not ready"
    made.settle()
    assert made.log == ["-db-2", "+db-2", "-db-1", "+db-1", "-db-0", "+db-0"]
    assert made.status()["currentRevision"] == made.status()["updateRevision"]


def test_below_the_partition_pods_keep_their_template() -> None:
    made = node()
    old = made.pods["db-0"].hash
    more = "updateStrategy: {rollingUpdate: {partition: 2}}"
    made.change(text("v2", more=more))
    made.settle()
    assert made.log == ["-db-2", "+db-2"]
    assert made.rollout().message == "partitioned roll out complete: 1 new pods have been updated..."
    made.pods.pop("db-0")
    made.settle()
    assert made.pods["db-0"].hash == old, "what comes back is as it was"
    made.change(text("v2"))
    made.settle()
    assert {pod.hash for pod in made.pods.values()} == {made.pods["db-2"].hash}


def test_several_may_be_replaced_at_once() -> None:
    made = node()
    made.change(text("v2", more="updateStrategy: {rollingUpdate: {maxUnavailable: 2}}"))
    made.step()
    assert made.log == ["-db-2", "-db-1"]


def test_on_delete_replaces_nothing_by_itself() -> None:
    made = node(2, "updateStrategy: {type: OnDelete}")
    old = made.pods["db-0"].hash
    made.change(text("v2", 2, "updateStrategy: {type: OnDelete}"))
    assert not made.step()
    made.pods.pop("db-1")
    made.settle()
    assert made.pods["db-0"].hash == old
    assert made.pods["db-1"].hash != old


def test_pods_that_cannot_start_hold_up_no_better_template() -> None:
    made = node()
    made.change(text("broken"))
    made.step()
    made.step()
    assert made.log == ["-db-2", "+db-2"]
    assert not made.step()
    made.change(text("v3"))
    made.settle()
    assert made.log[2:] == ["-db-2", "+db-2", "-db-1", "+db-1", "-db-0", "+db-0"]


def test_ordinals_begin_where_the_set_says() -> None:
    made = node(2, "ordinals: {start: 5}")
    assert made.names() == {"db-5", "db-6"}


def test_ready_pods_are_waited_for_until_they_are_available() -> None:
    made = Node(stored(text(replicas=2, more="minReadySeconds: 10")))
    made.step()
    made.ready()
    assert not made.step()
    assert made.look == 11, "ten seconds after it became ready"
    made.step(seconds=10)
    assert made.log == ["+db-0", "+db-1"]


def test_status_and_rollout_are_kubernetes() -> None:
    made = Node(stored(text(replicas=2)))
    made.step()
    assert made.rollout().message == "Waiting for 2 pods to be ready..."
    made.settle()
    revision = made.status()["updateRevision"]
    assert made.rollout().message == f"statefulset rolling update complete 2 pods at revision {revision}..."
    assert made.status()["readyReplicas"] == made.status()["updatedReplicas"] == made.status()["currentReplicas"] == 2


@pytest.mark.parametrize("replicas", [0, 3])
def test_what_is_planned_is_what_comes(replicas: int) -> None:
    made = node(replicas, CLAIMS)
    assert {pod.name: pod.hash for pod in made.planned()} == {pod.ref.name: pod.hash for pod in made.pods.values()}
