"""One request over TLS, and what the client saw of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    answer: str = ""
    """Text that begins with ERROR if none came."""
    certificate: str = ""
    """The server's common name."""
    version: str = ""
    alpn: str = ""
    cipher: str = ""


def call_tls(
    netns: str,
    address: str,
    port: int,
    sent: str,
    *,
    server_name: str = "",
    trusted: Path,
    shown: Path | None = None,
    alpn: tuple[str, ...] = (),
    highest: str = "",
    source: str = "",
) -> Seen:
    """`trusted` is the authority's certificate, `shown` NAME of the client's NAME.pem and NAME.key, `highest` the
    highest version that it speaks (`TLSv1_1`), `source` the address that it calls from."""
    asked = {
        "address": address,
        "port": port,
        "sent": sent,
        "name": server_name,
        "trusted": str(trusted),
        "shown": str(shown or ""),
        "alpn": alpn,
        "highest": highest,
        "source": source,
    }
    command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _CLIENT]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=15, check=True)
    return Seen(**json.loads(done.stdout))


_CLIENT = """
import json, socket, ssl, sys
asked, seen = json.load(sys.stdin), {}
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(asked["trusted"])
if asked["shown"]:
    context.load_cert_chain(asked["shown"] + ".pem", asked["shown"] + ".key")
if asked["alpn"]:
    context.set_alpn_protocols(asked["alpn"])
if asked["highest"]:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[asked["highest"]]
answer = b""
try:
    source = (asked["source"], 0) if asked["source"] else None
    with socket.create_connection((asked["address"], asked["port"]), timeout=5, source_address=source) as s:
        with context.wrap_socket(s, server_hostname=asked["name"] or None) as t:
            subject = t.getpeercert()["subject"]
            seen["certificate"] = "".join(v for part in subject for k, v in part if k == "commonName")
            seen |= {"version": t.version(), "alpn": t.selected_alpn_protocol() or "", "cipher": t.cipher()[0]}
            t.sendall(asked["sent"].encode())
            while data := t.recv(65536):
                answer += data
    seen["answer"] = answer.decode()
except OSError as error:
    seen["answer"] = f"ERROR {error}"
json.dump(seen, sys.stdout)
"""
