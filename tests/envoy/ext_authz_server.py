"""Decides for Envoy, by HTTP and by gRPC: `tests/envoy/ext_authz.py` starts it. ADDRESS HTTP_PORT GRPC_PORT"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from envoy.type.v3.http_status_pb2 import HttpStatus


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        allowed = self.headers.get("x-ext-authz") == "allow"
        body = b"" if allowed else b"denied by ext_authz for not found header `x-ext-authz: allow` in the request"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200 if allowed else 403)
        received = f"{self.command} {self.path} {dict(self.headers.items())}"
        self.send_header("x-ext-authz-check-result", "allowed" if allowed else "denied")
        self.send_header("x-ext-authz-check-received", received)
        override = self.headers.get("x-ext-authz-additional-header-override", "")
        self.send_header("x-ext-authz-additional-header-override", override)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *args: Any) -> None:
        pass


def check(request: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
    said = request.attributes.request.http.headers.get("x-ext-authz")
    if said == "late":
        given_up = Event()
        if context.add_callback(given_up.set):
            given_up.wait()
    is_known = request.attributes.source.principal.endswith("/sa/a")
    allowed = said == "allow" if said is not None else is_known
    told = {
        "x-ext-authz-check-result": "allowed" if allowed else "denied",
        "x-ext-authz-check-received": " ".join(str(request).split()),
        "x-ext-authz-additional-header-override": "grpc-additional-header-override-value",
    }
    headers = [HeaderValueOption(header=HeaderValue(key=key, value=value)) for key, value in told.items()]
    if allowed:
        return CheckResponse(ok_response=OkHttpResponse(headers=headers))
    response = CheckResponse(denied_response=DeniedHttpResponse(headers=headers, status=HttpStatus(code=403)))
    response.status.code = 7
    return response


def serve(address: str, http: int, grpc_port: int) -> None:
    server = grpc.server(ThreadPoolExecutor(4))
    method = grpc.unary_unary_rpc_method_handler(check, CheckRequest.FromString, CheckResponse.SerializeToString)
    name = "envoy.service.auth.v3.Authorization"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Check": method}),))
    server.add_insecure_port(f"{address}:{grpc_port}")
    server.start()
    by_http = ThreadingHTTPServer((address, http), Handler)
    print("ready", flush=True)
    by_http.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
