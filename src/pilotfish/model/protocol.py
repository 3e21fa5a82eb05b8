"""The protocol that a service port declares.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    HTTP = "HTTP"
    HTTP_PROXY = "HTTP_PROXY"
    """Requests to a forward proxy: HTTP/1 as well."""
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-WEB"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"
    MONGO = "MONGO"
    MYSQL = "MYSQL"
    REDIS = "REDIS"
    AUTO = "AUTO"
    """Nothing was declared: Envoy sniffs the first bytes."""

    @property
    def is_http(self) -> bool:
        """The proxy reads requests: HTTP/1, HTTP/2 or gRPC in the clear."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Every request is HTTP/2, so the upstream is spoken to in HTTP/2."""
        return self in (Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_grpc(self) -> bool:
        return self in (Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_tls(self) -> bool:
        """The application speaks TLS itself: the proxy sees no more than the server name."""
        return self in (Protocol.HTTPS, Protocol.TLS)

    @property
    def is_server_first(self) -> bool:
        """The server may speak before the client does: a wait for the client's first bytes would stall both."""
        return self in (Protocol.TCP, Protocol.MYSQL)

    @property
    def is_sniffed(self) -> bool:
        return self is Protocol.AUTO

    @classmethod
    def parse(cls, text: str) -> Protocol | None:
        """A protocol by its Istio name, in any case (`http2`, `gRPC-Web`); None if there is no such protocol."""
        return _BY_NAME.get(text.lower())

    @classmethod
    def declared(cls, port_name: str, app_protocol: str, transport: str, number: int) -> Protocol:
        """What a Service port declares: `appProtocol`, else the port's name; of either what stands before its first
        dash.

        Where it declares nothing, Istio sniffs but on the ports of protocols in which the server speaks first.
        """
        if transport == "UDP":
            return cls.UDP
        name = (app_protocol or port_name).lower()
        if app_protocol and name in _APP_PROTOCOLS:
            return _APP_PROTOCOLS[name]
        if name.startswith("grpc-web"):
            return cls.GRPC_WEB
        return cls.parse(name.partition("-")[0]) or (cls.TCP if number in _SERVER_FIRST_PORTS else cls.AUTO)


_HTTP = frozenset({Protocol.HTTP, Protocol.HTTP_PROXY, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})
_BY_NAME = {p.value.lower(): p for p in Protocol if p is not Protocol.AUTO}
_SERVER_FIRST_PORTS = frozenset({25, 53, 3306, 27017})
"""SMTP, DNS, MySQL and MongoDB, in Istio's list: https://github.com/istio/istio/blob/master/pkg/config/kube/conversion.go"""
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
