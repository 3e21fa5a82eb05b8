"""One Envoy for the pods of a machine: each pod is who it is, from where it is, and sees what is its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.envoy.calls import connect, pieces
from tests.envoy.machine import Machine
from tests.waiting import until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.timeout(90),
]


def service(name: str, namespace: str, address: str, port: str = "http", number: int = 80, target: int = 8080) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: {address}
  selector: {{app: {name}}}
  ports: [{{name: {port}, port: {number}, targetPort: {target}}}]
---
"""


CALLED = service("called", "vm", "10.96.0.10")
ONLY_ONE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-one, namespace: vm}
spec:
  selector: {matchLabels: {app: called}}
  rules: [{from: [{source: {principals: [cluster.local/ns/vm/sa/one]}}]}]
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: vm}
spec: {mtls: {mode: STRICT}}
---
"""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """Two that call, and one that is called."""
    async with Machine.running(tmp_path, CALLED) as made:
        await made.add_pod("one-0.vm", 2, {"app": "one"})
        await made.add_pod("two-0.vm", 3, {"app": "two"})
        await made.add_pod("called-0.vm", 4, {"app": "called"})
        await made.app("called-0.vm", 8080, "called")
        yield made


def status(answer: str) -> str:
    return answer.partition(" ")[2][:3]


async def test_each_pod_shows_its_own_certificate(machine: Machine) -> None:
    await machine.update(CALLED + ONLY_ONE + STRICT)
    for _ in range(5):  # a pool that both shared would have the connection of the one that was first
        assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "200"
        assert status(await machine.request("two-0.vm", "10.96.0.10", 80, "called")) == "403"


async def test_connections_of_one_pod_are_not_lent_to_another(machine: Machine) -> None:
    """At the same time, over connections that are kept."""
    await machine.update(CALLED + ONLY_ONE)
    pods = ("one-0.vm", "two-0.vm") * 20
    answers = await asyncio.gather(*(machine.request(pod, "10.96.0.10", 80, "called") for pod in pods))
    assert [status(each) for each in answers] == ["200", "403"] * 20


async def test_each_pod_calls_from_its_own_address(machine: Machine) -> None:
    only = ONLY_ONE.replace("principals: [cluster.local/ns/vm/sa/one]", f"ipBlocks: [{machine.address(3)}]")
    await machine.update(CALLED + only)
    assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "403"
    assert status(await machine.request("two-0.vm", "10.96.0.10", 80, "called")) == "200"


async def test_who_is_outside_of_the_mesh_sees_the_pods_address(machine: Machine) -> None:
    """What no service has goes where it was going, from the pod."""
    await machine.serve(machine.network.node, "0.0.0.0", 9999, "outside")
    address = str(machine.network.subnets.node[0])
    for pod, number in (("one-0.vm", 2), ("two-0.vm", 3)):
        answer = await machine.request(pod, address, 9999, "outside")
        assert answer.endswith(f"outside GET / from {machine.address(number)}\n")


async def test_pods_that_come_and_go_touch_nobody_else(machine: Machine) -> None:
    long = asyncio.create_task(machine.request("one-0.vm", "10.96.0.10", 80, "called", "/during/4"))
    await machine.until_open("called-0.vm")
    counted = {name: machine.count(f"listener_manager.{name}") for name in ("listener_added", "listener_removed")}
    await machine.add_pod("late-0.vm", 5, {"app": "late"})
    assert status(await machine.request("late-0.vm", "10.96.0.10", 80, "called")) == "200"
    await machine.remove_pod("late-0.vm")
    assert machine.count("listener_manager.listener_added") == counted["listener_added"] + 2
    assert machine.count("listener_manager.listener_modified") == 0
    assert machine.count("listener_manager.listener_in_place_updated") == 0
    assert (await long).endswith("called GET /during/4 from 127.0.0.6\n")


async def test_a_pod_of_the_same_name_is_another(machine: Machine) -> None:
    """It has the path that the last one's network namespace had, and neither its certificate nor its connections."""
    await machine.update(CALLED + ONLY_ONE)
    for account, answer in (("one", "200"), ("two", "403"), ("one", "200")):
        await machine.add_pod("again-0.vm", 5, {"app": account})
        assert status(await machine.request("again-0.vm", "10.96.0.10", 80, "called")) == answer
        await machine.remove_pod("again-0.vm")


async def test_nothing_of_a_pod_that_is_gone_is_held(machine: Machine) -> None:
    """A connection that waits to be used again would hold its network namespace."""
    before = machine.descriptors()
    await machine.add_pod("late-0.vm", 5, {"app": "late"})
    assert status(await machine.request("late-0.vm", "10.96.0.10", 80, "called")) == "200"
    await machine.remove_pod("late-0.vm")
    await until("all is let go of", lambda: machine.descriptors() <= before)


async def test_a_namespace_that_comes_drains_no_connection(machine: Machine) -> None:
    """It sees other routes, so that listeners of all learn of it: by chains that are added."""
    long = asyncio.create_task(machine.request("one-0.vm", "10.96.0.10", 80, "called", "/during/4"))
    await machine.until_open("called-0.vm")
    await machine.update(CALLED + service("called", "shop", "10.96.0.20"))
    await machine.add_pod("own-0.shop", 6, {"app": "called"})
    await machine.app("own-0.shop", 8080, "shops")
    assert "shops GET" in await machine.request("own-0.shop", "10.96.0.20", 80, "called")
    assert machine.count("listener_manager.listener_in_place_updated") > 0
    assert machine.count("listener_manager.listener_modified") == machine.count(
        "listener_manager.listener_in_place_updated"
    )
    assert (await long).endswith("called GET /during/4 from 127.0.0.6\n")


