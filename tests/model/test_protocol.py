import pytest

from pilotfish.model import Protocol


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
        ("tcp", "HTTP-own", "TCP", Protocol.HTTP),
        ("http", "grpc-web-own", "TCP", Protocol.GRPC_WEB),
        ("http", "kubernetes.io/ws", "TCP", Protocol.HTTP),
        ("http", "kubernetes.io/wss", "TCP", Protocol.HTTPS),
        ("http", "kubernetes.io/h2c", "TCP", Protocol.HTTP2),
        ("http", "example.com/odd", "TCP", Protocol.AUTO),
        ("http", "", "UDP", Protocol.UDP),
    ],
)
def test_what_a_port_declares(name: str, app_protocol: str, transport: str, expected: Protocol) -> None:
    assert Protocol.declared(name, app_protocol, transport, 8000) is expected


@pytest.mark.parametrize("number", [25, 53, 3306, 27017])
def test_a_port_where_the_server_speaks_first_is_not_sniffed(number: int) -> None:
    """As Istio has it; what is declared there holds as anywhere.

    Source: https://github.com/istio/istio/blob/master/pkg/config/kube/conversion.go
    """
    assert Protocol.declared("db", "", "TCP", number) is Protocol.TCP
    assert Protocol.declared("", "example.com/odd", "TCP", number) is Protocol.TCP
    assert Protocol.declared("http-db", "", "TCP", number) is Protocol.HTTP
    assert Protocol.declared("", "", "UDP", number) is Protocol.UDP


@pytest.mark.parametrize(
    "name",
    ["tcp", "udp", "grpc", "GRPC-Web", "HTTP", "HTTP_PROXY", "http2", "HTTPS", "tls", "Mongo", "Redis", "MySQL"],
)
def test_all_protocols_of_istios_are_known(name: str) -> None:
    """Source: https://github.com/istio/istio/blob/master/pkg/config/protocol/instance.go"""
    protocol = Protocol.parse(name)
    assert protocol is not None
    assert protocol.is_http == (name.upper() in ("GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2"))
