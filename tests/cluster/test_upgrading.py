"""From one control plane to the next, in a cluster whose pods go on calling one another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import images
from tests.cluster.conftest import own_namespace
from tests.cluster.kubectl import Object
from tests.cluster.load import under_load
from tests.cluster.mesh import MESHED, Mesh, installed
from tests.cluster.node import Node
from tests.cluster.workloads import CLIENT, client, deployment, run, service

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
_SMALL = (
    "--set",
    f"hub={images.OWN_HUB}",
    "--set",
    f"tag={images.OWN_TAG}",
    "--set",
    "proxy.resources.requests.cpu=10m",
)


@pytest.fixture
def mesh(node: Node) -> Iterator[Mesh]:
    with installed(node, "discovery.resources.requests.cpu=20m") as mesh:
        yield mesh


def test_by_canary_and_in_place_no_request_fails_and_nothing_of_the_old_one_is_left(mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as shop:
        run(shop, client(), _graceful(deployment("web", 1)), service("web"))
        shop.rolled_out("deployment/web")
        mesh.pilotfish("check", "--post", timeout=60)
        with under_load(shop, CLIENT, "web/", container="app") as load:
            mesh.pilotfish(
                "install", "--revision", "next", *_SMALL, "--set", "discovery.resources.requests.cpu=20m", timeout=120
            )
            mesh.pilotfish("tag", "set", "prod", "--revision", "next")
            shop("label", "namespace", shop.namespace, "istio.io/rev=prod", "istio-injection-")
            shop("rollout", "restart", "deployment/web")
            shop.rolled_out("deployment/web")
            mesh.pilotfish("uninstall", "--revision", "default", timeout=120)
            said = mesh.pilotfish(
                "upgrade", "--revision", "next", "--set", "discovery.podAnnotations.a=b", timeout=120
            ).stdout
            assert "deployment.apps/pilotfish-next in namespace istio-system configured" in said
        assert load.failed == []
        assert load.asked > 100
        (web,) = (pod for pod in shop.items("pods", "-l", "app=web") if "deletionTimestamp" not in pod["metadata"])
        assert web["metadata"]["annotations"]["istio.io/rev"] == "next"
        assert "istiod-next" in mesh.root("get", "service", "--output", "name")
        assert "service/istiod\n" not in mesh.root("get", "service", "--output", "name")
        # The client was injected by the one that is gone, and goes on with what it knows.
        found = mesh.pilotfish("check", "--post", "--revision", "next", check=False, timeout=60)
        assert found.stdout == "no problem was found\n"


def _graceful(workload: Object) -> Object:
    """Whose pods serve until others know that they end, as is Kubernetes' to ask of an app."""
    spec = workload["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 20
    spec["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    return workload
