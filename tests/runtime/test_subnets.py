"""Which addresses a mesh takes."""

import pytest

from pilotfish.runtime.net.subnets import Subnets, choose, parse_pod_cidr, parse_service_cidr

CASES: tuple[tuple[str, list[str], int], ...] = (
    ("nothing is used", [], 244),
    ("a default route is in nobody's way", ["0.0.0.0/0"], 244),
    ("another mesh runs", ["10.244.0.0/16"], 243),
    ("a host's address is enough", ["10.244.3.4"], 243),
    ("a wider route covers several", ["10.240.0.0/13"], 239),
    ("networks elsewhere do not matter", ["192.168.0.0/16", "172.17.0.0/16", "fd70:6600:244::/64"], 244),
    ("a VPN's aggregate hides all, and gives way", ["10.0.0.0/8", "10.244.0.0/24"], 243),
)


@pytest.mark.parametrize(("why", "used", "expected"), CASES, ids=[case[0] for case in CASES])
def test_the_first_free_one(why: str, used: list[str], expected: int) -> None:
    assert choose(used) == Subnets.numbered(expected)


def test_none_is_free() -> None:
    assert choose(f"10.{n}.0.0/13" for n in range(0, 256, 8)) is None


def test_addresses() -> None:
    subnets = Subnets.numbered(244)
    assert [str(network) for network in (subnets.v4, subnets.v6)] == ["10.244.0.0/16", "fd70:6600:244::/64"]
    assert [str(address) for address in subnets.node] == ["10.244.0.1", "fd70:6600:244::1"]
    assert [str(address) for address in subnets.host] == ["10.244.255.254", "fd70:6600:244::ffff"]
    assert subnets.interface("10.244.0.2") == "10.244.0.2/16"
    assert subnets.interface("fd70:6600:244::2") == "fd70:6600:244::2/64"


def test_networks_that_are_asked_for_have_their_own_addresses() -> None:
    subnets = Subnets.beside(*[parse_pod_cidr("172.20.32.0/20")[0], parse_service_cidr("10.97.0.0/24")])
    assert str(subnets.v6) == "fd70:6601:ac14:2000::/64"
    assert [str(a) for a in (subnets.node[0], subnets.machine, subnets.host[0])] == [
        "172.20.32.1",
        "172.20.47.253",
        "172.20.47.254",
    ]
    assert subnets.dns == "10.97.0.10"
    assert Subnets.beside(parse_pod_cidr("10.7.0.0/16")[0]) == Subnets.numbered(7)


def test_services_are_in_nobodys_way() -> None:
    chosen = choose([], parse_service_cidr("10.244.0.0/16"))
    assert chosen is not None
    assert str(chosen.v4) == "10.243.0.0/16"


def test_another_meshs_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.243\.0\.2 is not in 10\.244\.0\.0/16"):
        Subnets.numbered(244).interface("10.243.0.2")
