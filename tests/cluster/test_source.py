"""What discovery is told of a real cluster, whatever becomes of the API server and of the way to it."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import signal
from typing import Any

import pytest

from pilotfish.cluster.paths import collection, item
from pilotfish.config import istio, kubernetes
from pilotfish.install.crds import build_crds
from pilotfish.model.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    GATEWAY,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    SERVICE,
    VIRTUAL_SERVICE,
)
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import LASTS, OPENS, OVERDUE, Api
from pilotfish.runtime.cluster.errors import ApiError
from tests.cluster.conftest import MakeApiServer
from tests.cluster.following import Object, Way, asking, following
from tests.freezing import freeze
from tests.waiting import until

_ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount"}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def define_kinds(api: Api) -> None:
    """As another's installation may have left them: they let everything through."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    for each in build_crds({}):
        versions = [version | {"schema": schema} for version in each["spec"]["versions"]]
        definition = each | {"spec": each["spec"] | {"versions": versions}}
        await api.apply(f"{_CRDS}/{each['metadata']['name']}", definition)


async def make_namespace(api: Api, name: str) -> None:
    """With the account that pods are given."""
    await api.send("POST", collection(NAMESPACE), {"metadata": {"name": name}})
    account: Object = {"metadata": {"name": "default"}}
    await api.apply(f"/api/v1/namespaces/{name}/serviceaccounts/default", {**_ACCOUNT, **account}, force=True)


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}


def virtual_service(name: str, host: str) -> Object:
    spec = {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": spec,
    }


async def make_pod(api: Api, namespace: str, name: str, ip: str, node: str = "", **labels: str) -> None:
    """One that runs and is ready."""
    spec = {"containers": [{"name": "app", "image": "none", "ports": [{"name": "http", "containerPort": 8080}]}]}
    placed = {"nodeName": node} if node else {}
    document = {"metadata": {"name": name, "labels": {"app": name, **labels}}, "spec": {**spec, **placed}}
    await api.send("POST", collection(POD, namespace), document)
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}}
    path = item(POD, namespace, name, "status")
    await api.send("PATCH", path, status, content_type="application/merge-patch+json")


