"""Who asks discovery for configuration."""

import pytest

from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType


def test_a_pod_s_proxy_calls_itself_as_istio_s_does() -> None:
    proxy = Proxy.of_pod("webapp-0", "vm", ("10.244.0.2", "fd70::2"))
    assert proxy.id == "sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local"
    assert Proxy.of_pod("a", "b", ("1.2.3.4",), "b.svc.test").id == "sidecar~1.2.3.4~a.b~b.svc.test"
    assert Proxy.parse(proxy.id, {"INSTANCE_IPS": "10.244.0.2,fd70::2"}) == proxy


def test_a_gateway_is_a_router() -> None:
    proxy = Proxy.of_pod("ingress-0", "edge", ("10.244.0.2",), type=ProxyType.ROUTER)
    assert proxy.id == "router~10.244.0.2~ingress-0.edge~edge.svc.cluster.local"
    assert Proxy.parse(proxy.id, {}) == proxy


def test_a_proxy_is_read_from_its_node() -> None:
    proxy = Proxy.parse(
        "sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local",
        {"NAMESPACE": "vm", "LABELS": {"app": "webapp"}, "INSTANCE_IPS": "10.244.0.2,fd70::2"},
    )
    assert proxy is not None
    assert (proxy.name, proxy.namespace, proxy.addresses) == ("webapp-0", "vm", ("10.244.0.2", "fd70::2"))
    assert str(proxy) == "webapp-0.vm"


@pytest.mark.parametrize(
    "node_id",
    [
        "",
        "x",
        "ingress~1.2.3.4~a.b~c",
        "sidecar~~a.b~c",
        "sidecar~1.2.3.4~a~c",
        "sidecar~1.2.3~a.b~c",
        "sidecar~fe80::1%eth0~a.b~c",
        "sidecar~1.2.3.4~a\n.b~c",
        "sidecar~1.2.3.4~a b.c~d",
        "sidecar~1.2.3.4~\udc80.b~c",
        f"sidecar~1.2.3.4~{'a' * 640}.b~c",
    ],
)
def test_other_node_ids_are_no_proxy(node_id: str) -> None:
    assert Proxy.parse(node_id, {}) is None
