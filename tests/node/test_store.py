"""Whose an object is, and what a saved file changes."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.config.desired import DesiredState
from pilotfish.config.kubernetes import Deployment
from pilotfish.config.workloads import template_of, written_template
from pilotfish.model import ObjectRef, kinds
from pilotfish.node import store as storing
from pilotfish.node.services import allocate
from pilotfish.node.store import APPLIED, Change, Store

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{a: b}}, ports: [{{port: {port}}}]}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, command: [{command}]}}]}}
"""
WEB = kinds.DEPLOYMENT.ref("default", "web")


def service(name: str, port: int = 80) -> str:
    return SERVICE.format(name=name, port=port)


def deployment(command: str = "run", replicas: str = "replicas: 2") -> str:
    return DEPLOYMENT.format(command=command, replicas=replicas)


def ref(name: str) -> ObjectRef:
    return kinds.SERVICE.ref("default", name)


def save(store: Store, file: str, text: str) -> tuple[Store, dict[str, str]]:
    store, changes = storing.follow(store, {file: load(text, file) if text else None}, now=1.0)
    return store, {change.ref.name: change.action for change in changes}


def apply(store: Store, text: str) -> Store:
    return storing.apply(store, load(text, "-"), now=2.0)[0]


def replicas(store: Store) -> int:
    resource = store.objects[WEB].manifest.resource
    assert isinstance(resource, Deployment)
    return resource.spec.replicas


def test_a_saved_file_replaces_its_objects() -> None:
    store, changes = save(Store(), "a.yaml", service("one") + "---\n" + service("two"))
    assert changes == {"one": "created", "two": "created"}
    store, changes = save(store, "a.yaml", service("two", 81) + "---\n" + service("three"))
    assert changes == {"two": "configured", "three": "created", "one": "deleted"}
    assert set(store.objects) == {ref("two"), ref("three")}


def test_a_file_that_is_gone_takes_its_objects_with_it() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    store, changes = save(store, "a.yaml", "")
    assert changes == {"one": "deleted"}
    assert store.objects == {}


def test_an_unchanged_file_changes_nothing() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    version = store.version
    store, changes = save(store, "a.yaml", service("one"))
    assert changes == {}
    assert store.version == version


def test_a_broken_object_keeps_its_last_good_form() -> None:
    store, _ = save(Store(), "a.yaml", service("one") + "---\n" + service("two"))
    store, changes = save(store, "a.yaml", service("one").replace("ports", "prots") + "---\n" + service("two", 81))
    assert changes == {"two": "configured"}
    assert ref("one") in store.objects
    assert "spec.prots" in [problem.field for problem in store.desired.problems]
    store, changes = save(store, "a.yaml", service("two", 81))
    assert changes == {"one": "deleted"}
    assert store.desired.problems == ()


def test_a_change_by_hand_holds_until_the_text_changes() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    store = apply(store, service("one", 90))
    store, changes = save(store, "a.yaml", service("one") + "---\n" + service("two"))
    assert changes == {"two": "created"}, "the text of `one` is what it was"
    store, changes = save(store, "a.yaml", service("one", 91))
    assert changes == {"one": "configured", "two": "deleted"}


def test_an_object_that_moves_in_its_file_is_not_changed_but_known_where_it_is() -> None:
    store, _ = save(Store(), "a.yaml", service("one") + "---\n" + service("two"))
    store = apply(store, service("one", 90))
    store, changes = save(store, "a.yaml", "# a comment\n---\n" + service("one") + "---\n" + service("two"))
    assert changes == {}
    assert str(store.objects[ref("two")].manifest.source) == "a.yaml:10"
    assert store.objects[ref("one")].manifest.document["spec"] == {"selector": {"a": "b"}, "ports": [{"port": 90}]}


def test_what_was_deleted_by_hand_stays_deleted_until_the_text_changes() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    store, changes = storing.delete(store, [ref("one"), ref("none")])
    assert changes == (Change(ref("one"), "deleted"), Change(ref("none"), "notfound"))
    store, _ = save(store, "a.yaml", service("one") + "\n# more")
    assert store.objects == {}
    store, changes_ = save(store, "a.yaml", service("one", 81))
    assert changes_ == {"one": "created"}


