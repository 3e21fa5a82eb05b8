"""`pilotfish get`, against a mesh that answers."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import msgspec
import pytest
import yaml

from tests.cli.conftest import Invoke
from tests.cli.fakes import REFUSED, FakeMesh, pod, proxy

VIRTUAL_SERVICE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "calculator", "namespace": "vm", "creationTimestamp": "2027-01-15T07:57:50Z"},
    "spec": {"hosts": ["calculator"], "http": []},
}


def test_pods_are_those_of_the_default_namespace(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("get", "pods")
    assert result.exit_code == 0
    assert result.stdout == dedent(
        """\
        NAME                   READY   STATUS    RESTARTS   AGE
        calculator-v1-6f-x2x   2/2     Running   0          2m10s
        webapp-0               2/2     Running   0          2m10s
        """
    )


def test_all_namespaces_wide(mesh: FakeMesh, invoke: Invoke) -> None:
    assert invoke("get", "po", "-A", "-o", "wide").stdout == dedent(
        """\
        NAMESPACE   NAME                   READY   STATUS    RESTARTS   AGE     IP           NODE
        other       lonely                 2/2     Running   0          2m10s   10.244.0.2   demo
        vm          calculator-v1-6f-x2x   2/2     Running   0          2m10s   10.244.0.3   demo
        vm          webapp-0               2/2     Running   0          2m10s   10.244.0.2   demo
        """
    )


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=webapp-0", ["webapp-0"]),
        ("app!=webapp-0", ["calculator-v1-6f-x2x"]),
        ("app in (webapp-0, x)", ["webapp-0"]),
        ("!version", ["calculator-v1-6f-x2x", "webapp-0"]),
        ("version", []),
    ],
)
def test_labels_select(mesh: FakeMesh, invoke: Invoke, selector: str, names: list[str]) -> None:
    result = invoke("get", "pods", "-l", selector, "--no-headers")
    assert [line.split()[0] for line in result.stdout.splitlines()] == names


def test_services(mesh: FakeMesh, invoke: Invoke) -> None:
    assert invoke("get", "svc", "-o", "wide").stdout == dedent(
        """\
        NAME         TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)           AGE     SELECTOR
        calculator   ClusterIP   10.96.0.10   <none>        8888/TCP          2m10s   app=calculator
        webapp       ClusterIP   10.96.0.10   <none>        80/TCP,8889/TCP   2m10s   app=webapp
        """
    )


def test_proxies_name_what_they_refused(mesh: FakeMesh, invoke: Invoke) -> None:
    refused = msgspec.structs.replace(REFUSED, source="x:1")
    mesh.set(proxies=(proxy("webapp-0", rds="REFUSED"), proxy("x", eds="NOT SENT")), problems=(refused,))
    what = "VirtualService vm/calculator (x:1)"
    assert invoke("get", "proxies").stdout == dedent(
        f"""\
        NAME          CDS      LDS      EDS        SDS      RDS       READY   RESTARTS   REFUSED
        webapp-0.vm   SYNCED   SYNCED   SYNCED     SYNCED   REFUSED   true    0          {what}
        x.vm          SYNCED   SYNCED   NOT SENT   SYNCED   SYNCED    true    0          <none>
        """
    )  # fmt: skip


def test_problems(mesh: FakeMesh, invoke: Invoke) -> None:
    assert invoke("get", "problems").stderr == "No problems found.\n"
    mesh.set(problems=(REFUSED,))
    assert "error      mesh.yaml:12   VirtualService vm/calculator" in invoke("get", "problems").stdout


def test_stored_kinds_have_kubectls_columns(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.objects = [VIRTUAL_SERVICE]
    assert invoke("get", "vs").stdout == dedent(
        """\
        NAME         GATEWAYS   HOSTS            AGE
        calculator              ["calculator"]   2m10s
        """
    )


def test_documents_are_kubernetes_own(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.objects = [VIRTUAL_SERVICE]
    everything = json.loads(invoke("get", "virtualservices", "-o", "json").stdout)
    assert everything == {
        "apiVersion": "v1",
        "items": [VIRTUAL_SERVICE],
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }
    assert yaml.safe_load(invoke("get", "vs/calculator", "-o", "yaml").stdout) == VIRTUAL_SERVICE


def test_an_empty_list_is_still_a_list(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("get", "pods", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["items"]) == (0, [])
    assert invoke("get", "configmaps").stderr == "No resources found.\n"


def test_names_alone(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.objects = [VIRTUAL_SERVICE]
    assert invoke("get", "vs", "-o", "name").stdout == "virtualservice.networking.istio.io/calculator\n"


def test_several_kinds(mesh: FakeMesh, invoke: Invoke) -> None:
    lines = invoke("get", "pods,services").stdout.splitlines()
    assert [line.split()[0] for line in lines if line] == [
        "NAME", "pod/calculator-v1-6f-x2x", "pod/webapp-0", "NAME", "service/calculator", "service/webapp"
    ]  # fmt: skip


def test_one_that_is_missing_fails_after_the_others_are_shown(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("get", "pods", "webapp-0", "lonely", "absent")
    assert result.exit_code == 1
    assert "webapp-0" in result.stdout
    assert result.stderr.splitlines() == [
        'error: pods "lonely" not found in namespace "vm"; it is in "other": use -n other',
        'error: pods "absent" not found in namespace "vm"',
    ]


def test_meshes_are_listed_dead_ones_too(mesh: FakeMesh, invoke: Invoke) -> None:
    lines = invoke("get", "meshes").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "PID", "PODS", "AGE", "FROM"]
    assert lines[1].split()[:2] == ["demo", "Running"]
    assert json.loads(invoke("get", "mesh", "demo", "-o", "json").stdout)["alive"] is True
    assert invoke("get", "mesh", "absent").exit_code == 1


def test_watch_prints_rows_that_change(mesh: FakeMesh, invoke: Invoke) -> None:
    """Three changes: one that the table does not show, one that it does, and the end of the mesh."""
    views: list[dict[str, Any]] = [
        {"published": ()},
        {
            "pods": (
                pod("webapp-0", reason="Terminating"),
                pod("calculator-v1-6f-x2x", owner="deployment/calculator-v1"),
            )
        },
    ]

    def asked(path: str, query: dict[str, Any]) -> Any:
        if path == "/events" and "wait" in query and float(query["wait"]) > 0:
            if not views:
                return None
            mesh.set(**views.pop(0))
        return answer(path, query)

    answer, mesh.answer = mesh.answer, asked  # type: ignore[method-assign, assignment]
    result = invoke("get", "pods", "-w")
    assert result.stdout == dedent(
        """\
        NAME                   READY   STATUS    RESTARTS   AGE
        calculator-v1-6f-x2x   2/2     Running   0          2m10s
        webapp-0               2/2     Running   0          2m10s
        webapp-0               2/2     Terminating   0          2m10s
        """
    )
    assert "error: no such thing here" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which kind"),
        (["pods,svc", "x"], "use KIND/NAME"),
        (["pods/x", "svc"], "KIND/NAME"),
        (["pods", "-l", "a=b=c"], "no label selector"),
        (["pods,svc", "-w"], "--watch"),
        (["pods", "-o", "jsonpath={.a"], "no JSONPath"),
        (["pods", "-o", "go-template={{.}}"], "use jsonpath=TEMPLATE"),
        (["pods", "-o", "fancy"], "'fancy' is none of wide, json, yaml, name, jsonpath"),
        (["pods", "-o", "custom-columns=NAME"], "each is HEADER:PATH"),
        (["pods", "--sort-by", "a["], "--sort-by"),
        (["pods", "--field-selector", "phase"], "no field selector"),
    ],
)
def test_wrong_arguments_are_usage_errors(mesh: FakeMesh, invoke: Invoke, arguments: list[str], words: str) -> None:
    result = invoke("get", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith("see 'pilotfish get --help'\n")


def test_an_unknown_kind_is_named(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("get", "gizmos")
    assert result.exit_code == 1
    assert result.stderr.startswith('error: the mesh doesn\'t have a resource type "gizmos"; it has: pods, ')
