"""What a Pod manifest promises holds on one machine as it does in Kubernetes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, config.ini: "[main]\\nlevel=1\\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec:
  selector: {app: other}
  ports: [{name: http, port: 8000}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: other}}
spec:
  containers: [{name: web, command: [python3, -m, http.server, "8000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: full, labels: {app: full, tier: "1"}}
spec:
  terminationGracePeriodSeconds: 10
  securityContext: {runAsUser: 12345, runAsGroup: 12345}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: password, secret: {secretName: password, defaultMode: 0o400}}
  - {name: shared, emptyDir: {}}
  initContainers:
  - name: first
    command: [sh, -c]
    args:
    - echo first >>/shared/order;
      until curl -sSf -o /dev/null http://other:8000/; do sleep 0.1; done; echo reached >/shared/init-call
    volumeMounts: [{name: shared, mountPath: /shared}]
    securityContext: {runAsUser: 0}
  - name: helper
    restartPolicy: Always
    command: [sh, -c, "echo helper >> /shared/order; exec sleep infinity"]
    volumeMounts: [{name: shared, mountPath: /shared}]
    securityContext: {runAsUser: 0}
  - name: second
    command: [sh, -c, "echo second >> /shared/order; chmod 777 /shared"]
    volumeMounts: [{name: shared, mountPath: /shared}]
    securityContext: {runAsUser: 0}
  containers:
  - name: app
    command: [sh, -c]
    args: ["echo out; echo err >&2; trap 'echo term; exit 0' TERM; while :; do sleep 0.1; done"]
    workingDir: /usr
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: BOTH, value: "$(COLOUR)-$(POD)"}
    volumeMounts:
    - {name: settings, mountPath: /etc/full/settings}
    - {name: settings, mountPath: /config.ini, subPath: config.ini}
    - {name: password, mountPath: /run/secrets-of-full, readOnly: true}
    - {name: shared, mountPath: /shared}
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo stopping > /tmp/pilotfish-e2e-stopped"]}}}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-pods", MANIFESTS) as mesh:
        yield mesh


def container(mesh: Mesh, app: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in mesh.pods(app)[0]["containers"] if c["name"] == name)
    return found


def apply(mesh: Mesh, text: str) -> None:
    mesh.call("apply", "-f", "-", stdin=text)


def pod(name: str, container: str, more: str = "") -> str:
    """A Pod of one container, given in YAML's flow style."""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n"
        f"spec:\n  terminationGracePeriodSeconds: 2\n  containers:\n  - {{name: app, {container}}}\n{more}"
    )


def environment(mesh: Mesh) -> dict[str, str]:
    lines = mesh.exec("full", "env").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_environment(mesh: Mesh) -> None:
    found = environment(mesh)
    assert (found["COLOUR"], found["WORD"], found["POD"], found["TIER"]) == ("blue", "swordfish", "full", "1")
    assert found["IP"] == mesh.pods("full")[0]["addresses"][0]
    assert found["BOTH"] == "blue-full"
    assert found["OTHER_SERVICE_PORT"] == "8000"
    assert "PILOTFISH_STATE" not in found, "the machine's environment is not the pod's"


def test_user_and_working_directory(mesh: Mesh) -> None:
    assert mesh.exec("full", "id", "-u").stdout.strip() == "12345"
    assert mesh.exec("full", "pwd").stdout.strip() == "/usr"


def test_volumes_where_the_machine_has_no_such_folder(mesh: Mesh) -> None:
    assert mesh.exec("full", "cat", "/etc/full/settings/colour").stdout == "blue"
    assert mesh.exec("full", "cat", "/config.ini").stdout == "[main]\nlevel=1\n"
    assert not Path("/etc/full").exists()
    assert not Path("/config.ini").exists()
    assert not Path("/run/secrets-of-full").exists()
    assert mesh.exec("full", "touch", "/run/secrets-of-full/x", check=False).returncode != 0


def test_a_changed_config_map_reaches_the_volume(mesh: Mesh) -> None:
    path = mesh.sources / "mesh.yaml"
    mesh.write("mesh.yaml", path.read_text().replace("colour: blue", "colour: green"))
    wait_until(
        "the file has the new colour",
        lambda: mesh.exec("full", "cat", "/etc/full/settings/colour").stdout == "green",
    )


def test_init_containers_run_in_order_behind_a_ready_proxy(mesh: Mesh) -> None:
    assert mesh.exec("full", "cat", "/shared/order").stdout.split() == ["first", "helper", "second"]
    assert mesh.exec("full", "cat", "/shared/init-call").stdout == "reached\n"
    assert container(mesh, "full", "helper")["state"] == "running"
    assert container(mesh, "full", "first")["reason"] == "Completed"


def test_logs_hold_both_streams(mesh: Mesh) -> None:
    assert mesh.call("logs", "full", "-c", "app").stdout.split() == ["out", "err"]


def test_the_resolver_configuration_is_kubernetes(mesh: Mesh) -> None:
    resolv = mesh.exec("full", "cat", "/etc/resolv.conf").stdout
    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in resolv
    assert "ndots:5" in resolv


