"""Programs that run in pods."""

PEERS = '''
"""Says who asks: HTTP on 8000, of both families, and TCP on 7000 of the address argv[1], where the server speaks first
and then echoes."""
import ipaddress, socket, socketserver, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def peer(address):
    found = ipaddress.ip_address(address[0])
    return str(getattr(found, "ipv4_mapped", None) or found)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(peer(self.client_address))))
        self.end_headers()
        self.wfile.write(peer(self.client_address).encode())

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(f"hello {peer(self.client_address)}\\n".encode())
        self.wfile.write(self.rfile.readline())

class Http(ThreadingHTTPServer):
    address_family = socket.AF_INET6

class Tcp(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    allow_reuse_address = True
    daemon_threads = True

threading.Thread(target=Tcp((sys.argv[1], 7000), Echo).serve_forever, daemon=True).start()
Http(("::", 8000), Handler).serve_forever()
'''

TALK = (
    "import socket,sys; s=socket.create_connection((sys.argv[1],7000),5); f=s.makefile('rw');"
    "print(f.readline().strip()); f.write('ping\\n'); f.flush(); print(f.readline().strip())"
)
"""A client of TCP 7000 at argv[1]: prints `hello PEER`, and `ping`."""
