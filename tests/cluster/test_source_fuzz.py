"""Fuzz: what an API server accepts of the kinds that are read can be read, and something follows from it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cluster.paths import collection
from pilotfish.cluster.reading import Reader
from pilotfish.config.desired import DesiredState, update
from pilotfish.discovery.plane import ControlPlane
from pilotfish.model.kind import Kind
from pilotfish.model.kinds import (
    CONFIG_MAP,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    INGRESS,
    NAMESPACE,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ENTRY,
    VIRTUAL_SERVICE,
)
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError
from tests.cluster.conftest import MakeApiServer
from tests.cluster.test_source import api_serves, define_kinds, make_namespace
from tests.fuzz.profile import fuzzed
from tests.waiting import until

READER = Reader(CONFIG_MAP.ref("istio-system", "istio"))
Object = dict[str, Any]
Documents = st.SearchStrategy[Object]


def some(always: dict[str, st.SearchStrategy[Any]] | None = None, /, **fields: st.SearchStrategy[Any]) -> Documents:
    """Any of them, and any not."""
    return st.fixed_dictionaries(always or {}, optional=fields)


def named(items: Documents, most: int) -> st.SearchStrategy[list[Object]]:
    """Of one name the last."""
    return st.lists(items, max_size=most).map(lambda found: list({each["name"]: each for each in found}.values()))


WORDS = st.sampled_from(["a", "b", "web", "http-1", "grpc-x", "x" * 15, "app.kubernetes.io/name", "true", "1", ""])
LABELS = st.sampled_from(["a", "app", "version", "kubernetes.io/service-name", "topology.istio.io/subzone"])
NAMES = st.sampled_from(["a", "b", "web", "http-1", "x" * 15])
PORTS = st.sampled_from([1, 80, 443, 8080, 15006, 65535])
MAPS = st.dictionaries(LABELS, NAMES, max_size=3)
PROTOCOLS = st.sampled_from(["TCP", "UDP", "SCTP"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | WORDS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(WORDS, inside, max_size=3),
    max_leaves=10,
)
SERVICES = some(
    {
        "ports": st.tuples(
            some(
                {"name": NAMES, "port": PORTS},
                targetPort=PORTS | NAMES,
                protocol=PROTOCOLS,
                appProtocol=st.sampled_from(["http", "kubernetes.io/h2c", "example.com/y"]),
            )
        ).map(list)
    },
    type=st.sampled_from(["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"]),
    selector=MAPS,
    clusterIP=st.sampled_from(["None", "", "10.96.3.3"]),
    externalName=st.sampled_from(["a.example", "10.0.0.1"]),
    externalIPs=st.lists(st.just("203.0.113.9"), max_size=1),
    publishNotReadyAddresses=st.booleans(),
    sessionAffinity=st.sampled_from(["None", "ClientIP"]),
    internalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
    trafficDistribution=st.sampled_from(["PreferClose", "PreferSameNode"]),
    ipFamilyPolicy=st.sampled_from(["SingleStack", "PreferDualStack"]),
)
CONTAINERS = some(
    {"name": NAMES | st.just("istio-proxy"), "image": st.just("none")},
    args=st.lists(WORDS, max_size=2),
    ports=named(some({"name": NAMES, "containerPort": PORTS}, protocol=PROTOCOLS), 2),
    env=named(some({"name": NAMES}, value=WORDS), 2),
)
PODS = some(
    {"containers": named(CONTAINERS, 2).filter(bool)},
    initContainers=named(some({"name": st.sampled_from(["i", "j"]), "image": st.just("none")}), 2),
    hostname=NAMES,
    subdomain=NAMES,
    nodeName=NAMES,
    hostNetwork=st.booleans(),
    volumes=named(some({"name": NAMES, "nfs": st.just({"server": "a", "path": "/b"})}), 2),
)
V4 = st.sampled_from(["10.0.0.1", "10.0.0.2", "192.0.2.7"])
SLICES = some(
    {"addressType": st.just("IPv4")},
    ports=named(some({"name": NAMES, "port": PORTS}, protocol=PROTOCOLS), 2) | st.none(),
    endpoints=st.lists(
        some(
            {"addresses": st.tuples(V4).map(list)},
            conditions=some(ready=st.booleans() | st.none(), serving=st.booleans(), terminating=st.booleans()),
            targetRef=some(kind=st.sampled_from(["Pod", "Node", "x"]), name=WORDS, namespace=WORDS),
            hostname=NAMES,
            zone=NAMES,
            nodeName=NAMES,
        ),
        max_size=3,
    ),
)
BACKENDS = st.fixed_dictionaries(
    {"service": st.fixed_dictionaries({"name": NAMES, "port": some({"number": PORTS}) | some({"name": NAMES})})}
)
PATHS = some(
    {
        "path": st.sampled_from(["/", "/a", "/a/*", "/.*"]),
        "pathType": st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]),
        "backend": BACKENDS,
    }
)
INGRESSES = some(
    {"defaultBackend": BACKENDS},
    ingressClassName=NAMES | st.just("istio"),
    tls=st.lists(some(hosts=st.lists(st.sampled_from(["a.b", "*.b"]), max_size=2), secretName=NAMES), max_size=2),
    rules=st.lists(
        some(
            host=st.sampled_from(["a.b", "*.b"]),
            http=st.fixed_dictionaries({"paths": st.lists(PATHS, min_size=1, max_size=2)}),
        ),
        max_size=2,
    ),
)
HOSTS = st.sampled_from(["a", "a.b", "*.b", "*", "web.vm.svc.cluster.local", "ä", ""])
SPECS: dict[Kind, Documents] = {
    SERVICE: st.fixed_dictionaries({"spec": SERVICES}),
    POD: st.fixed_dictionaries({"spec": PODS}),
    ENDPOINT_SLICE: SLICES,
    INGRESS: st.fixed_dictionaries({"spec": INGRESSES}),
    NAMESPACE: st.just({}),
    CONFIG_MAP: some(data=st.dictionaries(st.sampled_from(["mesh", "a"]), WORDS), binaryData=st.just({"b": "AA=="})),
    SECRET: some(
        type=st.sampled_from(["Opaque", "kubernetes.io/tls"]),
        data=st.dictionaries(st.sampled_from(["tls.crt", "tls.key", "ca.crt", "x"]), st.sampled_from(["", "AA=="])),
        immutable=st.booleans(),
    ),
    # Definitions that another installation left let everything through.
    VIRTUAL_SERVICE: st.fixed_dictionaries({"spec": some(hosts=st.lists(HOSTS), http=ANYTHING, tcp=ANYTHING)}),
    DESTINATION_RULE: st.fixed_dictionaries({"spec": some(host=HOSTS, trafficPolicy=ANYTHING, subsets=ANYTHING)}),
    SERVICE_ENTRY: st.fixed_dictionaries(
        {"spec": some(hosts=st.lists(HOSTS), ports=ANYTHING, endpoints=ANYTHING, resolution=WORDS, addresses=ANYTHING)}
    ),
}
METADATA = st.fixed_dictionaries({"name": NAMES}, optional={"labels": MAPS, "annotations": MAPS})


@st.composite
def documents(draw: st.DrawFn) -> tuple[Kind, Object]:
    kind = draw(st.sampled_from(list(SPECS)))
    return kind, {"metadata": draw(METADATA), **draw(SPECS[kind])}


@pytest.mark.timeout(300)
def test_whatever_an_api_server_accepts_is_read(make_api_server: MakeApiServer) -> None:
    accepted: dict[Kind, int] = dict.fromkeys(SPECS, 0)
    with make_api_server() as server, asyncio.Runner() as runner:
        api = Api(find_access(server.api.kubeconfig), "tests")

        async def prepare() -> None:
            await api.__aenter__()
            await define_kinds(api)
            await make_namespace(api, "vm")
            await make_namespace(api, "istio-system")
            for kind in SPECS:
                await until(f"{kind} is served", partial(api_serves, api, collection(kind)))

        @fuzzed(160)
        @given(documents())
        def read(given_: tuple[Kind, Object]) -> None:
            kind, document = given_
            version = kind.versions[0]
            head = {"apiVersion": f"{kind.group}/{version}" if kind.group else version, "kind": kind.name}
            path = collection(kind, "istio-system" if kind is CONFIG_MAP else "vm")
            try:
                stored = runner.run(api.send("POST", path, head | document, dryRun="All"))
            except ApiError as error:
                if error.code not in (400, 403, 409, 422):
                    raise
                return
            accepted[kind] += 1
            ref = kind.ref(stored["metadata"].get("namespace", ""), stored["metadata"]["name"])
            loaded = READER.read(kind, ref, msgspec.json.encode(stored))
            assert loaded is None or not [
                each for each in loaded.problems if each.reason in ("InternalError", "Unreadable")
            ]
            state = update(DesiredState(), {"x": loaded})
            plane = ControlPlane()
            plane.change(state, 0.0)
            assert plane.broken is None
            plane.mesh.problems(1.0)

        try:
            runner.run(prepare())
            read()
        finally:
            runner.run(api.__aexit__())
    assert sum(accepted.values()) > 80, accepted
    assert all(accepted.values()), accepted
