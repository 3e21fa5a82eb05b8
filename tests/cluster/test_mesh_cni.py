"""pilotfish in a cluster whose nodes capture: pods get their rules from the CNI plugin, and no privileges."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import own_namespace
from tests.cluster.kubectl import Kubectl
from tests.cluster.mesh import MESHED, Mesh, installed
from tests.cluster.node import Node
from tests.cluster.workloads import client, curl, run, server, service
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def mesh(node: Node) -> Iterator[Mesh]:
    folders = (f"cni.binDir={node.layout.cni_programs}", f"cni.confDir={node.layout.cni_configuration}")
    with installed(node, "cni.enabled=true", *folders) as mesh:
        yield mesh
        assert "pilotfish" in _networks(node)
    assert "pilotfish" not in _networks(node)
    assert not any("pilotfish" in path.name for path in node.layout.cni_programs.iterdir())


def _networks(node: Node) -> str:
    return "".join(path.read_text() for path in node.layout.cni_configuration.iterdir())


@pytest.fixture
def meshed(mesh: Mesh) -> Iterator[Kubectl]:
    """kubectl in a Namespace of the mesh, with a server `web` and a client."""
    with own_namespace(mesh.node.kubectl, **MESHED) as kubectl:
        run(kubectl, server("web"), service("web"), client())
        yield kubectl


def test_traffic_passes_the_sidecars_of_pods_that_were_given_no_privileges(meshed: Kubectl) -> None:
    passed = curl(meshed, "http://web/", "--include", check=True).stdout
    assert "server: envoy" in passed
    assert passed.endswith("web\n")
    for container in meshed.get("pod/client")["spec"]["initContainers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, container["name"]


def test_pods_are_captured_whoever_writes_the_networks_configuration_anew(meshed: Kubectl, mesh: Mesh) -> None:
    (network,) = mesh.node.layout.cni_configuration.glob("*.conflist")
    document = json.loads(network.read_text())
    others = [each for each in document["plugins"] if "pilotfish" not in each["type"]]
    assert len(others) == len(document["plugins"]) - 1
    network.write_text(json.dumps({**document, "plugins": others}))
    wait_until("the plugin is there again", lambda: "pilotfish" in network.read_text())
    run(meshed, server("late"), service("late"))
    assert "server: envoy" in curl(meshed, "http://late/", "--include", check=True).stdout
