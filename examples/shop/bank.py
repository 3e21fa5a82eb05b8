"""bank: GET /pay?amount=3 answers {"paid": 3, ...}, and which way the order came. It stands for a service outside."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Bank(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for an acknowledgement: 40 ms for each answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        amount = int(parse_qs(urlsplit(self.path).query).get("amount", ["0"])[0])
        body = json.dumps(
            {"paid": amount, "host": self.headers["host"], "way": self.headers.get("x-way", "?")}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("0.0.0.0", 8000), Bank).serve_forever()
