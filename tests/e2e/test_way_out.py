"""`up --egress`: pods reach what the host reaches, and the host is afterwards as it was before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.runtime.net.subnets import Subnets
from tests.e2e.harness import MakeMesh, Mesh, run, running_mesh
from tests.e2e.hosts import HOST, HOST_V6, LAN, NAME, SITE, SITE_V6, World, world
from tests.waiting import wait_until

PODS = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec: {{containers: [{{name: web, command: [sleep, infinity]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: bare, labels: {{app: bare}}, annotations: {{sidecar.istio.io/inject: "false"}}}}
spec: {{containers: [{{name: bare, command: [sleep, infinity]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: beyond}}
spec: {{ports: [{{name: http, port: 8080}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: beyond}}
subsets: [{{addresses: [{{ip: {SITE}}}], ports: [{{name: http, port: 80}}]}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: site}}
spec:
  hosts: [{NAME}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: DNS
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "accessLogFile: /dev/stdout"}}
"""
BARE = "".join(PODS.split("---")[1:2])
UDP = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], 7))
s.send(b"hello")
print(s.recv(99).decode())
"""


@pytest.fixture(scope="module")
def around() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture(scope="module")
def mesh(around: World) -> Iterator[Mesh]:
    before = around.state
    with running_mesh("out", PODS, "--egress", host=around.host) as made:
        yield made
    assert around.state == before


def pid(mesh: Mesh) -> int:
    return int(mesh.status["mesh"]["pid"])


@pytest.mark.parametrize("pod", ["web", "bare"])
def test_pods_call_the_outside_as_the_host(mesh: Mesh, pod: str) -> None:
    assert mesh.curl(pod, f"http://{SITE}/").stdout == HOST
    assert mesh.curl(pod, f"http://[{SITE_V6}]/").stdout == HOST_V6
    assert mesh.curl(pod, f"http://{LAN}/").stdout == "192.0.2.130", "every network of the host's"
    assert mesh.exec(pod, "python3", "-c", UDP, SITE).stdout == "HELLO\n"
    assert mesh.exec(pod, "python3", "-c", UDP, SITE_V6).stdout == "HELLO\n"


def test_a_service_of_addresses_outside_is_balanced_and_published(mesh: Mesh, around: World) -> None:
    """Also by the node's kernel, which has to see the answers."""
    assert mesh.curl("bare", "http://beyond.default:8080/").stdout == HOST
    assert mesh.curl("web", "http://beyond.default:8080/").stdout == HOST
    mesh.call("publish", "9300:beyond:http")
    try:
        assert around.on_host("curl", "-sm", "5", "http://127.0.0.1:9300/") == HOST
    finally:
        mesh.call("publish", "--remove", "9300")


def test_an_outside_name_is_the_hosts_resolvers(mesh: Mesh, around: World) -> None:
    if not around.resolves:
        pytest.skip("this machine has no resolver")
    assert mesh.curl("bare", f"http://{NAME}/").stdout == HOST
    assert mesh.curl("web", f"http://{NAME}/").stdout == HOST
    entry = mesh.logged("web", "the call by name", lambda each: each.authority == NAME)
    assert entry.upstream_cluster == f"outbound|80||{NAME}"


def test_what_the_outside_refuses_is_refused(mesh: Mesh) -> None:
    done = mesh.curl("bare", f"http://{SITE}:81/", check=False)
    assert "Failed to connect" in done.stderr
    assert "Couldn't connect" in done.stderr or "refused" in done.stderr


def test_nothing_comes_in_and_the_host_is_no_router_for_others(mesh: Mesh, around: World) -> None:
    (pod,) = mesh.pods("bare")
    listening = mesh.exec("bare", "sh", "-c", "python3 -m http.server 8000 >/dev/null 2>&1 & echo started")
    assert listening.stdout == "started\n"
    address = pod["addresses"][0]
    wait_until(
        "the host reaches the pod",
        lambda: (
            around.on_host(
                "curl", "-sm", "2", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}:8000/", check=False
            )
            == "200"
        ),
    )
    for target, port in ((address, 8000), (SITE, 80), (pod["addresses"][1], 8000)):
        shown = f"[{target}]" if ":" in target else target
        came = run("nsenter", f"--net={around.lan.path}", "curl", "-sm", "1", f"http://{shown}:{port}/", check=False)
        assert came.returncode, f"{target} was reached through the host: {came.stdout}"


