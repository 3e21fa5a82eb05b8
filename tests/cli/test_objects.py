"""Commands that choose, change or describe objects, against a mesh that answers; what they do in a real one is in
tests/e2e/test_commands.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.runtime.control.views import ChangesView, ChangeView
from tests.cli.conftest import Invoke
from tests.cli.fakes import REFUSED, FakeMesh, container, pod

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "vm", "labels": {"tier": "one"}},
    "spec": {"selector": {"app": "web"}},
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key", "namespace": "vm"},
    "data": {"password": "c3dvcmRmaXNo"},
}


def changed(kind: str, name: str, action: Any, problems: Any = ()) -> ChangesView:
    view = ChangeView(kind=kind, group="", namespace="vm", name=name, action=action)
    return ChangesView(changes=(view,), problems=problems)


@pytest.fixture
def stored(mesh: FakeMesh) -> FakeMesh:
    mesh.objects = [SERVICE, SECRET]
    return mesh


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "svc", "web"], "say what to set"),
        (["label", "svc", "a=b"], "say which of the services"),
        (["label", "svc/web", "a=b", "what"], "what is neither KEY=VALUE nor KEY-"),
        (["label", "svc", "web", "--all", "a=b"], "say which of the services"),
        (["patch", "svc/web"], "either --patch or --patch-file"),
        (["patch", "svc", "-p", "{}"], "say which of the services"),
        (["set", "image", "svc/web"], "say which image"),
        (["set", "env", "svc/web"], "say what to set"),
        (["delete", "svc", "web", "--all"], "say which of the services"),
        (["delete", "-f", "x.yaml", "--all"], "leave -f out"),
        (["wait", "svc/web", "--for", "sunday"], "--for=sunday is none of"),
        (["wait", "svc", "--for", "delete"], "say what to wait for"),
        (["wait", "svc/web", "--for", "jsonpath={.a[}"], "no JSONPath"),
        (["cp", "a", "b"], "one of the two"),
        (["cp", "a:b", "c:d"], "one of the two"),
        (["logs", "webapp-0", "--since-time", "noon"], "--since-time noon is no time"),
        (["logs", "webapp-0", "--since", "1s", "--since-time", "2026-11-26T07:00:00Z"], "exclude each other"),
        (["proxy-config", "log", "webapp-0", "--level", "debug,info"], "one level for all"),
        (["proxy-config", "log", "webapp-0", "--level", "debug", "-r"], "exclude each other"),
    ],
)
def test_wrong_arguments(stored: FakeMesh, invoke: Invoke, arguments: list[str], words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, words in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "svc/nope", "a=b"], 'services "nope" not found in namespace "vm"'),
        (["label", "svc/web", "tier=two"], "Service vm/web has tier=one already; --overwrite changes it"),
        (["label", "proxies/x", "a=b"], "proxies can't be changed"),
        (["edit", "secret/key"], "a Secret's values are shown to nobody"),
        (["set", "env", "svc/web", "A=b"], "Service vm/web has no containers"),
        (["describe", "proxies"], "proxies can't be described; 'proxy-config all POD' shows it"),
        (["wait", "meshes/demo", "--for", "delete"], "meshes have no conditions"),
        (["delete", "events", "--all"], "events can't be deleted"),
        (["get", "gizmo"], 'doesn\'t have a resource type "gizmo"'),
        (["get", "podz"], "did you mean pod"),
        (["get", "hpa"], "HorizontalPodAutoscaler has no effect"),
        (["patch", "svc/web", "-p", "[ no"], "neither JSON nor YAML"),
        (["cp", "/nowhere", "webapp-0:/x"], "is not running"),
        (["top", "pod", "nope"], 'pods "nope" not found'),
    ],
)
def test_what_can_not_be(stored: FakeMesh, invoke: Invoke, arguments: list[str], words: str) -> None:
    waiting = container(state="waiting", reason="ContainerCreating", pid=None)
    stored.set(pods=(pod("webapp-0", containers=(waiting,)),))
    result = invoke(*arguments)
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr


def test_a_label_is_a_patch(stored: FakeMesh, invoke: Invoke) -> None:
    stored.changes = [changed("Service", "web", "configured"), changed("Service", "web", "unchanged")]
    assert invoke("label", "svc/web", "a=b", "tier-", "--list").stdout == "service/web labeled\na=b\n"
    ((_, asked),) = [each for each in stored.asked if each[0] == "/patch"]
    assert asked["change"] == {"metadata": {"labels": {"a": "b", "tier": None}}}
    assert invoke("label", "svc", "--all", "tier=one").stdout == "service/web not changed: it is so already\n"


def test_a_patch_that_is_refused_says_why(stored: FakeMesh, invoke: Invoke, tmp_path: Path) -> None:
    stored.changes = [changed("Service", "web", "refused", (REFUSED,))]
    (tmp_path / "p.yaml").write_text("spec: {selector: {app: other}}\n")
    result = invoke("patch", "svc", "web", "--patch-file", str(tmp_path / "p.yaml"))
    assert (result.exit_code, result.stdout, REFUSED.message in result.stderr) == (1, "", True)
    assert stored.asked[-1][1]["how"] == "strategic"


def test_nothing_of_a_kind_is_no_error_for_delete_all(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("delete", "cm", "--all")
    assert (result.exit_code, result.stderr) == (0, "No resources found.\n")


def test_describe_tells_problems_and_hides_secrets(stored: FakeMesh, invoke: Invoke) -> None:
    problem = msgspec.structs.replace(REFUSED, kind="Service", name="web", message="it is odd")
    stored.set(problems=(problem,))
    assert "Problems:\n  mesh.yaml:12: error: Service vm/web" in invoke("describe", "svc", "web").stdout
    secret = invoke("describe", "secret", "key").stdout
    assert "password: '[redacted]'" in secret
    assert "c3dv" not in secret + invoke("get", "secret", "key", "-o", "jsonpath={.data}").stdout


def test_a_proxy_that_logs_nothing(mesh: FakeMesh, invoke: Invoke) -> None:
    log = mesh.directory / "proxy.log"
    log.touch()
    mesh.set(pods=(pod("x", containers=(container("istio-proxy", "proxy", log=str(log)),)),), access_log=False)
    assert "no access log is configured" in invoke("logs", "x", "-c", "istio-proxy").stderr
    log.write_text("[warning] it does\n")
    assert invoke("logs", "x", "-c", "istio-proxy", "--tail", "0").stderr == ""
    log.write_text("")
    mesh.set(access_log=True)
    assert invoke("logs", "x", "-c", "istio-proxy").stderr == ""
