"""What goes wrong with one pod of a machine's proxy costs no other."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.pods import served
from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, command: [sleep, infinity]}}]
"""
URL = "http://served:8000/"


def pod(name: str, namespace: str = "vm") -> str:
    return POD.format(name=name, namespace=namespace)


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    """One that is called, and more that call than nodes start Envoys at once."""
    many = {f"{name}.yaml": pod(name) for name in ("one", "two", "three", "four", "five", "six")}
    with make_mesh(
        "e2e-node-faults", {"served.yaml": served("served", namespace="vm"), **many}, "--proxy", "node"
    ) as made:
        yield made


def machines_proxy(mesh: Mesh) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in mesh.status["proxies"] if each.get("serves"))
    return found


def view(mesh: Mesh, name: str) -> dict[str, Any]:
    return next((each for each in mesh.status["pods"] if each["name"] == name), {})


def ready(mesh: Mesh, *names: str) -> None:
    wait_until(f"{names} are ready", lambda: all(view(mesh, name).get("ready") for name in names), within=20)


@contextmanager
def no_certificates(mesh: Mesh) -> Iterator[None]:
    """Nobody in a pod reaches the authority; the machine's Envoy does."""
    rule = ["INPUT", "!", "-i", "lo", "-p", "tcp", "--dport", "15012", "--syn", "-j", "REJECT"]
    inside = ["ip", "netns", "exec", f"pf-{mesh.name}", "iptables", "-w"]
    subprocess.run([*inside, "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "-D", *rule], check=True)


def test_a_pod_without_a_certificate_holds_up_nobody(mesh: Mesh) -> None:
    """An Envoy that starts waits for all that it is told to show, so it is not told of that pod."""
    before = machines_proxy(mesh)
    with no_certificates(mesh):
        mesh.write("late.yaml", pod("late"))
        wait_until("it asks in vain", lambda: "no certificate yet" in str(view(mesh, "late").get("containers")))
        os.kill(before["pid"], signal.SIGKILL)
        wait_until("another Envoy", lambda: machines_proxy(mesh)["restarts"] > before["restarts"])
        assert mesh.status_code("one.vm", URL) == "200"
        ready(mesh, "one", "six", "served")
        mesh.write("seven.yaml", pod("seven"))
        assert not view(mesh, "late")["ready"]
    ready(mesh, "late", "seven")
    assert mesh.status_code("late.vm", URL) == "200"


BAD = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: served, namespace: vm}}
spec:
  hosts: [served]
  http:
  - match: [{{sourceLabels: {{app: two}}, queryParams: {{? {"q" * 1025} : {{exact: "1"}}}}}}]
    route: [{{destination: {{host: served}}}}]
  - route: [{{destination: {{host: served}}}}]
"""
"""A name of a parameter that Envoy takes for too long, in the routes of one pod alone."""


def test_what_is_refused_for_one_pod_is_nobody_elses_trouble(mesh: Mesh) -> None:
    mesh.write("refused.yaml", BAD)
    wait_until("it is named", lambda: [p for p in mesh.status["problems"] if p["reason"] == "RefusedByEnvoy"])
    (problem,) = (p for p in mesh.status["problems"] if p["reason"] == "RefusedByEnvoy")
    assert "refused.yaml" in problem["source"]
    mesh.write("eight.yaml", pod("eight"))
    ready(mesh, "eight")
    for name in ("one", "two", "eight"):
        assert mesh.status_code(f"{name}.vm", URL) == "200"
    mesh.write("refused.yaml", BAD.replace("q" * 1025, "q").replace("app: two", "app: one"))
    wait_until("it is mended", lambda: "RefusedByEnvoy" not in str(mesh.status["problems"]))
    (mesh.sources / "refused.yaml").unlink()


SPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: again}
---
"""


def test_a_namespace_that_goes_and_comes_again_is_as_new(mesh: Mesh) -> None:
    for _ in range(2):
        mesh.write("again.yaml", SPACE + pod("inside", "again"))
        ready(mesh, "inside")
        assert mesh.status_code("inside.again", "http://served.vm:8000/") == "200"
        (mesh.sources / "again.yaml").unlink()
        wait_until("it is gone", lambda: not view(mesh, "inside"), within=20)
    assert "inside.again" not in str(machines_proxy(mesh)["serves"])


def test_pods_that_go_while_envoy_hangs_are_gone_once_it_goes_on(mesh: Mesh) -> None:
    """No longer than pods wait for a proxy that does not answer; those of their names are others then."""
    envoy = machines_proxy(mesh)["pid"]
    mesh.write("goes.yaml", pod("goes"))
    ready(mesh, "goes")
    old = view(mesh, "goes")["created_at"]
    os.kill(envoy, signal.SIGSTOP)
    try:
        (mesh.sources / "goes.yaml").unlink()
        wait_until("it is being removed", lambda: view(mesh, "goes").get("reason") != "Running")
        mesh.write("goes.yaml", pod("goes"))
        wait_until("the old one is gone", lambda: view(mesh, "goes").get("created_at", old) != old, within=30)
    finally:
        os.kill(envoy, signal.SIGCONT)
    ready(mesh, "goes")
    assert mesh.status_code("goes.vm", URL) == "200"
    assert machines_proxy(mesh)["pid"] == envoy
