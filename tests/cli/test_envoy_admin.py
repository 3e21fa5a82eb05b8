"""What Envoys are asked while a command loads the rest of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.cli.envoy_admin import LISTENERS, Asked
from pilotfish.cli.failure import Failure
from pilotfish.cli.mesh.machine import Machine
from pilotfish.runtime.errors import MachineError
from tests.cli.fakes import mesh_view, pod

_MESH = Machine(mesh_view("none", Path("/nowhere")))


def test_a_pod_that_goes_meanwhile_is_told_of_by_who_asks(capfd: pytest.CaptureFixture[str]) -> None:
    gone, asked = pod("gone-0", netns="/run/netns/gone-0", captured=True), Asked(_MESH)
    asked.foresee(gone, LISTENERS)
    for _ in range(2):
        with pytest.raises(MachineError, match="/run/netns/gone-0 can't be opened"):
            asked.read(gone, LISTENERS)
    assert capfd.readouterr().err == ""


def test_a_pod_without_a_proxy_is_asked_nothing() -> None:
    asked, bare = Asked(_MESH), pod("bare-0", captured=False)
    asked.foresee(bare, LISTENERS)
    with pytest.raises(Failure, match="has no sidecar"):
        asked.read(bare, LISTENERS)
