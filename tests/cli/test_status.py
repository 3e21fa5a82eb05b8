"""`pilotfish status`."""

from __future__ import annotations

import json
from textwrap import dedent

import msgspec

from pilotfish.cli.render.status import render_status
from pilotfish.runtime.control.views import InboundView, StatusView
from tests.cli.conftest import Invoke
from tests.cli.fakes import NOW, REFUSED, FakeMesh, container, pod, proxy

SCREEN = """\
mesh demo: ready, 3 of 3 pods, 3 of 3 proxies synced, up 2m10s
  from       examples/calculator
  namespace  vm
  addresses  10.244.0.0/16, fd70:6600:244::/64
  discovery  running, xDS 10.244.0.1:15010, monitoring 10.244.0.1:15014
  directory  /run/pilotfish/demo

NAMESPACE   NAME                   READY   STATUS    RESTARTS   AGE     IP           PROXY
vm          calculator-v1-6f-x2x   2/2     Running   0          2m10s   10.244.0.3   SYNCED
vm          webapp-0               2/2     Running   0          2m10s   10.244.0.2   SYNCED
other       lonely                 2/2     Running   0          2m10s   10.244.0.2   SYNCED

PUBLISHED        SERVICE
127.0.0.1:8080   webapp.vm:8889
"""


def test_one_screen(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("status")
    assert result.exit_code == 0
    assert result.stdout == SCREEN.replace("/run/pilotfish/demo", str(mesh.directory))


def test_how_much_is_mutual_tls(mesh: FakeMesh, invoke: Invoke) -> None:
    some = InboundView(connections=12, mutual=9)
    plain = [proxy(name, inbound=some) for name in ("a", "b", "c", "d")]
    mesh.set(inbound=some, proxies=(proxy("webapp-0", inbound=InboundView(connections=3, mutual=3)), *plain))
    assert "  mutual TLS 9 of 12 connections; others to a.vm, b.vm, c.vm and 1 more\n" in invoke("status").stdout
    mesh.set(proxies=(proxy("webapp-0", inbound=some),), inbound=InboundView(connections=9, mutual=9))
    assert json.loads(invoke("status", "-o", "json").stdout)["inbound"] == {"connections": 9, "mutual": 9}


def test_what_is_no_problem_of_a_ready_mesh_is_a_note(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(problems=(msgspec.structs.replace(REFUSED, severity="info", message="it stays as it is", proxies=()),))
    result = invoke("status")
    assert (result.exit_code, "PROBLEMS" in result.stdout) == (0, False)
    assert result.stdout.partition("NOTES\n")[2].startswith("mesh.yaml:12: info: VirtualService vm/calculator")


def test_what_is_wrong_is_shown_and_fails(mesh: FakeMesh, invoke: Invoke) -> None:
    crashing = container(
        state="waiting",
        reason="CrashLoopBackOff",
        message="exit code 3; see its log",
        ready=False,
        restarts=3,
        pid=None,
        started_at=NOW - 12,
    )
    silent = container("istio-proxy", "proxy", message="Envoy does not answer", ready=False)
    mesh.set(
        ready=False,
        pods=(
            pod("a", reason="CrashLoopBackOff", ready=False, containers=(crashing, silent)),
            pod("b", notes=("port 80 is listened to on loopback only",)),
        ),
        proxies=(proxy("a"), proxy("b", rds="REFUSED", lds="STALE")),
        published=(),
        problems=(REFUSED,),
    )
    result = invoke("status")
    assert result.exit_code == 1
    assert result.stdout.startswith("mesh demo: not ready, 1 of 2 pods, 1 of 2 proxies synced, 1 error, up 2m10s\n")
    assert result.stdout.partition("\n\n")[2] == dedent(
        """\
        NAMESPACE   NAME   READY   STATUS             RESTARTS      AGE     IP           PROXY
        vm          a      0/2     CrashLoopBackOff   3 (12s ago)   2m10s   10.244.0.2   SYNCED
        vm          b      2/2     Running            0             2m10s   10.244.0.2   RDS REFUSED

        NOTES
        b.vm: port 80 is listened to on loopback only
        a.vm: container app: CrashLoopBackOff: exit code 3; see its log
        a.vm: container istio-proxy: Envoy does not answer

        PROBLEMS
        mesh.yaml:12: error: VirtualService vm/calculator spec.http[0].match[0]: \
Envoy refused it: bad regex; the last good form stays in force (refused by webapp-0.vm) [Nack]
        """
    )


def test_discovery_that_is_down_is_said(mesh: FakeMesh) -> None:
    down = msgspec.structs.replace(mesh.status.discovery, running=False, restarts=2)
    text = render_status(msgspec.structs.replace(mesh.status, discovery=down), NOW)
    assert "  discovery  not running, 2 restarts; its log is discovery.log in the mesh's directory\n" in text


def test_json_has_every_field_and_is_the_view(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(ready=False)
    result = invoke("status", "-o", "json")
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout, type=StatusView) == mesh.status
    assert json.loads(result.stdout)["problems"] == []
    assert "pods:\n- namespace: vm\n" in invoke("status", "-o", "yaml").stdout
