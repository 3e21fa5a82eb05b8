"""Files that others read while the mesh runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from pilotfish.config.mesh import MeshConfig
from pilotfish.runtime.control.client import process_started
from pilotfish.runtime.control.views import MeshView
from pilotfish.runtime.linux.files import replace_file
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net.names import node_name
from pilotfish.runtime.node.options import UpOptions

TOKEN_KEY: Final = "identity/token.key"
"""In the mesh's directory: what the node signs tokens with; `.pub` beside it is how others check them."""


def roots_path(directory: Path) -> Path:
    """Whom the mesh trusts, PEM, in the mesh's directory."""
    return directory / "discovery" / "ca" / "root-cert.pem"


def write_view(options: UpOptions, pod_subnets: tuple[str, ...]) -> MeshView:
    """mesh.json."""
    view = MeshView(
        name=options.name,
        pid=os.getpid(),
        pid_started=process_started(os.getpid()) or 0,
        directory=str(options.directory.absolute()),
        started_at=time.time(),
        netns=str(NetNs.named(node_name(options.name)).path),
        pod_subnets=pod_subnets,
        sources=options.sources,
        default_namespace=options.namespace,
        service_subnet=str(options.service_cidr),
        egress=options.egress,
        proxy=options.proxy,
    )
    replace_file(options.directory / "mesh.json", _json(view))
    return view


def write_mesh_config(directory: Path, mesh_config: MeshConfig) -> None:
    """config/mesh.yaml. As JSON, which is YAML."""
    replace_file(directory / "config" / "mesh.yaml", _json(mesh_config))


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)) + b"\n"
