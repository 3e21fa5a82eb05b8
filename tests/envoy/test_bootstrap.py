"""The bootstrap: what a real Envoy makes of it, and that it is cheap to make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.envoy.bootstrap import BootstrapSpec, Counted, bootstrap
from pilotfish.model import Proxy
from pilotfish.runtime.agent.envoy import find_envoy
from tests.envoy.conftest import UnixConnection
from tests.waiting import wait_until

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


def test_a_discovery_with_a_name_is_looked_for_by_the_machine_s_own_resolvers() -> None:
    named = replace(SPEC, discovery_address="istiod.istio-system.svc", discovery_port=15012)
    command = [str(find_envoy()), "--mode", "validate", "--config-yaml", json.dumps(bootstrap(named)), "-l", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (cluster,) = (c for c in bootstrap(named)["static_resources"]["clusters"] if c["name"] == "xds-grpc")
    assert cluster["type"] == "STRICT_DNS"
    assert "resolvers" not in cluster["typed_dns_resolver_config"]["typed_config"], "the agent's own would wait for it"


def test_an_envoy_with_a_limit_gives_memory_back_before_it_is_killed() -> None:
    limited = bootstrap(replace(SPEC, memory_limit=100 * 2**20))
    command = [str(find_envoy()), "--mode", "validate", "--config-yaml", json.dumps(limited), "-l", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (action,) = limited["overload_manager"]["actions"]
    assert action["name"] == "envoy.overload_actions.shrink_heap"


def test_flags_and_further_statistics_are_envoys(tmp_path: Path) -> None:
    spec = replace(
        SPEC,
        counted=Counted(("runtime.",), ("total_connections",), (r"main_thread\..*",)),
        runtime={"some.number": "7", "some.share": "0.5", "some.switch": "true", "some.text": "a b"},
    )
    config = bootstrap(spec)
    admin = Path(f"/tmp/pft-bootstrap-{os.getpid()}.admin")  # a socket's path has at most 107 characters
    config["admin"]["address"] = {"pipe": {"path": str(admin)}}
    for listener in config["static_resources"]["listeners"]:
        listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        listener.pop("additional_addresses")
    command = [str(find_envoy()), "--config-yaml", json.dumps(config), "--disable-hot-restart", "-l", "off"]
    envoy = subprocess.Popen(command)
    try:
        wait_until("Envoy is there", lambda: "server.state" in _asked(admin, "/stats"))
        layers = json.loads(_asked(admin, "/runtime"))["entries"]
        stats = _asked(admin, "/stats")
    finally:
        envoy.kill()
        envoy.wait()
        admin.unlink(missing_ok=True)
    stated = {name: layers[name]["final_value"] for name in layers if name.startswith("some.")}
    assert stated == {"some.number": "7", "some.share": "0.5", "some.switch": "true", "some.text": "a b"}
    assert {"runtime.load_success", "main_thread.watchdog_miss", "server.total_connections"} <= {
        line.partition(":")[0] for line in stats.splitlines()
    }
    assert "cluster.agent;.upstream_cx_total" not in stats


def _asked(admin: Path, path: str) -> str:
    connection = UnixConnection(admin)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


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
