"""What a change would change: objects, proxies, Problems."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotfish.model.kinds import POD as POD_KIND
from pilotfish.model.kinds import SERVICE as SERVICE_KIND
from pilotfish.offline.difference import Difference, ResourceChange, compare, lay_over
from pilotfish.offline.reading import read, read_list
from pilotfish.offline.world import build

SOURCE = {"pilotfish.io/source": "/shop/mesh.yaml:1"}
METADATA = {"namespace": "vm", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1, "annotations": SOURCE}


def live(kind: str, name: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
    """An object as a mesh tells of it."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **METADATA}, **fields}


SERVICE = live("Service", "shop", spec={"ports": [{"name": "http", "port": 80}], "clusterIP": "10.96.3.3"})
POD = live(
    "Pod",
    "shop-0",
    spec={"containers": [{"name": "a", "command": ["a"]}]},
    status={"phase": "Running", "podIP": "10.244.0.9", "conditions": [{"type": "Ready", "status": "True"}]},
)
OTHER = live("Pod", "other-0", spec=POD["spec"], status={**POD["status"], "podIP": "10.244.0.10"})
REGISTRY_ONLY = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
SHOP = """\
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: vm}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shop-0, namespace: vm}
spec: {containers: [{name: a, command: [a]}]}
"""


def difference(given: str, *objects: dict[str, Any], mesh: str = "") -> Difference:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects or (SERVICE, POD, OTHER))}
    before = read_list(msgspec.json.encode(listed), ("mesh.yaml", mesh))
    return compare(build(before), build(lay_over(before, read([("given.yaml", given)]))))


def test_the_same_again_changes_nothing() -> None:
    again = (POD_KIND.ref("vm", "shop-0"), SERVICE_KIND.ref("vm", "shop"))
    assert difference(SHOP) == Difference((), again, (), ())


def test_a_changed_service_is_another_cluster_in_all_proxies() -> None:
    found = difference(SHOP.replace("port: 80", "port: 81"))
    (changed,) = found.objects
    assert changed.before == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": "vm"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }
    ((names, changes),) = found.proxies
    assert names == ("other-0.vm", "shop-0.vm")
    assert ResourceChange("cluster", "outbound|81||shop.vm.svc.cluster.local", "added") in changes
    assert ResourceChange("cluster", "outbound|80||shop.vm.svc.cluster.local", "removed") in changes


def test_a_new_pod_is_one_line_and_problems_that_come_are_said() -> None:
    more = """\
---
apiVersion: v1
kind: Pod
metadata: {name: new, namespace: vm}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec: {hosts: [shop], http: [{route: [{destination: {host: nobody}}]}]}
"""
    found = difference(SHOP + more)
    assert (("new.vm",), (ResourceChange("all", "*", "added"),)) in found.proxies
    assert (("other-0.vm", "shop-0.vm"), (ResourceChange("route", "80", "changed"),)) in found.proxies
    assert [problem.reason for problem in found.problems] == ["UnknownHost"]


def test_a_mesh_config_changes_proxies_and_another_mesh_config_stays() -> None:
    where = "metadata: {name: istio, namespace: istio-system}"
    config = f"{SHOP}---\n{{apiVersion: v1, kind: ConfigMap, {where}, data: {{mesh: '{REGISTRY_ONLY}'}}}}"
    ((names, _),) = difference(config).proxies
    assert names == ("other-0.vm", "shop-0.vm")
    assert difference(SHOP, mesh=REGISTRY_ONLY).proxies == ()


@pytest.mark.parametrize(("command", "replaced"), [("a", False), ("b", True)])
def test_scaling_is_kept_and_another_template_replaces_pods(command: str, replaced: bool) -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "command": ["a"]}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    given = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: a, namespace: vm}}
spec:
  selector: {{matchLabels: {{app: a}}}}
  template: {{metadata: {{labels: {{app: a}}}}, spec: {{containers: [{{name: a, command: [{command}]}}]}}}}
"""
    found = difference(given, live("Deployment", "a", "apps/v1", spec=spec))
    assert [change.replaces_pods for change in found.objects] == ([True] if replaced else [])


def test_a_changed_secret_is_told_without_its_values() -> None:
    old = live("Secret", "me", data={"tls.key": "b25l", "tls.crt": "c2FtZQ=="})
    given = "apiVersion: v1\nkind: Secret\nmetadata: {name: me, namespace: vm}\n"
    found = difference(given + "data: {tls.key: dHdv, tls.crt: c2FtZQ==}\n", old)
    (changed,) = found.objects
    assert changed.before != changed.after
    assert not any(value in str(changed) for value in ("b25l", "dHdv", "c2FtZQ=="))


def test_a_job_that_has_had_its_pods_is_not_run_again_by_the_same_text() -> None:
    template = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "command": ["a"]}]}}}
    once = live("Job", "once", "batch/v1", spec=template)
    tick = live("CronJob", "tick", "batch/v1", spec={"schedule": "@daily", "jobTemplate": {"spec": template}})
    given = "".join(
        msgspec.json.encode({**each, "metadata": {"name": each["metadata"]["name"], "namespace": "vm"}}).decode() + "\n"
        for each in (once, tick)
    )
    found = difference(given, once, tick)
    assert (found.objects, found.proxies) == ((), ())
