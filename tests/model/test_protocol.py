import pytest

from pilotfish.model import ObjectRef, Problem, Protocol, Proxy, Source


@pytest.mark.parametrize(
    ("name", "app_protocol", "transport", "expected"),
    [
        ("http", "", "TCP", Protocol.HTTP),
        ("http-api", "", "TCP", Protocol.HTTP),
        ("http2", "", "TCP", Protocol.HTTP2),
        ("grpc-calc", "", "TCP", Protocol.GRPC),
        ("grpc-web", "", "TCP", Protocol.GRPC_WEB),
        ("grpc-web-x", "", "TCP", Protocol.GRPC_WEB),
        ("HTTPS-x", "", "TCP", Protocol.HTTPS),
        ("tcp", "", "TCP", Protocol.TCP),
        ("web", "", "TCP", Protocol.AUTO),
        ("", "", "TCP", Protocol.AUTO),
        ("httpx", "", "TCP", Protocol.AUTO),
        ("tcp", "http", "TCP", Protocol.HTTP),
        ("http", "kubernetes.io/h2c", "TCP", Protocol.HTTP2),
        ("http", "example.com/odd", "TCP", Protocol.AUTO),
        ("http", "", "UDP", Protocol.UDP),
    ],
)
def test_what_a_port_declares(name: str, app_protocol: str, transport: str, expected: Protocol) -> None:
    assert Protocol.declared(name, app_protocol, transport) is expected


def test_a_proxy_is_read_from_its_node() -> None:
    proxy = Proxy.parse(
        "sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local",
        {"NAMESPACE": "vm", "LABELS": {"app": "webapp"}, "INSTANCE_IPS": "10.244.0.2,fd70::2"},
    )
    assert proxy is not None
    assert (proxy.name, proxy.namespace, proxy.addresses) == ("webapp-0", "vm", ("10.244.0.2", "fd70::2"))
    assert str(proxy) == "webapp-0.vm"


@pytest.mark.parametrize("node_id", ["", "x", "router~1.2.3.4~a.b~c", "sidecar~~a.b~c", "sidecar~1.2.3.4~a~c"])
def test_other_node_ids_are_no_proxy(node_id: str) -> None:
    assert Proxy.parse(node_id, {}) is None


def test_a_problem_names_place_object_field_and_reason() -> None:
    problem = Problem(
        ObjectRef("Service", "vm", "web"),
        "spec.ports[0].port",
        "InvalidValue",
        "70000 is no port, so the Service is not used; give a number from 1 to 65535",
        source=Source("mesh.yaml", 12),
    )
    assert str(problem) == (
        "mesh.yaml:12: error: Service vm/web spec.ports[0].port: 70000 is no port, so the Service is not used; "
        "give a number from 1 to 65535 [InvalidValue]"
    )
    assert Source.parse("a:b.yaml:12") == Source("a:b.yaml", 12)