def test_pre_stop_and_term_within_the_grace_period(mesh: Mesh) -> None:
    log = Path(container(mesh, "full", "app")["log"])
    stopped = Path("/tmp/pilotfish-e2e-stopped")
    try:
        with log.open() as lines:
            mesh.call("delete", "pod", "full")
            wait_until("the pod is gone", lambda: not mesh.pods("full"), within=12)
            assert "term" in lines.read().split()
        assert stopped.read_text() == "stopping\n"
    finally:
        stopped.unlink(missing_ok=True)


def test_a_container_that_fails_is_restarted_with_back_off(mesh: Mesh) -> None:
    apply(mesh, pod("failing", 'command: [sh, -c, "exit 3"]'))
    wait_until(
        "it is in CrashLoopBackOff",
        lambda: mesh.pods("failing") and container(mesh, "failing", "app").get("reason") == "CrashLoopBackOff",
    )
    assert container(mesh, "failing", "app")["restarts"] >= 1
    assert "CrashLoopBackOff" in mesh.call("get", "pods").stdout
    mesh.call("delete", "pod", "failing")


def test_a_pod_that_never_restarts_comes_to_its_end(mesh: Mesh) -> None:
    apply(mesh, pod("once", "command: ['true']", "  restartPolicy: Never\n"))
    wait_until("it succeeded", lambda: mesh.pods("once") and mesh.pods("once")[0]["phase"] == "Succeeded")
    assert "once.default: container" not in mesh.call("status", check=False).stdout, "that is nothing to note"
    mesh.call("delete", "pod", "once")


def test_a_failing_liveness_probe_restarts_the_container(mesh: Mesh) -> None:
    probe = (
        "livenessProbe: {exec: {command: [test, -e, /tmp/pilotfish-e2e-alive]}, periodSeconds: 1, failureThreshold: 1}"
    )
    alive = Path("/tmp/pilotfish-e2e-alive")
    alive.touch()
    try:
        apply(mesh, pod("probed", f"command: [sleep, infinity], {probe}"))
        wait_until("it is ready", lambda: mesh.pods("probed") and mesh.pods("probed")[0].get("ready"))
        alive.unlink()
        wait_until("it was restarted", lambda: container(mesh, "probed", "app").get("restarts", 0) >= 1)
    finally:
        alive.unlink(missing_ok=True)
        mesh.call("delete", "pod", "probed")


def test_a_killed_app_is_restarted(mesh: Mesh) -> None:
    first = container(mesh, "other", "web")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(
        "it runs again",
        lambda: container(mesh, "other", "web").get("pid") not in (None, first),
    )


def test_a_command_that_is_not_there_is_said(mesh: Mesh) -> None:
    apply(mesh, pod("absent", "command: [./no-such-program]"))
    wait_until(
        "the container says what is missing",
        lambda: mesh.pods("absent") and "no-such-program" in container(mesh, "absent", "app").get("message", ""),
    )
    mesh.call("delete", "pod", "absent")


def test_neither_an_image_nor_a_command_is_a_problem(mesh: Mesh) -> None:
    refused = mesh.call("apply", "-f", "-", stdin=pod("nothing", "args: [x]"), check=False)
    assert refused.returncode == 1
    assert "command" in refused.stderr
    assert "image" in refused.stderr


def test_an_app_on_loopback_only_is_noted(mesh: Mesh) -> None:
    apply(
        mesh,
        "apiVersion: v1\nkind: Service\nmetadata: {name: shy}\n"
        "spec: {selector: {app: shy}, ports: [{name: http, port: 8000}]}\n---\n"
        + pod("shy", "command: [python3, -m, http.server, '8000', --bind, 127.0.0.1]"),
    )
    note = wait_until("status notes it", lambda: mesh.pods("shy") and mesh.pods("shy")[0].get("notes"))[0]
    assert "127.0.0.1" in note
    assert "8000" in note
    mesh.call("delete", "service", "shy")
    mesh.call("delete", "pod", "shy")


def test_a_missing_config_map_key_holds_the_container_until_it_comes(mesh: Mesh) -> None:
    env = "env: [{name: X, valueFrom: {configMapKeyRef: {name: later, key: x}}}]"
    apply(mesh, pod("waiting", f"command: [sleep, infinity], {env}"))
    wait_until(
        "it waits",
        lambda: (
            mesh.pods("waiting") and container(mesh, "waiting", "app").get("reason") == "CreateContainerConfigError"
        ),
    )
    apply(mesh, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\ndata: {x: here}\n")
    wait_until("it runs", lambda: mesh.pods("waiting")[0].get("ready"))
    assert mesh.exec("waiting", "printenv", "X").stdout == "here\n"
    mesh.call("delete", "pod", "waiting")


def test_what_has_no_effect_is_said_once(mesh: Mesh) -> None:
    apply(mesh, pod("warned", "command: [sleep, infinity]", "  hostNetwork: true\n"))

    def said() -> list[str]:
        return [p["field"] for p in mesh.status.get("problems", []) if p["name"] == "warned"]

    wait_until("it runs", lambda: mesh.pods("warned") and mesh.pods("warned")[0].get("ready"))
    assert said() == ["spec.hostNetwork"]
    mesh.call("delete", "pod", "warned")
