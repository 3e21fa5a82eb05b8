"""The API server of the tests is a real one: it admits, refuses, keeps and forgets as those of users do."""

from __future__ import annotations

from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl

POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: none}]}}"


def test_a_pod_gets_the_account_of_its_namespace(kubectl: Kubectl) -> None:
    kubectl.apply(POD)
    spec = kubectl.get("pod/web")["spec"]
    assert spec["serviceAccountName"] == "default"
    assert any("serviceAccountToken" in source for source in spec["volumes"][0]["projected"]["sources"])


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    kubectl.apply(POD)
    kubectl("delete", "namespace", kubectl.namespace)
    kubectl("create", "namespace", kubectl.namespace)
    assert kubectl.items("pods") == []


def test_who_has_no_role_is_refused(api_server: ApiServer, kubectl: Kubectl) -> None:
    stranger = kubectl.as_user(api_server.user("stranger"))
    assert 'User "stranger" cannot list resource "pods"' in stranger.refused("get", "pods")


def test_what_it_held_it_holds_after_a_restart(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        server.api.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        server.restart()
        assert server.api.kubectl.get("configmap/kept")["data"] == {"a": "b"}


def test_nothing_is_left_of_one_that_has_ended(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        folder, processes = server.api.folder, server.processes
    assert not folder.exists()
    assert all(process.has_ended for process in processes)