def test_status_and_explain_know_the_way(mesh: Mesh) -> None:
    assert "way out    as from this machine" in mesh.call("status").stdout
    said = mesh.call("explain", "web", f"http://{SITE}/").stdout
    assert f"it leaves the mesh: {SITE}:80 is no pod's" in said
    v4 = mesh.status["mesh"]["pod_subnets"][0]
    nobody = str(Subnets.numbered(int(v4.split(".")[1])).v4[999])
    assert "nobody's" in mesh.call("explain", "web", f"http://{nobody}/", check=False).stdout


def test_a_firewall_of_the_host_is_said_and_its_remedy_works(mesh: Mesh, around: World, tmp_path: Path) -> None:
    rules = tmp_path / "firewall"
    rules.write_text("table ip filter {\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n }\n}\n")

    def problems() -> list[str]:
        return [each["message"] for each in mesh.status["problems"] if each["reason"] == "EgressBlocked"]

    try:
        around.on_host("nft", "-f", str(rules))
        (message,) = wait_until("the firewall is noticed", problems)
        assert "chain FORWARD of table ip filter, as its policy is drop" in message
        assert mesh.curl("bare", f"http://{SITE}/", "-m", "1", check=False).returncode
        for command in message.split("let it through: ")[1].split("; "):
            around.on_host(*command.split())
        wait_until("the firewall lets it through", lambda: not problems())
        assert mesh.curl("bare", f"http://{SITE}/").stdout == HOST
    finally:
        around.on_host("nft", "delete", "table", "ip", "filter")
    wait_until("no firewall is left", lambda: not problems())


def test_rules_that_somebody_flushes_come_back(mesh: Mesh, around: World) -> None:
    """As a firewall does that is loaded anew; what was set on the host is still known to be the mesh's."""
    table = ("nft", "list", "table", "inet", f"pilotfish-egress-{mesh.name}")
    before = around.on_host(*table)
    around.on_host("nft", "flush", "ruleset")
    wait_until("the table is back", lambda: around.on_host(*table, check=False) == before)
    assert mesh.curl("bare", f"http://{SITE}/").stdout == HOST