def test_an_object_that_goes_to_another_file_is_not_deleted() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    store, changes = save(store, "b.yaml", service("one"))
    assert changes == {}
    store, changes = save(store, "a.yaml", "")
    assert changes == {}
    assert (store.objects[ref("one")].origin, str(store.objects[ref("one")].manifest.source)) == ("b.yaml", "b.yaml:2")
    store = apply(store, service("one", 90))
    store, _ = save(store, "c.yaml", service("one"))
    store, changes = save(store, "b.yaml", "")
    assert changes == {}, "what was changed by hand holds, in whichever file its text stands"
    assert store.objects[ref("one")].manifest.document["spec"] == {"selector": {"a": "b"}, "ports": [{"port": 90}]}
    store, changes = save(store, "c.yaml", "")
    assert changes == {"one": "deleted"}


def test_what_was_applied_is_not_deleted_with_a_file_that_no_longer_has_it() -> None:
    store, _ = save(Store(), "a.yaml", service("one"))
    store, _ = storing.delete(store, [ref("one")])
    store = apply(store, service("one", 90))
    store, changes = save(store, "a.yaml", "")
    assert changes == {}
    assert ref("one") in store.objects


MESH_CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "accessLogFile: {log}"}}
"""


CONFIG_MAP = kinds.CONFIG_MAP.ref("istio-system", "istio")


def mesh_config(log: str) -> str:
    return MESH_CONFIG.format(log=log)


def log_of(store: Store) -> str:
    return store.desired.mesh_config.access_log_file


def stored_mesh_config(text: str) -> Store:
    return save(Store(desired=DesiredState(preferred=(APPLIED,))), "a.yaml", text)[0]


def test_an_applied_mesh_config_goes_before_that_of_a_file_until_its_text_there_changes() -> None:
    store = apply(stored_mesh_config(mesh_config("/file")), mesh_config("/applied"))
    assert log_of(store) == "/applied"
    assert log_of(apply(store, service("one"))) == "/applied", "a text without one says nothing of it"
    store, _ = save(store, "a.yaml", mesh_config("/file") + "---" + service("one"))
    assert log_of(store) == "/applied"
    store, _ = save(store, "a.yaml", mesh_config("/saved"))
    assert (log_of(store), store.desired.problems) == ("/saved", ())


def test_a_deleted_mesh_config_is_out_of_force_until_its_text_changes() -> None:
    """As any object of a file that is deleted by hand."""
    store = stored_mesh_config(mesh_config("/file"))
    store, changes = storing.delete(store, [CONFIG_MAP])
    assert (changes, log_of(store)) == ((Change(CONFIG_MAP, "deleted"),), "")
    assert storing.delete(store, [CONFIG_MAP])[1] == (Change(CONFIG_MAP, "notfound"),)
    store, _ = save(store, "a.yaml", mesh_config("/file") + "---" + service("one"))
    assert log_of(store) == "", "another object of its file has changed"
    assert CONFIG_MAP not in store.objects
    assert log_of(apply(store, mesh_config("/applied"))) == "/applied"
    store, _ = save(store, "a.yaml", mesh_config("/saved"))
    assert log_of(store) == "/saved"
    assert CONFIG_MAP in store.objects


def test_a_deleted_mesh_config_takes_the_one_below_it_along() -> None:
    """What was applied stood in the file's object, which is gone with it."""
    store = apply(stored_mesh_config(mesh_config("/file")), mesh_config("/applied"))
    store, _ = storing.delete(store, [CONFIG_MAP])
    assert log_of(store) == ""


def test_a_mesh_config_that_was_deleted_with_its_namespace() -> None:
    store, _ = storing.delete(stored_mesh_config(mesh_config("/file")), [kinds.NAMESPACE.ref("", "istio-system")])
    assert log_of(store) == ""


def test_another_files_mesh_config_holds_when_one_was_deleted() -> None:
    operator = (
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: o}\n"
        "spec: {meshConfig: {accessLogFile: /operator}}\n"
    )
    store, _ = save(stored_mesh_config(mesh_config("/file")), "b.yaml", operator)
    assert store.desired.problems, "two differ"
    store, _ = storing.delete(store, [CONFIG_MAP])
    assert (log_of(store), store.desired.problems) == ("/operator", ())
    held = store.desired.held["b.yaml"].mesh_config
    assert held is not None
    assert held.ref is not None
    store, changes = storing.delete(store, [held.ref])
    assert (log_of(store), [change.action for change in changes]) == ("", ["deleted"])


def test_what_was_refused_is_a_problem_until_it_is_mended_or_deleted() -> None:
    broken = service("web").replace("selector", "selectr")
    store = apply(Store(), broken)
    assert [(p.ref, p.field) for p in store.problems] == [(ref("web"), "spec.selectr")]
    assert not apply(store, service("web")).problems
    store, changes = storing.delete(store, [ref("web")])
    assert (changes, store.problems) == ((Change(ref("web"), "notfound"),), ())
    store = apply(apply(Store(), service("web")), broken)
    assert store.problems
    assert ref("web") in store.objects
    assert not storing.delete(store, [kinds.NAMESPACE.ref("", "default")])[0].problems


