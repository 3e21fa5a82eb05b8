"""shop: GET / answers what there is; GET /buy?item=tea has the bank paid. It knows two names, nothing of the mesh."""

import http.client
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CATALOG, BANK = "catalog", "bank.example.com"
PASSED_ON = ("x-tester", "x-request-id")
"""Headers by which the mesh may tell requests apart: whoever calls on behalf of a request hands them on."""


class Refused(Exception):
    """Somebody whom the shop asked did not answer as it should."""


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for an acknowledgement: 40 ms for each answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        try:
            if url.path == "/healthz":
                self.answer(200, {})
            elif url.path == "/buy":
                self.buy(parse_qs(url.query).get("item", [""])[0])
            else:
                self.answer(200, self.ask(CATALOG, "/items"))
        except Refused as error:
            self.answer(502, {"error": str(error)})

    def buy(self, item: str) -> None:
        price = self.ask(CATALOG, "/items")["items"].get(item)
        if price is None:
            self.answer(404, {"error": f"there is no {item or 'item'}"})
        else:
            self.answer(200, {"item": item, **self.ask(BANK, f"/pay?amount={price}")})

    def ask(self, host: str, path: str) -> dict:
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            raise Refused(f"{host} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(f"{host} answers {response.status}")
        return json.loads(body)

    def answer(self, status: int, document: dict) -> None:
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
    Server(("0.0.0.0", 8000), Shop).serve_forever()
