"""Several replicas of discovery at one API server: what one does for all, and what each does alike."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.cluster.kubectl import Kubectl
from tests.cluster.replicas import (
    ROOT_MAP,
    Replicas,
    channel,
    define_kinds,
    discovery_is_at,
    own_address,
    virtual_service,
)
from tests.runtime.discovery_client import Client, connected
from tests.waiting import until, wait_until

pytestmark = pytest.mark.long

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "one"},
    "spec": {"selector": {"app": "one"}, "ports": [{"port": 8000, "name": "http"}]},
}
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  resolution: DNS
"""
NODE = "sidecar~10.0.0.1~web.vm~vm.svc.cluster.local"
HOOK = """
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: pilotfish
  labels: {app.kubernetes.io/managed-by: pilotfish, app.kubernetes.io/part-of: pilotfish, istio.io/rev: default}
webhooks:
- name: inject.pilotfish.io
  clientConfig: {service: {name: istiod, namespace: istio-system, path: /inject}}
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  objectSelector: {matchLabels: {sidecar.istio.io/inject: "true"}}
  admissionReviewVersions: [v1]
  sideEffects: None
"""


@pytest.fixture(scope="module")
def replicas(_control: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """At an API server with Istio's kinds and the namespace vm."""
    from tests.cluster.api_server import own_api_server

    with own_api_server() as server:
        made = Replicas(server, tmp_path_factory.mktemp("replicas"))
        define_kinds(made.kubectl)
        made.kubectl("create", "namespace", "vm")
        made.kubectl.within("vm").wait("create", "serviceaccount/default")
        yield made


async def has_all(client: Client) -> None:
    await client.until("all is there", lambda: "8000" in client.has[ROUTE] and client.has[ENDPOINT], 20)


async def test_a_proxy_that_moves_is_sent_nothing_that_it_has(replicas: Replicas) -> None:
    vm = replicas.kubectl.within("vm")
    vm.apply(SERVICE, virtual_service("one", "one", timeout="3s"), ENTRY)
    token = replicas.pod("vm", "web")
    with replicas.running(2) as (first, second):
        await until("addresses are given", lambda: vm.get("serviceentry/api").get("status", {}).get("addresses"), 20)
        (given, _) = vm.get("serviceentry/api")["status"]["addresses"]
        await until("roots are everywhere", lambda: vm.run("get", ROOT_MAP, check=False).returncode == 0, 20)
        shown = await replicas.certificate(first, token)
        client = Client()
        async with connected(first.secure, client, NODE, channel(first, shown)):
            await has_all(client)
        held = {kind: {name: each.version for name, each in client.has[kind].items()} for kind in client.has}
        assert all(held[kind] for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE))
        assert f"{given['value']}_5432" in held[LISTENER]
        afresh = Client()
        async with connected(second.secure, afresh, NODE, channel(second, await replicas.certificate(second, token))):
            await has_all(afresh)
        assert {kind: {name: each.version for name, each in afresh.has[kind].items()} for kind in held} == held
        before = client.received
        async with connected(second.secure, client, NODE, channel(second, shown)):
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", timeout="7s"))
            await client.until("the change is there", lambda: client.has[ROUTE]["8000"].version != held[ROUTE]["8000"])
            assert client.received == before + 1, "no more than what had changed was sent"
        vm("delete", "virtualservice/one", "service/one", "serviceentry/api", "pod/web", "--now")


async def test_what_a_proxy_refuses_stands_in_the_status_until_it_is_mended(replicas: Replicas) -> None:
    vm = replicas.kubectl.within("vm")
    vm.apply(SERVICE, virtual_service("one", "one", timeout="3s"))
    token = replicas.pod("vm", "web")
    with replicas.running(1) as (replica,):
        vm.wait("condition=Reconciled", "virtualservice/one", within=30)
        client = Client(refuses=b"marker-of-the-bad-one")
        async with connected(
            replica.secure, client, NODE, channel(replica, await replicas.certificate(replica, token))
        ):
            await has_all(client)
            good = client.route()
            bad = {"headers": {"request": {"set": {"x-mark": "marker-of-the-bad-one"}}}}
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", timeout="3s", **bad))

            async def reconciled(status: str) -> dict[str, Any]:
                found = (await asyncio.to_thread(vm.get, "virtualservice/one")).get("status", {})
                listed = [each for each in found.get("conditions", ()) if each["type"] == "Reconciled"]
                return listed[0] if listed and listed[0]["status"] == status else {}

            async def events(reason: str) -> list[dict[str, Any]]:
                chosen = f"involvedObject.name=one,reason={reason}"
                return await asyncio.to_thread(vm.items, "events", "--field-selector", chosen)

            said = await until("it is told", lambda: reconciled("False"), 60)
            assert said["reason"] == "RefusedByEnvoy"
            assert "refused by 1 proxy" in said["message"]
            assert said["observedGeneration"] == vm.get("virtualservice/one")["metadata"]["generation"]
            (event,) = await until("it is told of", lambda: events("RefusedByEnvoy"))
            assert event["type"] == "Warning"
            assert event["involvedObject"]["fieldPath"] == "spec.http[0].headers"
            assert client.route() == good, "the last good form is in force"
            await _assert_quiet(vm)
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", timeout="4s"))
            await until("it is mended", lambda: reconciled("True"), 60)
            assert await until("that is told of", lambda: events("Mended"))
            assert client.route() != good
        vm("delete", "virtualservice/one", "service/one", "pod/web", "--now")