def test_scale_holds_while_the_file_names_no_replicas() -> None:
    store, _ = save(Store(), "a.yaml", deployment(replicas=""))
    store, change = storing.scale(store, WEB, 5)
    assert change.action == "scaled"
    store, _ = save(store, "a.yaml", deployment("other", replicas=""))
    assert replicas(store) == 5
    store, _ = save(store, "a.yaml", deployment("other", replicas="replicas: 3"))
    assert replicas(store) == 3


def test_restart_changes_the_template_as_kubectl_does() -> None:
    store, _ = save(Store(), "a.yaml", deployment())
    store, change = storing.restart(store, WEB, "2026-01-01T00:00:00Z")
    assert change.action == "restarted"
    resource = store.objects[WEB].manifest.resource
    assert isinstance(resource, Deployment)
    expected = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    assert resource.spec.template.metadata.annotations == expected
    assert storing.restart(store, ref("none"), "x")[1].action == "notfound"


@pytest.mark.parametrize(("kind", "scaled"), [("StatefulSet", True), ("ReplicaSet", True), ("DaemonSet", False)])
def test_other_kinds_are_scaled_and_restarted_alike(kind: str, scaled: bool) -> None:
    text = deployment(replicas="replicas: 2" if scaled else "").replace("kind: Deployment", f"kind: {kind}")
    store, _ = save(Store(), "a.yaml", text)
    (name,) = store.objects
    store, change = storing.scale(store, name, 5)
    assert change.action == ("scaled" if scaled else "notfound")
    store, change = storing.restart(store, name, "now")
    template = template_of(store.objects[name].manifest.resource)
    assert template is not None
    assert template.metadata.annotations == {"kubectl.kubernetes.io/restartedAt": "now"}
    written = written_template(name.kind, store.objects[name].manifest.document)["metadata"]
    assert isinstance(written, dict)
    assert written["annotations"] == template.metadata.annotations


def test_what_is_made_for_others_changes_nothing_that_is_there() -> None:
    store, _ = storing.apply(Store(), load(service("one"), "-", "vm"), now=1.0)
    made = load(service("one") + "---\n" + service("two"), "-", "vm").manifests
    store, changes = storing.make(store, made, now=2.0)
    assert [(change.ref.name, change.action) for change in changes] == [("two", "created")]
    assert {ref.name: stored.created_at for ref, stored in store.objects.items()} == {"one": 1.0, "two": 2.0}


def test_deleting_a_namespace_deletes_what_it_holds() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: vm}\n---\n" + service("one")
    store, _ = storing.apply(Store(), load(text, "-", "vm"), now=1.0)
    store, _ = storing.delete(store, [kinds.NAMESPACE.ref("", "vm")])
    assert store.objects == {}


def test_cluster_ips_are_stable_and_given_ones_hold() -> None:
    store, _ = save(Store(), "a.yaml", service("one") + "---\n" + service("two"))
    first, problems = allocate(store.of_kind(kinds.SERVICE), {})
    assert problems == ()
    assert len(set(first.values())) == 2
    store = apply(store, service("three") + "---\n" + service("four").replace("selector", "clusterIP: None, selector"))
    second, _ = allocate(store.of_kind(kinds.SERVICE), first)
    assert first.items() <= second.items()
    assert ref("four") not in second, "a headless Service has none"
    taken = first[ref("one")]
    store = apply(store, service("five").replace("selector", f"clusterIP: {taken}, selector"))
    third, _ = allocate(store.of_kind(kinds.SERVICE), second)
    assert third[ref("five")] == taken, "who asks for an address by name has it"
    assert third[ref("one")] != taken


def test_cluster_ips_that_cannot_be() -> None:
    text = "---\n".join(
        service(name).replace("selector", f"clusterIP: {ip}, selector")
        for name, ip in (("a", "10.96.0.5"), ("b", "10.96.0.5"), ("c", "10.99.0.1"), ("d", "10.96.0.10"))
    )
    store, _ = save(Store(), "a.yaml", text)
    chosen, problems = allocate(store.of_kind(kinds.SERVICE), {})
    assert chosen == {ref("a"): "10.96.0.5"}
    assert [p.reason for p in problems] == ["ClusterIPConflict", "InvalidClusterIP", "InvalidClusterIP"]
