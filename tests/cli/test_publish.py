"""`publish` and `port-forward` as far as the command line goes; what they open is tried in tests/e2e."""

from __future__ import annotations

import pytest

from pilotfish.runtime.control.views import PublishView
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, service


def test_what_is_published_is_said(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.publishes = [
        PublishView(address="127.0.0.1:9000", target="webapp.vm:8889"),
        PublishView(address="127.0.0.1:40001", target="dns.vm:53/udp", protocol="UDP"),
    ]
    result = invoke("publish", "9000:webapp:8889", "0:dns:53/udp", "-n", "vm")
    assert result.stdout.splitlines() == [
        "webapp.vm:8889 published on 127.0.0.1:9000",
        "dns.vm:53/udp published on 127.0.0.1:40001",
    ]
    assert mesh.asked == [
        ("/publish", {"text": "9000:webapp:8889", "namespace": "vm"}),
        ("/publish", {"text": "0:dns:53/udp", "namespace": "vm"}),
    ]


@pytest.mark.parametrize(
    ("place", "address", "protocol"),
    [
        ("8080", "127.0.0.1:8080", "TCP"),
        ("0.0.0.0:53/udp", "0.0.0.0:53", "UDP"),
        ("[::1]:8080/tcp", "[::1]:8080", "TCP"),
    ],
)
def test_a_port_is_removed_by_its_address(
    mesh: FakeMesh, invoke: Invoke, place: str, address: str, protocol: str
) -> None:
    mesh.publishes = [PublishView(address=address, target="webapp.vm:8889")]
    assert f"is not published on {address} any more" in invoke("publish", "--remove", place).stdout
    assert mesh.asked == [("/unpublish", {"address": address, "protocol": protocol})]


def test_without_arguments_all_are_listed(mesh: FakeMesh, invoke: Invoke) -> None:
    assert invoke("publish").stdout == "PUBLISHED        SERVICE\n127.0.0.1:8080   webapp.vm:8889\n"
    mesh.set(published=())
    result = invoke("publish")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "No ports are published.\n", 0)


@pytest.mark.parametrize("place", ["web", "80/sctp", "1.2.3.4:", ""])
def test_a_place_that_is_none(mesh: FakeMesh, invoke: Invoke, place: str) -> None:
    result = invoke("publish", "--remove", place)
    assert result.exit_code == 1
    assert "is not of the form [ADDR:]PORT[/udp]" in result.stderr
    assert mesh.asked == []


@pytest.mark.parametrize("port", ["1:2:3", "x:80", "99999:80", "80/sctp", ""])
def test_a_port_to_forward_that_is_none(mesh: FakeMesh, invoke: Invoke, port: str) -> None:
    result = invoke("port-forward", "webapp-0", port)
    assert result.exit_code == 1
    assert "is not of the form" in result.stderr or "ports end at 65535" in result.stderr


def test_services_show_their_ports_of_the_host(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(
        services=(
            service("lb", type="LoadBalancer", ports=("80:8080/TCP",), external=("127.0.0.1",)),
            service("none", type="LoadBalancer", ports=("80/TCP",)),
        )
    )
    lines = invoke("get", "services", "-n", "vm").stdout.splitlines()
    assert [line.split()[3:5] for line in lines[1:]] == [["127.0.0.1", "80:8080/TCP"], ["<pending>", "80/TCP"]]
