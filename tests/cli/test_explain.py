"""`pilotfish explain` and `pilotfish test`, out of manifests: no mesh, no root."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from pilotfish.cli.app import pilotfish
from pilotfish.explain.document import read_schema
from tests.cli.conftest import Invoke

CALCULATOR = str(Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml")
SHOP = str(Path(__file__).parents[2] / "examples" / "shop")
WAYS = str(Path(__file__).parents[2] / "examples" / "calculator" / "ways" / "calculator.yaml")
pytestmark = pytest.mark.usefixtures("as_user", "state")


def test_the_answer_comes_first_and_names_whose_choice_it_was(invoke: Invoke) -> None:
    shown = invoke("explain", "webapp-0.vm", "http://calculator:8888/add", "-f", CALCULATOR)
    assert (shown.exit_code, shown.stderr) == (0, "")
    first = shown.stdout.splitlines()[0]
    assert first.startswith("answered by calculator-v1-")
    assert first.count("(50 %)") == 2
    for line, field in ((157, "spec.http[0]"), (158, "spec.http[0].route[0]"), (162, "spec.http[0].route[1]")):
        assert f"VirtualService vm/calculator {CALCULATOR}:{line} {field}\n" in shown.stdout


def test_what_follows_of_itself_is_left_out(invoke: Invoke) -> None:
    arguments = ("explain", "webapp-0", "http://calculator:8888/", "-n", "vm", "-f", CALCULATOR)
    short, whole = invoke(*arguments).stdout, invoke(*arguments, "-v").stdout
    steps = [line.split()[0] for line in short.splitlines() if line.startswith("  ") and "⇒" not in line]
    branch = ["50", "cluster", "endpoint", "tls", "server", "netfilter", "app"]
    assert steps == ["dns", "netfilter", "route", *branch, *branch]
    assert short.endswith("\n-v shows every step, and the candidates that lost\n")
    assert whole.count("network filter  http_connection_manager") == 3
    assert "-v shows" not in whole


STRICT = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: vm}
spec:
  selector: {matchLabels: {app: calculator}}
  portLevelMtls:
    8888: {mode: STRICT}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: vm, annotations: {sidecar.istio.io/inject: "false"}}
spec: {containers: [{name: app, command: [app]}]}
"""


def test_a_client_in_plaintext_is_told_who_wants_a_certificate(invoke: Invoke, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text(STRICT)
    said = invoke("explain", "bare.vm", "http://calculator:8888/", "-f", CALCULATOR, "-f", str(strict)).stdout
    first = said.partition("\n")[0]
    assert first.startswith("connection reset NR by the proxy of calculator-v1-")
    assert "it comes in plaintext, and port 8888 takes mutual TLS alone" in first
    assert first.endswith("PeerAuthentication vm/strict strict.yaml:7 spec.portLevelMtls.8888.mode says so")


def test_verbose_names_who_lost(invoke: Invoke) -> None:
    arguments = ("explain", "webapp-0", "http://calculator:8888/", "-n", "vm", "-f", CALCULATOR)
    assert "not nat/ISTIO_OUTPUT/6" not in invoke(*arguments).stdout
    assert "not nat/ISTIO_OUTPUT/6: --uid-owner 1337: the user is 0" in invoke(*arguments, "-v").stdout


def test_who_lost_is_named_at_once_where_nobody_won(invoke: Invoke) -> None:
    said = invoke("explain", "outside", "http://shp.example.com/", "-f", SHOP).stdout
    assert "virtual host    none" in said
    assert "not shop.example.com:80: its domain shop.example.com is not shp.example.com" in said


def test_what_leaves_the_mesh_is_answered_by_no_pod_of_it(invoke: Invoke) -> None:
    said = invoke("explain", "deploy/shop.shop", "http://bank.example.com/", "-f", SHOP).stdout
    assert said.startswith("it leaves the mesh for bank.outside.svc.cluster.local\n")
    assert "\ngateway istio-egressgateway-" in said


def test_files_are_named_from_where_one_stands(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(CALCULATOR).parent)
    said = invoke("explain", "webapp-0.vm", "http://calculator:8888/", "-f", "mesh.yaml").stdout
    assert "VirtualService vm/calculator mesh.yaml:157 spec.http[0]\n" in said


def test_many_replicas_are_one_line(invoke: Invoke, tmp_path: Path) -> None:
    text = Path(CALCULATOR).read_text()
    objects = list(yaml.safe_load_all(text))
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 7
    (tmp_path / "mesh.yaml").write_text(yaml.safe_dump_all(objects))
    said = invoke("explain", "webapp-0.vm", "http://calculator:8888/", "-f", str(tmp_path / "mesh.yaml")).stdout
    assert said.count("and 6 more like it") == 2
    assert said.count("⇒ the app answers") == 2
    assert "or 11 others (78.6 %)" in said.splitlines()[0]


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("explain", "webapp-0.vm", "http://calculator:8888/", "-f", CALCULATOR)
    assert "\x1b[" in CliRunner().invoke(pilotfish, arguments, color=True).stdout
    assert "\x1b[" not in CliRunner().invoke(pilotfish, arguments).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(pilotfish, arguments, color=True).stdout


def test_lines_are_as_wide_as_the_terminal() -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 64, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    program = "from pilotfish.cli import main; main()"
    command = [sys.executable, "-c", program, "explain", "webapp-0.vm", "http://calculator:8888/", "-f", CALCULATOR]
    with subprocess.Popen(command, stdout=follower, env={**environment, "NO_COLOR": "1"}) as process:
        os.close(follower)
        shown = b"".join(iter(partial(_read, leader), b"")).decode()
    os.close(leader)
    assert process.returncode == 0
    lines = shown.replace("\r", "").splitlines()
    assert max(len(line) for line in lines if len(line.split()) > 1) <= 64
    assert "answered by" in lines[0]
    assert shown.count("calculator.vm.svc.cluster.local") == 3


def _read(terminal: int) -> bytes:
    """A terminal that nobody writes to any more says so by an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_way_is_drawn_where_that_is_asked_for(invoke: Invoke) -> None:
    arguments = ("explain", "webapp-0.vm", "http://calculator:8888/add", "-f", CALCULATOR, "-o")
    svg, page = invoke(*arguments, "svg").stdout, invoke(*arguments, "html").stdout
    assert svg.startswith("<svg ")
    assert page.startswith("<!doctype html>")
    for drawn in (svg, page):
        assert "VirtualService vm/calculator" in drawn
        assert "answered by calculator-v1-" in drawn


def test_only_who_asks_for_a_picture_loads_what_draws_it() -> None:
    program = "import sys; from pilotfish.cli import explain; sys.exit('pilotfish.explain.picture' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "to", ["http://calculator:8888/add", "http://calculator:9999/", "tcp://nobody:1", "https://calculator:8888/"]
)
def test_json_is_as_its_schema_says(invoke: Invoke, to: str) -> None:
    arguments = ("explain", "deploy/webapp.vm", to, "-H", "user: jason", "-f", CALCULATOR)
    webapp = ("explain", "webapp-0.vm", *arguments[2:])
    document = json.loads(invoke(*webapp, "-o", "json").stdout)
    jsonschema.validate(document, read_schema())
    assert sum(outcome["probability"] for outcome in document["outcomes"]) == pytest.approx(1)
    assert yaml.safe_load(invoke(*webapp, "-o", "yaml").stdout) == document


def test_an_assertion_that_fails_ends_with_1(invoke: Invoke) -> None:
    arguments = ("explain", "webapp-0.vm", "http://calculator:8888/add", "-f", CALCULATOR, "--assert")
    assert invoke(*arguments, "pod=calculator-*").exit_code == 0
    failed = invoke(*arguments, "pod=calculator-v1-*")
    assert failed.exit_code == 1
    assert "it also ends so: kind=delivered pod=calculator-v2-" in failed.stderr
    assert "--assert" in invoke(*arguments, "pot=x").stderr


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("calculator", "write a URL, HOST:PORT or ADDRESS:PORT"),
        ("ftp://calculator/", "ftp:// is not understood"),
        ("http://calculator:99999/", "the port must be a number"),
    ],
)
def test_what_cant_be_asked_is_said(invoke: Invoke, to: str, message: str) -> None:
    refused = invoke("explain", "webapp-0.vm", to, "-f", CALCULATOR)
    assert refused.exit_code == 1
    assert message in refused.stderr


def test_dumps_of_istio_are_explained(invoke: Invoke, conformance: Path) -> None:
    folder = conformance / "istio" / "allow-any"
    arguments = ("--config-dump", str(folder / "webapp-0.config_dump.json"))
    shown = invoke("explain", "http://calculator.vm.svc.cluster.local:8888/x", *arguments)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "what happens at 10.245.1.2:8888 is not given (50 %)" in shown.stdout
    assert "VirtualService vm/calculator" in shown.stdout
    server = ("--server-config-dump", str(folder / "calculator-v1.config_dump.json"))
    rules = ("--iptables-save", str(folder / "webapp-0.iptables-save"))
    both = invoke("explain", "http://10.245.1.2:8888/", *arguments, *server, *rules)
    assert both.stdout.startswith("answered by calculator-v1.vm\n")
    refused = invoke("explain", "webapp-0", "http://10.245.1.2:8888/", *arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "the dump is that of one pod alone, which it names itself: leave webapp-0 away" in refused.stderr


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "holds no JSON object"), ("{", "is not JSON"), ("{}", "has no listeners")]
)
def test_a_file_that_is_no_dump_says_so(invoke: Invoke, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dump.json").write_text(text)
    refused = invoke("explain", "http://a:80/", "--config-dump", str(tmp_path / "dump.json"))
    assert refused.exit_code == 1
    assert message in refused.stderr


def test_a_pod_that_is_not_there_names_those_that_are(invoke: Invoke) -> None:
    refused = invoke("explain", "nobody", "http://calculator:8888/", "-f", CALCULATOR)
    assert refused.exit_code == 1
    assert 'no pod "nobody"' in refused.stderr
    assert "webapp-0.vm" in refused.stderr


def test_the_examples_ways_are_as_it_says(invoke: Invoke) -> None:
    shown = invoke("test", WAYS)
    assert (shown.exit_code, shown.stdout) == (0, "2 passed, 0 failed\n")


CASES = """
manifests: [mesh.yaml]
namespace: vm
cases:
- {name: shares, from: webapp-0, to: "http://calculator:8888/", expect: [{pod: calculator-v1-*, probability: 0.9}, {}]}
- {name: all, from: webapp-0, to: "http://calculator:8888/", expect: {pod: calculator-v1-*}}
- {name: never, from: webapp-0, to: "http://calculator:8888/", expect: [{kind: delivered}, {status: 503}]}
- {name: nobody, from: nobody, to: "http://calculator:8888/", expect: {}}
- {name: fine, from: webapp-0, to: "http://calculator:8888/", expect: {kind: delivered, flag: ""}}
"""


def test_real_envoys_need_root(invoke: Invoke) -> None:
    refused = invoke("test", WAYS, "--on-envoy")
    assert refused.exit_code == 1
    assert "this needs root, because the mesh that the requests are sent through" in refused.stderr


def test_each_difference_is_said_and_reported_in_junits_form(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(Path(CALCULATOR).read_text())
    (tmp_path / "ways.yaml").write_text(CASES)
    shown = invoke("test", str(tmp_path / "ways.yaml"), "--junit", str(tmp_path / "report.xml"))
    assert shown.exit_code == 1
    assert "0.5 of the requests, not 0.9, end so: pod=calculator-v1-* probability=0.9" in shown.stdout
    assert "it also ends so: kind=delivered pod=calculator-v2-" in shown.stdout
    assert "it never ends so: status=503" in shown.stdout
    assert 'there is no pod "nobody"' in shown.stdout
    assert shown.stdout.endswith("1 passed, 4 failed\n")
    (suite,) = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "4")
    assert [case.get("name") for case in suite if case.find("failure") is None] == ["fine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("manifests: [mesh.yaml]\ncases: [{from: a, to: b}]", "missing required field `expect`"),
        ("manifests: [mesh.yaml]\ncases: []\ncase: 1", "unknown field `case`"),
        ("a: [", "expected"),
        ("manifests: [gone.yaml]\ncases: []", "gone.yaml"),
    ],
)
def test_a_file_that_cant_be_read_says_why(invoke: Invoke, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mesh.yaml").write_text(Path(CALCULATOR).read_text())
    (tmp_path / "ways.yaml").write_text(text)
    refused = invoke("test", str(tmp_path / "ways.yaml"))
    assert refused.exit_code == 1
    assert message in refused.stderr


def test_a_flag_and_a_status_say_what_they_mean(invoke: Invoke) -> None:
    assert "a subset's labels select none" in invoke("why", "UH").stdout
    status = invoke("why", "503").stdout
    assert status.startswith("503: there is no endpoint")
    assert "\n  UF: the connection to the endpoint failed" in status
    refused = invoke("why", "XX")
    assert refused.exit_code == 1
    assert "XX is neither a status nor a response flag" in refused.stderr
