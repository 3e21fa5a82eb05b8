"""webapp: asks calculator for every sum and hands its answer on. It knows a name and a port, nothing of the mesh."""

import http.client
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALCULATOR = os.environ.get("CALCULATOR", "calculator:8888")


class Webapp(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for an acknowledgement: 40 ms for each answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, b"{}")
            return
        connection = http.client.HTTPConnection(CALCULATOR, timeout=10)
        try:
            # A request id that comes in goes out again, so that one request can be followed through both proxies.
            request_id = self.headers.get("x-request-id")
            connection.request("GET", self.path, headers={"x-request-id": request_id} if request_id else {})
            response = connection.getresponse()
            self.answer(response.status, response.read())
        except OSError as error:
            self.answer(502, f'{{"error": "calculator does not answer: {error}"}}'.encode())
        finally:
            connection.close()

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("0.0.0.0", int(os.environ.get("PORT", "8889"))), Webapp).serve_forever()