async def test_what_is_in_a_cluster_and_what_changes(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        async with asking(server.api.kubeconfig) as api, following(find_access(server.api.kubeconfig)) as found:
            await found.until("the first batch", found.is_synced.is_set)
            assert found.names(SERVICE, "default") == {"kubernetes"}
            assert found.source.problems() == ()

            # A kind that is not there yet is waited for.
            await define_kinds(api)
            await make_namespace(api, "vm")
            await api.send("POST", collection(SERVICE, "vm"), service("web"))
            await until("the kind is served", lambda: api_serves(api, collection(VIRTUAL_SERVICE)))
            await api.send("POST", collection(VIRTUAL_SERVICE, "vm"), virtual_service("web", "web"))
            await found.until("it is told", lambda: found.resource(VIRTUAL_SERVICE.ref("vm", "web")), within=20)
            assert isinstance(found.resource(VIRTUAL_SERVICE.ref("vm", "web")), istio.VirtualService)

            # What its checks refuse is a Problem of object and field, and the last good form stays.
            path = item(VIRTUAL_SERVICE, "vm", "web")
            stored = await api.get(path)
            stored["spec"]["http"][0]["fault"] = {"abort": {"httpStatus": 500, "percentage": {"value": 500}}}
            await api.send("PUT", path, stored)
            await found.until("the problem is told", lambda: found.state.problems)
            [problem] = [each for each in found.state.problems if each.ref == VIRTUAL_SERVICE.ref("vm", "web")]
            assert (problem.field, problem.source) == ("spec.http[0].fault.abort.percentage", None)
            assert found.resource(VIRTUAL_SERVICE.ref("vm", "web")) is not None

            # A pod is where its node is, whichever is told first, and moves with it.
            await make_pod(api, "vm", "web", "10.1.2.3", "a", version="v1")
            zone = "topology.kubernetes.io/zone"
            await api.send("POST", collection(NODE), {"metadata": {"name": "a", "labels": {zone: "z1"}}})
            ref = POD.ref("vm", "web")

            def labels() -> dict[str, str]:
                pod = found.resource(ref)
                return pod.metadata.labels if pod is not None else {}

            await found.until("it has the zone of its node", lambda: labels().get(zone) == "z1")
            assert labels()["kubernetes.io/hostname"] == "a"
            patch: Object = {"metadata": {"labels": {zone: "z2"}}}
            await api.send("PATCH", item(NODE, "", "a"), patch, content_type="application/merge-patch+json")
            await found.until("its zone follows", lambda: labels().get(zone) == "z2")
            pod = found.resource(ref)
            assert isinstance(pod, kubernetes.Pod)
            assert pod.status.pod_ip == "10.1.2.3"
            assert pod.spec.containers[0].ports[0].container_port == 8080
            assert "managedFields" not in found.state.manifests[ref].document["metadata"]  # type: ignore[operator]

            # The meshConfig alone of all ConfigMaps, and credentials alone of all Secrets.
            await make_namespace(api, "istio-system")
            maps = {"istio": {"mesh": "accessLogFile: /dev/stdout"}, "other": {"a": "b"}}
            for name, data in maps.items():
                body: Object = {"metadata": {"name": name}, "data": data}
                await api.send("POST", collection(CONFIG_MAP, "istio-system"), body)
            await found.until("the meshConfig holds", lambda: found.state.mesh_config.access_log_file == "/dev/stdout")
            assert found.names(CONFIG_MAP, "istio-system") == {"istio"}
            encoded = base64.b64encode(b"x").decode()
            for name, data in {"word": {"password": encoded}, "pair": {"tls.crt": encoded, "other": encoded}}.items():
                body = {"metadata": {"name": name}, "type": "Opaque", "data": data}
                await api.send("POST", collection(SECRET, "vm"), body)
            await found.until("the credential is told", lambda: found.names(SECRET, "vm"))
            assert found.names(SECRET, "vm") == {"pair"}
            secret = found.resource(SECRET.ref("vm", "pair"))
            assert isinstance(secret, kubernetes.Secret)
            assert set(secret.data) == {"tls.crt"}

            # And what a Gateway names, as long as it does.
            server_ = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["a.b"]}
            tls = {"mode": "MUTUAL", "credentialName": "pair", "caCertCredentialName": "configmap://vm/roots"}
            gateway: Object = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"}}
            gateway["spec"] = {"selector": {"a": "b"}, "servers": [server_ | {"tls": tls}]}
            for name in ("roots", "more"):
                await api.send(
                    "POST", collection(CONFIG_MAP, "vm"), {"metadata": {"name": name}, "data": {"ca.crt": "x"}}
                )
            await api.send("POST", collection(GATEWAY, "vm"), gateway)
            await found.until("it is told", lambda: found.names(CONFIG_MAP, "vm") == {"roots"})
            await api.send("DELETE", item(GATEWAY, "vm", "g"))
            await found.until("nobody needs it", lambda: found.names(CONFIG_MAP, "vm") == set())

            # A pod that ends is gone; its address is another's then.
            await api.send("DELETE", item(POD, "vm", "web"), gracePeriodSeconds=0)
            await make_pod(api, "vm", "next", "10.1.2.3")
            await found.until("the next has its address", lambda: found.names(POD, "vm") == {"next"})

            # A namespace goes with all that is in it, and is made again.
            await api.send("DELETE", item(NAMESPACE, "", "vm"))
            await found.until("it is gone", lambda: not [r for r in found.state.manifests if r.namespace == "vm"], 20)
            await until("it can be made again", lambda: is_gone(api, item(NAMESPACE, "", "vm")))
            await make_namespace(api, "vm")
            await api.send("POST", collection(SERVICE, "vm"), service("new"))
            await found.until("the new one is told", lambda: found.names(SERVICE, "vm") == {"new"})
            assert found.names(POD, "vm") == set()


async def api_serves(api: Api, path: str) -> bool:
    try:
        await api.get(path)
    except ApiError:
        return False
    return True


async def is_gone(api: Api, path: str) -> bool:
    return not await api_serves(api, path)