async def test_what_one_replica_is_told_by_its_proxies_the_leader_writes(replicas: Replicas) -> None:
    vm = replicas.kubectl.within("vm")
    vm.apply(SERVICE, virtual_service("one", "one", timeout="3s"))
    token = replicas.pod("vm", "web")
    with replicas.running(2, f"--monitoring-address={own_address()}:0") as made, discovery_is_at(replicas, made):
        name = await until("one leads", replicas.leader, 20)
        (other,) = [each for each in made if each.name != name]
        client = Client(refuses=b"marker-of-the-bad-one")
        shown = await replicas.certificate(other, token)
        async with connected(other.secure, client, NODE, channel(other, shown)):
            await has_all(client)
            bad = {"headers": {"request": {"set": {"x-mark": "marker-of-the-bad-one"}}}}
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", **bad))

            async def message() -> str:
                found = await asyncio.to_thread(vm.get, "virtualservice/one")
                listed: list[dict[str, Any]] = found.get("status", {}).get("conditions", [])
                return next((each["message"] for each in listed if each["reason"] == "RefusedByEnvoy"), "")

            assert "refused by 1 proxy" in await until("the leader knows", message, 60)
    vm("delete", "virtualservice/one", "service/one", "pod/web", "--now")


async def test_a_replica_that_starts_knows_what_others_saw_refused_and_what_worked(replicas: Replicas) -> None:
    vm = replicas.kubectl.within("vm")
    vm.apply(SERVICE, virtual_service("one", "one", timeout="3s"))
    token = replicas.pod("vm", "web")
    account = replicas.account()
    bad = {"headers": {"request": {"set": {"x-mark": "marker-of-the-bad-one"}}}}
    with replicas.running(1, kubeconfig=account) as (first,):
        client = Client(refuses=b"marker-of-the-bad-one")
        async with connected(first.secure, client, NODE, channel(first, await replicas.certificate(first, token))):
            await has_all(client)
            good = client.route()
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", **bad))
            root = replicas.kubectl.within("istio-system")
            await until("it is written down", lambda: b"3s" in kept(root), 20)
    with replicas.running(1, kubeconfig=account) as (second,):
        fresh = Client(refuses=b"marker-of-the-bad-one")
        async with connected(second.secure, fresh, NODE, channel(second, await replicas.certificate(second, token))):
            await has_all(fresh)
            assert fresh.route() == good, "a pod that starts now works as those that were there"
            await asyncio.to_thread(vm.apply, virtual_service("one", "one", timeout="4s"))
            await fresh.until("it is mended", lambda: fresh.route() != good, 20)
            await until("it is forgotten", lambda: b"marker" not in kept(root), 20)
        log = second.process.log.read_text()
        assert "forbids" not in log, log
    vm("delete", "virtualservice/one", "service/one", "pod/web", "--now")


def kept(root: Kubectl) -> bytes:
    done = root.run("get", "secret/pilotfish-last-good", "-o", r"jsonpath={.data.last-good\.json}", check=False)
    return base64.b64decode(done.stdout)


async def _assert_quiet(vm: Kubectl) -> None:
    """Nothing writes again and again."""
    before = vm.get("virtualservice/one")["metadata"]["resourceVersion"]
    await asyncio.sleep(3)
    assert vm.get("virtualservice/one")["metadata"]["resourceVersion"] == before


