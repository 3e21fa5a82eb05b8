"""The meshes of this machine."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.table import Table, table
from pilotfish.runtime.control.views import MeshView


def render_meshes(meshes: Iterable[tuple[MeshView, bool]], now: float, wide: bool = False) -> Table:
    """Each mesh with whether its process still runs."""
    header = ("NAME", "STATUS", "PID", "PODS", "AGE", "FROM")
    rows = []
    for mesh, alive in meshes:
        subnet = mesh.pod_subnets[0] if mesh.pod_subnets else "-"
        state, age = "Running" if alive else "Dead", render_age(now - mesh.started_at)
        row = (mesh.name, state, str(mesh.pid), subnet, age, " ".join(mesh.sources))
        rows.append((*row, mesh.default_namespace, mesh.directory) if wide else row)
    return table((*header, "NAMESPACE", "DIRECTORY") if wide else header, rows)
