"""Workloads that are no pods register themselves in a cluster: discovery writes their WorkloadEntries."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml

from pilotfish.discovery.registration import GRACE
from pilotfish.discovery.workload_entries import CONTROLLER, DISCONNECTED, ORPHANED
from pilotfish.envoy.types import ENDPOINT
from pilotfish.runtime.discovery.client import DiscoveryClient
from tests.cluster.api_server import own_api_server
from tests.cluster.replicas import Replica, Replicas, channel, define_kinds, discovery_is_at, own_address
from tests.runtime.discovery_client import Client, connected
from tests.waiting import until

AT = "198.51.100.7"
"""Of the machine, as its proxy says."""
NODE = f"sidecar~{AT}~machine.vm~vm.svc.cluster.local"
NAME = f"reviews-{AT}"
GROUP: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "WorkloadGroup",
    "metadata": {"name": "reviews"},
    "spec": {
        "metadata": {"labels": {"app": "reviews"}},
        "template": {"ports": {"http": 9080}, "serviceAccount": "reviews"},
        "probe": {"tcpSocket": {"port": 9080}},
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "reviews"},
    "spec": {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": 8000, "targetPort": 8080}]},
}
ENDPOINTS = "outbound|8000||reviews.vm.svc.cluster.local"


@pytest.fixture(scope="module")
def replicas(_control: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with own_api_server() as server:
        made = Replicas(server, tmp_path_factory.mktemp("registration"))
        define_kinds(made.kubectl)
        made.kubectl("create", "namespace", "vm")
        vm = made.kubectl.within("vm")
        vm("create", "serviceaccount", "reviews")
        vm.apply(SERVICE, GROUP)
        yield made


def entry(replicas: Replicas) -> dict[str, Any]:
    """As it is; nothing where there is none."""
    vm = replicas.kubectl.within("vm")
    found: dict[str, Any] = yaml.safe_load(vm("get", f"we/{NAME}", "--ignore-not-found", "-o", "yaml")) or {}
    return found


def notes(replicas: Replicas) -> dict[str, str]:
    found: dict[str, str] = entry(replicas).get("metadata", {}).get("annotations", {})
    return found


@asynccontextmanager
async def machine(replicas: Replicas, replica: Replica, account: str = "reviews") -> AsyncIterator[Client]:
    """Its proxy, with a token that is bound to no pod."""
    token = replicas.kubectl.within("vm")("create", "token", account, "--audience=istio-ca").strip()
    client = Client(metadata={"AUTO_REGISTER_GROUP": "reviews", "LABELS": {"version": "v2"}})
    shown = await replicas.certificate(replica, token)
    async with connected(replica.secure, client, NODE, channel(replica, shown)):
        yield client


def serves(client: Client) -> bool:
    found = client.has[ENDPOINT].get(ENDPOINTS)
    return found is not None and AT.encode() in found.resource.value


async def test_a_machine_is_an_entry_of_the_cluster_while_its_proxy_is_connected(replicas: Replicas) -> None:
    with replicas.running(1, kubeconfig=replicas.account()) as (replica,):
        async with machine(replicas, replica) as client:
            found = await until("it is written down", lambda: entry(replicas))
            assert found["spec"]["address"] == AT
            assert found["metadata"]["labels"] == {"app": "reviews", "version": "v2"}
            assert found["metadata"]["ownerReferences"][0]["name"] == "reviews"
            assert replica.name in found["metadata"]["annotations"][CONTROLLER]
            await client.until("it is told of its service", lambda: ENDPOINTS in client.has[ENDPOINT])
            assert not serves(client), "nobody has said that it is well"

            agent = DiscoveryClient(str(replica.monitoring))
            assert await agent.report_health(NODE, True)
            await client.until("it serves", lambda: serves(client))
            assert await agent.report_health(NODE, False)
            await client.until("it is out of service", lambda: not serves(client))
            assert await agent.report_health(NODE, True)
            await client.until("it serves again", lambda: serves(client))

            vm = replicas.kubectl.within("vm")
            await asyncio.to_thread(vm, "delete", f"we/{NAME}")
            await until("it is written down again", lambda: entry(replicas))
            changed = {**GROUP, "spec": {**GROUP["spec"], "template": {**GROUP["spec"]["template"], "weight": 3}}}
            await asyncio.to_thread(vm.apply, changed)
            await until("the group's change is there", lambda: entry(replicas)["spec"].get("weight") == 3)
            await asyncio.to_thread(vm.apply, GROUP)
        await until("it is noted that it left", lambda: DISCONNECTED in notes(replicas))
        async with machine(replicas, replica):
            await until("it is back", lambda: DISCONNECTED not in notes(replicas))
        await until("it is taken away", lambda: not entry(replicas), 2 * GRACE)
        log = replica.process.log.read_text()
        assert "forbids" not in log, log


async def test_a_machine_of_another_account_is_not_registered(replicas: Replicas) -> None:
    with replicas.running(1, kubeconfig=replicas.account()) as (replica,):
        async with machine(replicas, replica, "default"):

            async def said() -> str:
                found = await DiscoveryClient(str(replica.monitoring)).problems()
                return next((each.message for each in found if each.reason == "NotRegistered"), "")

            message = await until("it is said", said)
            assert "shown itself as default, and spec.template.serviceAccount is reviews" in message
            assert not entry(replicas)


async def test_a_replica_that_ends_lets_its_machines_go(replicas: Replicas) -> None:
    with replicas.running(1, kubeconfig=replicas.account()) as (first,):
        async with machine(replicas, first):
            mine = (await until("it is written down", lambda: notes(replicas)))[CONTROLLER]
            await asyncio.to_thread(first.process.end, signal.SIGTERM, 10)
        assert DISCONNECTED in notes(replicas), "another replica may take it away, or have it"
    with replicas.running(1, kubeconfig=replicas.account()) as (second,):
        async with machine(replicas, second):
            await until("the next one has it", lambda: notes(replicas)[CONTROLLER] != mine)
            assert DISCONNECTED not in notes(replicas)
    replicas.kubectl.within("vm")("delete", f"we/{NAME}")


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_proxy_that_moves_keeps_its_entry_and_what_a_killed_replica_leaves_is_taken_away(
    replicas: Replicas,
) -> None:
    with replicas.running(2, f"--monitoring-address={own_address()}:0") as made, discovery_is_at(replicas, made):
        name = await until("one leads", replicas.leader, 20)
        (leader,) = [each for each in made if each.name == name]
        (other,) = [each for each in made if each.name != name]
        async with machine(replicas, leader):
            uid = (await until("it is written down", lambda: entry(replicas)))["metadata"]["uid"]
            async with machine(replicas, other):
                await until("the other has it", lambda: other.name in notes(replicas)[CONTROLLER])
        # Both have lost it; it comes back to one.
        async with machine(replicas, other):
            await until("it is back", lambda: DISCONNECTED not in notes(replicas))
            # A replica that is well is not taken for dead, by the leader either.
            await asyncio.sleep(ORPHANED + 10)
            assert entry(replicas)["metadata"]["uid"] == uid
            other.process.end(signal.SIGKILL)
            # Its kubelet, or the node's end, takes it out of the Service.
            replicas.kubectl.within("istio-system")("delete", f"endpointslice/istiod-{made.index(other)}")
        assert DISCONNECTED not in notes(replicas), "nobody could say so"
        await until("it is taken away", lambda: not entry(replicas), ORPHANED + 20)