def test_a_route_that_goes_is_not_forgotten(mesh: Mesh, around: World) -> None:
    """What was set for it is undone at the end, which the fixture asserts."""
    around.on_host("ip", "route", "del", "default")
    around.on_host("ip", "-6", "route", "del", "default")
    around.on_host("ip", "-6", "address", "del", f"{HOST_V6}/64", "dev", "up0")
    unreached = mesh.curl("bare", f"http://[{SITE_V6}]/", "-m", "5", check=False)
    assert unreached.returncode
    around.on_host("ip", "-6", "address", "add", f"{HOST_V6}/64", "dev", "up0", "nodad")
    around.on_host("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
    around.on_host("ip", "route", "add", "default", "via", "198.51.100.1")
    wait_until(
        "IPv6 is back", lambda: mesh.curl("bare", f"http://[{SITE_V6}]/", "-m", "2", check=False).stdout == HOST_V6
    )
    assert mesh.curl("bare", f"http://{SITE}/").stdout == HOST


def test_two_meshes_share_what_the_host_was_set_to(mesh: Mesh, around: World, make_mesh: MakeMesh) -> None:
    with make_mesh("out2", BARE, "--egress", host=around.host) as other:
        assert other.curl("bare", f"http://{SITE}/").stdout == HOST
        mine = other.pods("bare")[0]["addresses"][0]
        done = mesh.curl("bare", f"http://{mine}:8000/", "-m", "2", check=False)
        assert done.returncode == 7, f"meshes do not reach each other: {done}"
    assert mesh.curl("bare", f"http://{SITE}/").stdout == HOST
    assert mesh.curl("bare", f"http://[{SITE_V6}]/").stdout == HOST_V6


def test_who_forwards_everything_goes_on_to_do_so(around: World, make_mesh: MakeMesh) -> None:
    before = around.state
    try:
        with make_mesh("out3", BARE, "--egress", host=around.host) as made:
            table = f"pilotfish-egress-{made.name}"

            def forwarded() -> str:
                return around.on_host("nft", "list", "set", "inet", table, "forwarded")

            assert '"up0"' in forwarded()
            around.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")  # as Docker does it
            wait_until("nothing is the mesh's to switch off", lambda: "elements" not in forwarded())
            assert made.curl("bare", f"http://{SITE}/").stdout == HOST
        assert around.on_host("sysctl", "-n", "net.ipv4.conf.up0.forwarding") == "1\n"
    finally:
        around.on_host("sysctl", "-qw", "net.ipv4.ip_forward=0")
    wait_until("the host is as it was", lambda: around.state == before)


@pytest.mark.parametrize("by", ["down", "up"])
def test_a_killed_mesh_leaves_nothing_that_is_not_undone(around: World, make_mesh: MakeMesh, by: str) -> None:
    before = around.state
    with make_mesh("out4", BARE, "--egress", host=around.host) as made:
        assert around.state != before
        process = pid(made)
        os.kill(process, signal.SIGKILL)
        wait_until("it is dead", lambda: not Path(f"/proc/{process}").exists())
        if by == "down":
            assert f"table inet pilotfish-egress-{made.name}" in made.call("down").stdout
        else:
            said = made.pilotfish("up", made.sources, "--name", made.name, "--detach")
            assert f"table inet pilotfish-egress-{made.name}" in said.stderr
            assert made.curl("bare", f"http://{SITE}/", check=False).returncode, "without the flag there is no way"
            made.call("down")
        assert around.state == before


def test_without_the_flag_the_host_is_untouched_and_the_way_is_said(around: World, make_mesh: MakeMesh) -> None:
    before = around.state
    with make_mesh("in", PODS, host=around.host) as made:
        link = f"dev pf-{made.name}"[:20]
        assert [line for text in around.state for line in text.splitlines() if link[:10] not in line] == [
            line for text in before for line in text.splitlines()
        ]
        assert made.status_code("web", f"http://{SITE}/") == "503"
        assert made.curl("bare", f"http://{SITE}/", check=False).returncode
        said = made.call("explain", "web", f"http://{SITE}/", check=False).stdout
        assert "pods reach nothing outside of the mesh unless it is started with `up --egress`" in said
        made.logged("web", "the call", lambda each: "UF" in each.response_flags)
        why = made.call("why", "UF", "web", check=False).stdout
        assert "up --egress" in why
    assert around.state == before


def test_the_networks_are_those_that_are_asked_for(around: World, make_mesh: MakeMesh) -> None:
    spec = "{selector: {app: bare}, ports: [{port: 80}]}"
    service = f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: bare}}\nspec: {spec}\n"
    networks = ("--pod-cidr", "172.29.16.0/20,fd00:29::/64", "--service-cidr", "10.98.0.0/24")
    with make_mesh("cidr", PODS + service, *networks, "--egress", host=around.host) as made:
        assert made.status["mesh"]["pod_subnets"] == ["172.29.16.0/20", "fd00:29::/64"]
        for app in ("web", "bare"):
            assert made.address(app).startswith("172.29.16.")
            assert made.address(app, 6).startswith("fd00:29::")
        found = made.json("get", "svc/bare")
        assert found["spec"]["clusterIP"].startswith("10.98.0.")
        assert made.exec("bare", "cat", "/etc/resolv.conf").stdout.splitlines()[1] == "nameserver 10.98.0.10"
        assert made.exec("bare", "getent", "ahostsv4", "bare.default").stdout.startswith(found["spec"]["clusterIP"])
        assert made.curl("web", f"http://{SITE}/").stdout == HOST
        second = made.pilotfish("up", made.sources, "--name", "other", *networks, check=False)
        assert second.returncode == 1
        assert "the host has a route to 172.29.16.0/20" in second.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pod-cidr", "10.0.0.0/8"), "from /16 to /28"),
        (("--pod-cidr", "10.1.2.3/16"), "has host bits set"),
        (("--pod-cidr", "fd00::/64"), "write an IPv4 network"),
        (("--service-cidr", "fd00::/108"), "cluster IPs are IPv4"),
        (("--pod-cidr", "10.96.0.0/20"), "share addresses"),
    ],
)
def test_networks_that_can_not_be(around: World, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    (tmp_path / "mesh.yaml").write_text(PODS)
    mesh = Mesh(
        "none", tmp_path / "state", tmp_path, {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state")}, around.host
    )
    done = mesh.pilotfish("up", tmp_path, "--name", f"none-{os.getpid()}", *options, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr
