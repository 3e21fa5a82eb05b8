"""`pilotfish authz check`, and policies in what else the commands say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, pod

pytestmark = pytest.mark.usefixtures("as_user", "state")
MESH = """
apiVersion: v1
kind: Service
metadata: {name: webapp, namespace: vm}
spec: {selector: {app: webapp}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90}]}
---
apiVersion: v1
kind: Pod
metadata: {name: webapp-0, namespace: vm, labels: {app: webapp}}
spec: {serviceAccountName: webapp, containers: [{name: app, command: [sleep, "9"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: vm, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: app, command: [sleep, "9"]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-admin, namespace: vm}
spec:
  action: DENY
  selector: {matchLabels: {app: webapp}}
  rules: [{to: [{operation: {paths: [/admin], ports: ["8080"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asks, namespace: vm}
spec: {action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {paths: [/x]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: istio-system}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/vm/sa/client]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, namespace: vm, annotations: {istio.io/dry-run: "true"}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: vm}
spec: {selector: {matchLabels: {app: webapp}}, jwtRules: [{issuer: x, jwksUri: "https://example.com/keys"}]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mesh.yaml"
    path.write_text(MESH.strip())
    return str(path)


def test_policies_of_a_pod_in_the_order_of_their_effect(invoke: Invoke, file: str) -> None:
    shown = invoke("authz", "check", "webapp-0.vm", "-f", file)
    assert (shown.exit_code, shown.stderr) == (0, "")
    header, *rows = (line.split() for line in shown.stdout.splitlines())
    assert header == ["ACTION", "POLICY", "RULES", "NOTE", "SOURCE"]
    assert [tuple(row[:3]) for row in rows] == [
        ("CUSTOM", "asks.vm", "1"),
        ("JWT", "tokens.vm", "1"),
        ("DENY", "deny-admin.vm", "1"),
        ("ALLOW", "allow.istio-system", "1"),
        ("ALLOW", "tried.vm", "0"),
    ]
    assert "what it covers is refused: meshConfig.extensionProviders has no 'nobody'" in shown.stdout
    assert "dry run" in shown.stdout
    documents = json.loads(invoke("authz", "check", "client-0", "-n", "vm", "-f", file, "-o", "json").stdout)
    assert [each["name"] for each in documents] == ["asks", "allow", "tried"]
    assert documents[1]["source"] == f"{file}:29"


def test_a_pod_that_is_not_there_and_one_without_policies(invoke: Invoke, tmp_path: Path, file: str) -> None:
    missing = invoke("authz", "check", "nobody", "-f", file)
    assert missing.exit_code == 1
    assert 'the manifests have no proxy "nobody"' in missing.stderr
    bare = tmp_path / "bare.yaml"
    bare.write_text("\n---\n".join(MESH.strip().split("\n---\n")[:3]))
    shown = invoke("authz", "check", "webapp-0.vm", "-f", str(bare))
    assert shown.stdout == "no policy holds for webapp-0.vm: all that comes passes\n"


def test_a_mesh_that_runs_is_asked_as_by_exec_and_logs(invoke: Invoke, mesh: FakeMesh) -> None:
    mesh.objects = [each for each in yaml.safe_load_all(MESH) if each["kind"] != "Service"]
    mesh.set(pods=(pod("webapp-0", owner="Deployment/webapp"), pod("client-0"), pod("bare-0")))
    for target in ("webapp-0.vm", "pod/webapp-0.vm", "deploy/webapp.vm", "deployments.apps/webapp.vm"):
        shown = invoke("authz", "check", target)
        assert (shown.exit_code, "deny-admin.vm" in shown.stdout) == (0, True), shown
    assert '"cm/webapp" names no pod' in invoke("authz", "check", "cm/webapp").stderr
    assert "bare-0.vm has no sidecar" in invoke("authz", "check", "bare-0.vm").stderr


@pytest.mark.parametrize(
    ("to", "more", "first"),
    [
        ("http://webapp/admin", (), "403 by the proxy of webapp-0.vm: ns[vm]-policy[deny-admin]-rule[0] denies it"),
        ("http://webapp/ok", (), "answered by webapp-0.vm"),
        ("http://webapp/ok", ("--jwt", "x.y.z"), "401 by the proxy of webapp-0.vm: the token is not believed"),
        ("http://webapp/x", (), "403 by the proxy of webapp-0.vm: istio-ext-authz-nobody-ns[vm]-policy[asks]-rule[0]"),
        ("webapp:90", (), "connection reset"),
    ],
)
def test_a_refusal_is_explained(invoke: Invoke, file: str, to: str, more: tuple[str, ...], first: str) -> None:
    shown = invoke("explain", "client-0.vm", to, "-f", file, *more)
    assert shown.stdout.startswith(first), shown.stdout
    if "deny-admin" in first:
        assert "AuthorizationPolicy vm/deny-admin mesh.yaml:22 spec.rules[0]" in " ".join(shown.stdout.split())


def test_a_token_is_refused_by_an_object(invoke: Invoke, file: str) -> None:
    shown = invoke("explain", "client-0.vm", "http://webapp/ok", "-f", file, "--jwt", "x.y.z")
    assert "RequestAuthentication vm/tokens mesh.yaml:41 spec.jwtRules[0]" in " ".join(shown.stdout.split())


def test_without_a_certificate_a_caller_is_nobody(invoke: Invoke, file: str) -> None:
    shown = invoke("explain", "client-0.vm", "http://webapp/ok", "-f", file, "--uid", "1337")
    assert "nobody is let in but by AuthorizationPolicy " in shown.stdout


def test_what_is_said_of_a_request_leaves_its_credentials_out(invoke: Invoke, file: str) -> None:
    for form in ("text", "json"):
        shown = invoke("explain", "client-0.vm", "http://webapp/ok", "-f", file, "--jwt", "x.y.z", "-o", form)
        assert "x.y.z" not in shown.output
        assert "Bearer [redacted]" in shown.output


def test_a_case_carries_a_token(invoke: Invoke, tmp_path: Path, file: str) -> None:
    cases = tmp_path / "cases.yaml"
    case = "{from: client-0, to: 'http://webapp/ok', jwt: x.y.z, expect: {status: 401}}"
    cases.write_text(f"manifests: [{file}]\nnamespace: vm\ncases:\n- {case}\n")
    shown = invoke("test", str(cases))
    assert shown.exit_code == 0, shown.output