async def test_an_api_server_that_goes_and_comes_back(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        access = find_access(server.api.kubeconfig)
        server.end()
        async with asking(server.api.kubeconfig) as api, following(access) as found:
            await found.until("it is said that it is away", found.source.problems)
            [problem] = found.source.problems()
            assert "can't be reached: Connect call failed" in problem.message
            assert " UTC no change of the cluster is known" in problem.message
            assert not found.is_synced.is_set(), "an empty mesh would be served"

            await asyncio.to_thread(server.start)
            await found.until("all is told", found.is_synced.is_set)
            await found.until("all is well", lambda: found.source.away_since() is None)
            for name in ("stays", "goes"):
                await api.send("POST", collection(SERVICE, "default"), service(name))
            await found.until("both are told", lambda: {"stays", "goes"} <= found.names(SERVICE, "default"))

            # A way that is closed meanwhile: what changes then is told after, a deletion too, and by a server that
            # does not remember what it was.
            async with Way(access) as way, following(way.access) as other:
                await other.until("the first batch", other.is_synced.is_set)
                way.close()
                await other.until("it is said that it is away", lambda: other.source.away_since() is not None)
                await api.send("DELETE", item(SERVICE, "default", "goes"))
                await asyncio.to_thread(server.restart)
                await api.send("POST", collection(SERVICE, "default"), service("comes"))
                assert other.names(SERVICE, "default") == {"kubernetes", "stays", "goes"}, "it stays as it was"
                kept = other.state.manifests[SERVICE.ref("default", "stays")]
                way.open()
                after = {"kubernetes", "stays", "comes"}
                await other.until("it is as it is", lambda: other.names(SERVICE, "default") == after, within=5)
                await other.until("all is well", lambda: other.source.away_since() is None)
                assert other.state.manifests[SERVICE.ref("default", "stays")] is kept, "it was read twice"
            await found.until("so does the other", lambda: found.names(SERVICE, "default") == after, within=5)


async def test_watches_that_are_cut_in_the_middle_of_an_event(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        access = find_access(server.api.kubeconfig)
        async with asking(server.api.kubeconfig) as api, Way(access) as way, following(way.access) as found:
            await found.until("the first batch", found.is_synced.is_set)
            chance = random.Random(1)
            expected = {"kubernetes"}
            for number in range(60):
                if number % 3 == 0:
                    way.cut_after(chance.randrange(1, 3000))
                name = f"s{chance.randrange(8)}"
                if name in expected:
                    await api.send("DELETE", item(SERVICE, "default", name))
                    expected.remove(name)
                else:
                    await api.send("POST", collection(SERVICE, "default"), service(name))
                    expected.add(name)
                await asyncio.sleep(chance.random() / 20)
            await found.until("all is as it is", lambda: found.names(SERVICE, "default") == expected)
            await found.until("all is well", lambda: found.source.problems() == ())


async def test_an_etcd_that_stands_still_for_a_while(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        async with asking(server.api.kubeconfig) as api, following(find_access(server.api.kubeconfig)) as found:
            await found.until("the first batch", found.is_synced.is_set)
            freeze(server.etcd.pid)
            try:
                making = asyncio.create_task(api.send("POST", collection(SERVICE, "default"), service("late")))
                await asyncio.sleep(3)
                assert found.names(SERVICE, "default") == {"kubernetes"}
            finally:
                server.etcd.send(signal.SIGCONT)
            await making
            await found.until("it is told", lambda: "late" in found.names(SERVICE, "default"))
            await found.until("all is well", lambda: found.source.problems() == ())


@pytest.mark.long
async def test_a_server_that_hangs_is_noticed_while_its_kernel_answers(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        async with following(find_access(server.api.kubeconfig)) as found:
            await found.until("the first batch", found.is_synced.is_set)
            freeze(server.server.pid)
            try:
                most = 1.2 * LASTS + OVERDUE + OPENS
                await found.until("it is noticed", lambda: found.source.away_since() is not None, within=most + 1)
            finally:
                server.server.send(signal.SIGCONT)
            await found.until("all is well", lambda: found.source.away_since() is None)


async def test_a_way_that_swallows_all_is_noticed(
    make_api_server: MakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotfish.runtime.cluster.reflector.LASTS", 1.0)
    monkeypatch.setattr("pilotfish.runtime.cluster.api.OVERDUE", 1.0)
    with make_api_server() as server:
        access = find_access(server.api.kubeconfig)
        async with asking(server.api.kubeconfig) as api, Way(access) as way, following(way.access) as found:
            await found.until("the first batch", found.is_synced.is_set)
            way.swallow()
            await api.send("POST", collection(SERVICE, "default"), service("new"))
            await found.until("it is noticed", lambda: found.source.away_since() is not None, within=20)
            way.open()
            await found.until("it is told", lambda: "new" in found.names(SERVICE, "default"))


async def test_missing_permissions_are_named_and_waited_for(
    make_api_server: MakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    with make_api_server() as server:
        access = find_access(server.api.user("discovery"))
        async with asking(server.api.kubeconfig) as api, following(access) as found:
            pattern = (
                r"the API server forbids discovery to (list|watch) endpointslices.discovery.k8s.io in the whole "
                r'cluster; allow it by a ClusterRole with apiGroups: \["discovery.k8s.io"\], '
                r'resources: \["endpointslices"\], verbs: \["\1"\] \(list and watch are needed\)'
            )

            def is_said() -> bool:
                return any(re.match(pattern, problem.message) for problem in found.source.problems())

            await found.until("it is said", is_said)
            assert not found.is_synced.is_set(), "without its policies a mesh would be open"
            resources = "namespaces pods services endpointslices configmaps"
            rules = [
                {"apiGroups": ["", "discovery.k8s.io"], "resources": resources.split(), "verbs": ["list", "watch"]}
            ]
            rules.append(
                {"apiGroups": ["networking.istio.io", "security.istio.io"], "resources": ["*"], "verbs": ["*"]}
            )
            await grant(api, "discovery", rules)
            root = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}
            await grant(api, "discovery", [root], "default")
        async with following(access, root_namespace="default") as found:
            await found.until("all that has to be known is", found.is_synced.is_set)
            assert found.names(SERVICE, "default") == {"kubernetes"}
            lacking = " ".join(problem.message for problem in found.source.problems())
            assert {"nodes", "secrets", "ingresses.networking.k8s.io"} <= set(re.findall(r" to \w+ (\S+) in", lacking))
            assert found.source.away_since() is None


async def grant(api: Api, user: str, rules: list[Object], namespace: str = "") -> None:
    kind = "Role" if namespace else "ClusterRole"
    place = f"namespaces/{namespace}/" if namespace else ""
    root = f"/apis/rbac.authorization.k8s.io/v1/{place}{kind.lower()}"
    await api.send("POST", f"{root}s", {"metadata": {"name": user}, "rules": rules})
    subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
    to = {"kind": kind, "name": user, "apiGroup": "rbac.authorization.k8s.io"}
    await api.send("POST", f"{root}bindings", {"metadata": {"name": user}, "subjects": subjects, "roleRef": to})


async def test_all_are_told_of_many(make_api_server: MakeApiServer) -> None:
    """More than a page."""
    with make_api_server() as server:
        async with asking(server.api.kubeconfig) as api:
            slices = [
                {
                    "metadata": {"name": f"s{number}", "labels": {"kubernetes.io/service-name": "s"}},
                    "addressType": "IPv4",
                    "ports": [{"name": "http", "port": 80}],
                    "endpoints": [{"addresses": [f"10.0.{number // 250}.{number % 250}"]}],
                }
                for number in range(1201)
            ]
            path = collection(ENDPOINT_SLICE, "default")
            for start in range(0, len(slices), 50):
                await asyncio.gather(*(api.send("POST", path, each) for each in slices[start : start + 50]))
            async with following(find_access(server.api.kubeconfig)) as found:
                await found.until("the first batch", found.is_synced.is_set)
                assert len(found.names(ENDPOINT_SLICE, "default")) == len(slices)
                assert found.batches == 1
