"""calculator: GET /add?a=1&b=2 answers {"result": 3, ...} and says which version, in which pod, worked it out."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Calculator(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for an acknowledgement: 40 ms for each answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/healthz":
            self.answer(200, {})
            return
        try:
            result = float(query["a"][0]) + float(query["b"][0])
        except (KeyError, ValueError):
            self.answer(400, {"error": "give two numbers, as in /add?a=1&b=2"})
            return
        self.answer(
            200, {"result": result, "version": os.environ.get("VERSION", "?"), "pod": os.environ.get("POD_NAME", "?")}
        )

    def answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("0.0.0.0", int(os.environ.get("PORT", "8888"))), Calculator).serve_forever()
