"""server WHAT [ADDRESS]: answers WHAT on port 8000. `server mail` greets whoever calls port 2525, as SMTP does."""

import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{sys.argv[1]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The mesh logs requests."""


class Greet(socketserver.StreamRequestHandler):
    """The server speaks first; the client is silent until then."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail ready\r\n")
        self.rfile.readline()


class Threading(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    address = sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0"
    server = (
        Threading((address, 2525), Greet) if sys.argv[1] == "mail" else ThreadingHTTPServer((address, 8000), Answer)
    )
    server.serve_forever()
