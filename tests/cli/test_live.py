"""The live view of `up`."""

from __future__ import annotations

import io
import threading

import msgspec
import pytest
from rich.console import Console

from pilotfish.cli.live import LiveView
from pilotfish.cli.render.live import render_live
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.control.views import StatusView
from pilotfish.runtime.node.options import ProgressLine
from tests.cli.fakes import NOW, REFUSED, FakeMesh, pod, proxy

EVENTS = tuple(ProgressLine(float(n), f"pod p{n}.vm ready") for n in range(6))


def draw(view: StatusView | None, height: int = 24, width: int = 80) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(render_live("demo", view, EVENTS, NOW, height, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_before_the_mesh_answers() -> None:
    assert draw(None) == [
        "◌ demo  starting",
        "   2.00s  pod p2.vm ready",
        "   3.00s  pod p3.vm ready",
        "   4.00s  pod p4.vm ready",
        "   5.00s  pod p5.vm ready",
        "Ctrl-C takes the mesh down",
    ]


def test_all_is_well(mesh: FakeMesh) -> None:
    assert draw(mesh.status)[:7] == [
        "● demo  ready  2m10s  pods 3/3  proxies 3/3 synced",
        "POD                      READY  STATUS   RESTARTS  AGE    PROXY",
        "calculator-v1-6f-x2x.vm  2/2    Running  0         2m10s  SYNCED",
        "webapp-0.vm              2/2    Running  0         2m10s  SYNCED",
        "lonely.other             2/2    Running  0         2m10s  SYNCED",
        "127.0.0.1:8080 → webapp.vm:8889",
        "   2.00s  pod p2.vm ready",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("pods", [0, 1, 12, 60])
def test_it_fits_the_terminal(mesh: FakeMesh, width: int, pods: int) -> None:
    many = tuple(pod(f"pod-with-a-long-name-{n}") for n in range(pods))
    view = msgspec.structs.replace(mesh.status, pods=many, problems=(REFUSED,) * 9)
    lines = draw(view, 24, width)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert lines[-1] == "Ctrl-C takes the mesh down"
    if pods == 60:
        assert any(line.startswith("and 5") and line.endswith("more") for line in lines)


def test_what_is_wrong_is_shown_first(mesh: FakeMesh) -> None:
    many = (*(pod(f"p{n}") for n in range(40)), pod("bad", ready=False, reason="CrashLoopBackOff"))
    proxies = (*(proxy(f"p{n}") for n in range(39)), proxy("p39", rds="REFUSED"), proxy("bad"))
    down = msgspec.structs.replace(mesh.status.discovery, running=False)
    view = msgspec.structs.replace(
        mesh.status, ready=False, pods=many, proxies=proxies, problems=(REFUSED,) * 7, discovery=down
    )
    lines = draw(view)
    assert lines[0] == "◌ demo  not ready  2m10s  pods 40/41  proxies 40/41 synced  discovery down"
    assert {line.split()[0] for line in lines[2:4]} == {"p39.vm", "bad.vm"}
    assert "RDS REFUSED" in "".join(lines[2:4])
    assert any(line.startswith("mesh.yaml:12: error: VirtualService") for line in lines)
    assert "and 2 more: 'pilotfish get problems'" in lines


def test_the_terminal_follows_the_mesh(mesh: FakeMesh) -> None:
    """What changes is drawn, without being asked for."""
    drawn = threading.Event()

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            if "CrashLoopBackOff" in text:
                drawn.set()
            return super().write(text)

    console = Console(file=Terminal(), width=80, height=24, force_terminal=True, color_system=None)
    with LiveView(Client(mesh.directory), "demo", console) as view:
        view.on_progress(EVENTS[0])
        mesh.set(ready=False, pods=(pod("a", reason="CrashLoopBackOff", ready=False),))
        view.on_progress(ProgressLine(9.0, "pod b.vm was refused", "error"))
        assert drawn.wait(10)
    # The screen goes, what went wrong stays.
    assert console.file.getvalue().endswith("   9.00s  pod b.vm was refused\nmesh demo is down\n")  # type: ignore[attr-defined]
