"""Servers that decide for Envoy, by HTTP and by gRPC, as Istio's sample does.

A request with `x-ext-authz: allow` is allowed. By gRPC one without that header is if its peer's account is `a`;
`x-ext-authz: late` is not answered as long as somebody waits.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.envoy.conftest import LiveEnvoy

_SERVER: Final = str(Path(__file__).with_name("ext_authz_server.py"))


def start_ext_authz(live: LiveEnvoy, address: str, http: int = 8000, grpc: int = 9000) -> None:
    command = ["ip", "netns", "exec", live.peer, sys.executable, _SERVER, address, str(http), str(grpc)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
