"""Answers on port 8000 what was asked, and by whom: the sidecar says it, from the certificate of the other side."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        proven = re.findall(r"URI=([^;,]+)", self.headers.get("x-forwarded-client-cert", ""))
        body = f"{self.path} for {proven[-1] if proven else 'somebody'}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The mesh logs requests."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 8000), Answer).serve_forever()