async def test_root_certificates_and_webhooks_are_kept_as_they_should_be(replicas: Replicas) -> None:
    kubectl = replicas.kubectl
    kubectl.apply(HOOK)
    kubectl("create", "namespace", "old")
    kubectl("create", "namespace", "foreign")
    kubectl.within("foreign")("create", "configmap", "istio-ca-root-cert", "--from-literal=root-cert.pem=other")

    def roots(namespace: str) -> str:
        done = kubectl.within(namespace).run("get", ROOT_MAP, "-o", r"jsonpath={.data.root-cert\.pem}", check=False)
        return done.stdout if not done.returncode else ""

    def bundle() -> str:
        found = kubectl.get("mutatingwebhookconfiguration/pilotfish")["webhooks"][0]["clientConfig"]
        return base64.b64decode(found.get("caBundle", "")).decode()

    with replicas.running(2) as (first, second):
        await until("it is there", lambda: roots("old"), 20)
        wanted = roots("old")
        assert "BEGIN CERTIFICATE" in wanted
        await until("the API server trusts it", lambda: bundle() == wanted)
        kubectl("create", "namespace", "new")
        await until("a new namespace has it", lambda: roots("new") == wanted)
        kubectl.within("new")("delete", ROOT_MAP)
        await until("it is back", lambda: roots("new") == wanted)
        kubectl.within("new")("patch", ROOT_MAP, "-p", '{"data": {"root-cert.pem": "mine"}}')
        await until("it is mended", lambda: roots("new") == wanted)
        patch = '[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]'
        kubectl("patch", "mutatingwebhookconfiguration/pilotfish", "--type=json", "-p", patch)
        await until("the API server trusts it again", lambda: bundle() == wanted)
        assert roots("foreign") == "other"
        assert roots("kube-system") == ""
        assert first.process.pid != second.process.pid
    kubectl("delete", "namespace", "old", "new", "foreign", "--wait=false")
    kubectl("delete", "mutatingwebhookconfiguration/pilotfish")


async def test_a_new_root_is_trusted_everywhere_long_before_it_signs(replicas: Replicas) -> None:
    root = replicas.kubectl.within("istio-system")

    def roots() -> int:
        return str(root.get(ROOT_MAP)["data"]).count("BEGIN CERTIFICATE")

    with replicas.running(2):
        await asyncio.to_thread(root.wait, "create", ROOT_MAP)
        before = roots()
        said = replicas.pilotfish("identity", "rotate")
        assert "is trusted now, and signs in 1" in said, said
        await until("the ConfigMap has it", lambda: roots() == before + 1)


async def test_what_an_installation_allows_is_enough(replicas: Replicas) -> None:
    """A role of discovery's account: to share an authority, to lead, and to write what a leader writes."""
    kubectl, vm = replicas.kubectl, replicas.kubectl.within("vm")
    root = kubectl.within("istio-system")
    root("delete", "secret/pilotfish-authority", "lease/pilotfish-leader", "--ignore-not-found")
    kubectl("delete", "configmap", "--all-namespaces", "--field-selector=metadata.name=istio-ca-root-cert")
    kubectl.apply(HOOK)
    vm.apply(virtual_service("odd", "nowhere"), SERVICE)
    token = replicas.pod("vm", "web")
    with replicas.running(1, kubeconfig=replicas.account()) as (replica,):
        assert (await replicas.certificate(replica, token)).chain
        await asyncio.to_thread(vm.wait, "create", ROOT_MAP)
        await asyncio.to_thread(vm.wait, "condition=Reconciled", "virtualservice/odd")
        kubectl.wait(r"jsonpath={.webhooks[0].clientConfig.caBundle}", "mutatingwebhookconfiguration/pilotfish")
        log = replica.process.log.read_text()
        assert "forbids" not in log, log
    assert root.get("lease/pilotfish-leader")["spec"]["holderIdentity"] == "", "it was let go"
    vm("delete", "virtualservice/odd", "service/one", "pod/web", "--now")
    kubectl("delete", "mutatingwebhookconfiguration/pilotfish")


async def test_a_leader_that_is_killed_is_followed(replicas: Replicas) -> None:
    with replicas.running(2) as made:
        name = await until("one leads", replicas.leader, 20)
        next(each for each in made if each.name == name).process.end(signal.SIGKILL)
        await until("the other leads", lambda: replicas.leader() not in ("", name), 40)
        replicas.kubectl("create", "namespace", "later")
        later = replicas.kubectl.within("later")
        await until("it does what a leader does", lambda: later.run("get", ROOT_MAP, check=False).returncode == 0)
        replicas.kubectl("delete", "namespace", "later", "--wait=false")


def test_idle_replicas_are_idle(replicas: Replicas) -> None:
    with replicas.running(2) as made:
        wait_until("one leads", replicas.leader, 20)
        time.sleep(3)
        before = [each.cpu for each in made]
        time.sleep(10)
        used = [each.cpu - was for each, was in zip(made, before, strict=True)]
        assert max(used) < 0.1, "more than 1 % of a core"