async def test_short_names_mean_what_they_mean_in_each_namespace(machine: Machine) -> None:
    await machine.update(CALLED + service("called", "shop", "10.96.0.20"))
    await machine.add_pod("own-0.shop", 6, {"app": "called"})
    await machine.app("own-0.shop", 8080, "shops")
    for address in ("10.96.0.10", "10.96.0.20"):  # whom the request is for is what its host says
        assert "called GET" in await machine.request("one-0.vm", address, 80, "called")
        assert "shops GET" in await machine.request("own-0.shop", address, 80, "called")
        assert "shops GET" in await machine.request("one-0.vm", address, 80, "called.shop")


LIMITED = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: called, namespace: vm}
spec: {host: called, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 100}}}}
---
"""


async def test_a_connection_goes_on_when_what_is_asked_of_a_port_changes(machine: Machine) -> None:
    """Its chain leads to the port's cluster by the name that was known when it came."""
    netns, address = machine.network.node.name, machine.address(4)
    asked = "GET / HTTP/1.1\r\nHost: called\r\n\r\n"
    with connect(netns, address, 8080) as stream:

        def ask() -> str:
            stream.sendall(asked.encode())
            return status(b"".join(pieces(stream, stops=True)).decode())

        assert await asyncio.to_thread(ask) == "200"
        await machine.update(CALLED + LIMITED)
        assert await asyncio.to_thread(ask) == "200"


SEES_ITSELF = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: own, namespace: vm}
spec:
  workloadSelector: {labels: {app: two}}
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["other/*"]}]
---
"""
BY_CLIENT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: called, namespace: vm}
spec:
  hosts: [called]
  http:
  - match: [{sourceLabels: {app: two}}]
    directResponse: {status: 418}
  - route: [{destination: {host: called}}]
---
"""
OWN_POLICY = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: called, namespace: vm}
spec:
  host: called
  workloadSelector: {matchLabels: {app: two}}
  trafficPolicy: {tls: {mode: DISABLE}}
---
"""


async def test_pods_of_a_namespace_that_see_otherwise(machine: Machine) -> None:
    await machine.update(CALLED + SEES_ITSELF)
    assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "200"
    assert "reset" in await machine.request("two-0.vm", "10.96.0.10", 80, "called"), "it sees nothing there"
    await machine.update(CALLED + BY_CLIENT)
    assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "200"
    assert status(await machine.request("two-0.vm", "10.96.0.10", 80, "called")) == "418"
    await machine.update(CALLED + OWN_POLICY + STRICT)
    assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "200"
    assert status(await machine.request("two-0.vm", "10.96.0.10", 80, "called")) == "503", "in plaintext"


TCP = service("stream", "vm", "10.96.0.30", "tcp", 7000, 7000)
RANGE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: range, namespace: vm}
spec:
  hosts: [range.example.com]
  addresses: [10.50.0.0/16]
  ports: [{number: 80, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: ADDRESS, ports: {tcp: 9998}}]
---
"""


async def test_what_is_no_http_is_told_apart_by_address_and_range(machine: Machine) -> None:
    """HTTP of all services and TCP of a range share a port."""
    await machine.update(
        CALLED + TCP.replace("app: stream", "app: called") + RANGE.replace("ADDRESS", machine.address(4))
    )
    await machine.app("called-0.vm", 7000, "streamed")
    await machine.app("called-0.vm", 9998, "ranged")
    assert "streamed GET" in await machine.request("one-0.vm", "10.96.0.30", 7000, "x")
    assert "ranged GET" in await machine.request("one-0.vm", "10.50.1.2", 80, "called")
    assert "called GET" in await machine.request("one-0.vm", "10.96.0.10", 80, "called")


async def test_no_line_of_an_access_log_is_without_its_pod(machine: Machine) -> None:
    logs = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
---
"""
    await machine.update(CALLED + logs)
    assert status(await machine.request("one-0.vm", "10.96.0.10", 80, "called")) == "200"
    await machine.until_logged("GET / HTTP/1.1", 2)
    lines = [line for line in machine.log.read_text().splitlines() if "GET / HTTP/1.1" in line]
    assert [line.partition(" ")[0] for line in sorted(lines)] == [
        str(machine.netns(pod).path) for pod in ("called-0.vm", "one-0.vm")
    ]


LISTENS = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: listens, namespace: vm}
spec:
  workloadSelector: {labels: {app: two}}
  egress:
  - {port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ["./called.vm.svc.cluster.local"]}
  - {hosts: ["*/*"]}
---
"""


async def test_what_a_sidecar_binds_at_the_loopback_is_its_pods_alone(machine: Machine) -> None:
    await machine.update(CALLED + LISTENS)
    assert "called GET" in await machine.request("two-0.vm", "127.0.0.1", 80, "called")
    assert "ERROR" in await machine.request("one-0.vm", "127.0.0.1", 80, "called")


BINDS = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: binds, namespace: vm}
spec:
  workloadSelector: {labels: {app: called}}
  ingress:
  - {port: {number: 9443, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: "127.0.0.1:8080"}
---
"""


async def test_no_pod_takes_what_others_send_to_where_it_would_listen(machine: Machine) -> None:
    await machine.serve(machine.network.node, "0.0.0.0", 9443, "outside")
    await machine.update(CALLED + BINDS, problems={"NotInNodeMode"})
    answer = await machine.request("one-0.vm", str(machine.network.subnets.node[0]), 9443, "outside")
    assert "outside GET" in answer


async def test_no_pod_reads_what_is_counted_of_others(machine: Machine) -> None:
    """15090 and 15021 of a machine's proxy are the machine's."""
    for port, path in ((15090, "/stats/prometheus"), (15021, "/healthz/ready")):
        answer = await machine.request("one-0.vm", "10.96.0.10", port, "called", path)
        assert "200" not in answer.partition("\n")[0]
