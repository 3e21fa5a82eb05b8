"""catalog: GET /items answers what there is and what it costs, and which version says so. v2 has scones, too."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "v1")
ITEMS = {"tea": 3, "cake": 4} | ({"scone": 2} if VERSION == "v2" else {})


class Catalog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for an acknowledgement: 40 ms for each answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        known = self.path in ("/items", "/healthz")
        body = json.dumps({"items": ITEMS, "version": VERSION} if known else {"error": "there is only /items"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("0.0.0.0", 8000), Catalog).serve_forever()
