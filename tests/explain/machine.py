"""A real Envoy that listens in the network namespaces of pods, as a machine's proxy does: with a configuration by hand.

    Envoy's namespace ─┐
    pod's namespace ───┼── bridge
    pod's namespace ───┘

Envoy is user 1337 with CAP_SYS_ADMIN alone. What pods send by TCP is led to its port 15001 in their own namespace.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs
from tests.waiting import wait_until

URL = "type.googleapis.com/"
Json = dict[str, Any]
_ADMIN = 15000
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Pod:
    netns: NetNs
    address: str

    def call(self, address: str, port: int, sent: bytes, source_port: int = 0) -> bytes:
        """What comes back until the end of the connection."""
        with self.netns.socket() as stream:
            stream.settimeout(_PATIENCE)
            if source_port:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stream.bind(("0.0.0.0", source_port))
            stream.connect((address, port))
            try:
                stream.sendall(sent)
                parts = []
                while part := stream.recv(65536):
                    parts.append(part)
            except ConnectionResetError:
                return b""
            return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Machine:
    pods: tuple[Pod, ...]
    netns: NetNs
    """Envoy's own."""

    def ask(self, path: str) -> Json:
        answer = blocking.ask(self.netns.socket(), ("127.0.0.1", _ADMIN), Request("GET", path), _PATIENCE)
        found: Json = json.loads(answer.body)
        return found

    def is_ready(self) -> bool:
        try:
            stream = self.netns.socket()
            return blocking.ask(stream, ("127.0.0.1", _ADMIN), Request("GET", "/ready"), _PATIENCE).status == 200
        except OSError:
            return False


@contextmanager
def running(directory: Path, resources: Any, count: int = 2) -> Iterator[Machine]:
    """`resources`: called with the pods, it gives static_resources."""
    names = [f"pfm-{os.getpid()}-{each}" for each in ("envoy", *range(count))]
    config = Path(f"/tmp/{names[0]}.json")
    made: list[NetNs] = []
    envoy: subprocess.Popen[bytes] | None = None
    try:
        made += (NetNs.create(name) for name in names)
        machine = Machine(tuple(_joined(made)), made[0])
        admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": _ADMIN}}}
        # Where user 1337 may read it, too: pytest's directories are root's alone.
        config.write_text(json.dumps({"admin": admin, "static_resources": resources(machine.pods)}))
        with (directory / "envoy.log").open("wb") as log:
            envoy = subprocess.Popen(_command(names[0], config), stdout=log, stderr=subprocess.STDOUT)
        started = envoy
        wait_until("Envoy serves", lambda: started.poll() is not None or machine.is_ready())
        assert envoy.poll() is None, (directory / "envoy.log").read_text()[-4000:]
        yield machine
    finally:
        if envoy is not None:
            envoy.kill()
            envoy.wait()
        config.unlink(missing_ok=True)
        for netns in made:
            netns.delete()


def _command(netns: str, config: Path) -> Sequence[str]:
    right = ("--inh-caps", "-all,+sys_admin", "--ambient-caps", "+sys_admin")
    as_envoy = ("setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups", *right)
    envoy = (str(find_envoy()), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart")
    return ("ip", "netns", "exec", netns, *as_envoy, *envoy, "-l", "error")


def _joined(made: Sequence[NetNs]) -> Iterator[Pod]:
    """The pods: all but the first of these. The bridge is in the first, Envoy's."""
    envoy, *pods = (each.name for each in made)
    _ip("-n", envoy, "link", "add", "br0", "type", "bridge")
    _ip("-n", envoy, "addr", "add", "10.97.0.1/24", "dev", "br0")
    _ip("-n", envoy, "link", "set", "br0", "up")
    for number, name in enumerate(pods, 2):
        _ip("-n", envoy, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", envoy, "link", "set", f"v{number}", "master", "br0", "up")
        _ip("-n", name, "addr", "add", f"10.97.0.{number}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", "default", "dev", "eth0")
        rule = "*nat\n-A OUTPUT ! -o lo -p tcp -m owner ! --uid-owner 1337 -j REDIRECT --to-ports 15001\nCOMMIT\n"
        command = ("ip", "netns", "exec", name, "iptables-restore")
        subprocess.run(command, input=rule.encode(), check=True, capture_output=True)
        yield Pod(NetNs.named(name), f"10.97.0.{number}")


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)


def answer(chain: str) -> Json:
    """A filter chain that says its name, and closes."""
    kind = f"{URL}envoy.extensions.filters.network.direct_response.v3.Config"
    config = {"@type": kind, "response": {"inline_string": chain}}
    return {"name": chain, "filters": [{"name": "answer", "typed_config": config}]}


def listener_filter(name: str, message: str) -> Json:
    config = {"@type": f"{URL}envoy.extensions.filters.listener.{name}.v3.{message}"}
    return {"name": f"envoy.filters.listener.{name}", "typed_config": config}


ORIGINAL_DST = listener_filter("original_dst", "OriginalDst")
TLS_INSPECTOR = listener_filter("tls_inspector", "TlsInspector")
HTTP_INSPECTOR = listener_filter("http_inspector", "HttpInspector")


def place(address: str, port: int, pod: Pod | None = None) -> Json:
    netns = {"network_namespace_filepath": str(pod.netns.path)} if pod is not None else {}
    return {"socket_address": {"address": address, "port_value": port, **netns}}
