"""The bootstrap: what a real Envoy makes of it, and that it is cheap to make."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pilotfish.envoy.bootstrap import BootstrapSpec, bootstrap
from pilotfish.model import Proxy
from pilotfish.runtime.agent.envoy import find_envoy

SPEC = BootstrapSpec(
    Proxy.of_pod("webapp-0", "vm", ("10.244.0.2", "fd70::2"), labels={"app": "webapp", "version": "v1"}),
    discovery_address="10.244.0.1",
    workload_name="webapp",
    metadata={"EXTRA": "1", "NAME": "not this"},
    sds_socket="./sds",
)


def test_a_real_envoy_takes_it() -> None:
    command = [str(find_envoy()), "--mode", "validate", "--config-yaml", json.dumps(bootstrap(SPEC)), "-l", "warning"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == 0, found.stderr
    assert "warning" not in found.stderr


def test_the_node_says_who_it_is() -> None:
    node = bootstrap(SPEC)["node"]
    assert node["id"] == "sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local"
    assert node["cluster"] == "webapp.vm"
    assert node["metadata"]["INSTANCE_IPS"] == "10.244.0.2,fd70::2"
    assert node["metadata"]["LABELS"] == {"app": "webapp", "version": "v1"}
    assert node["metadata"]["NAME"] == "webapp-0"
    assert node["metadata"]["EXTRA"] == "1"
    assert "OWNER" not in node["metadata"]
    parsed = Proxy.parse(node["id"], node["metadata"])
    assert parsed is not None
    assert parsed.certified


@pytest.mark.parametrize(("ipv6", "addresses"), [(True, 1), (False, 0)])
def test_the_static_listeners_are_for_both_families(ipv6: bool, addresses: int) -> None:
    spec = BootstrapSpec(Proxy.of_pod("a", "b", ("10.0.0.1",)), "10.0.0.2", ipv6=ipv6)
    listeners = bootstrap(spec)["static_resources"]["listeners"]
    assert [x["address"]["socket_address"]["port_value"] for x in listeners] == [15090, 15021]
    assert [len(x.get("additional_addresses", ())) for x in listeners] == [addresses, addresses]


def test_making_it_loads_no_protobuf() -> None:
    """The node's process makes one for every pod, and is to stay small."""
    code = (
        "import sys; from pilotfish.envoy import bootstrap; "
        "sys.exit(any(m.partition('.')[0] in ('google', 'envoy', 'grpc') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
