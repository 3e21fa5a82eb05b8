"""DNS queries and what becomes of them."""

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.agent.names import Forward, NameTable, Reply, Zone, resolve

TABLE = NameTable(
    "1",
    {
        "calculator.vm.svc.cluster.local": ("10.96.0.1", "fd70::1"),
        "v4.vm.svc.cluster.local": ("10.96.0.2",),
        "headless.vm.svc.cluster.local": ("10.244.0.2", "10.244.0.3", "10.244.0.4"),
        "nobody.vm.svc.cluster.local": (),
        "api.example.com": ("240.240.0.1",),
        "*.example.org": ("240.240.0.2",),
        "many.vm.svc.cluster.local": tuple(f"10.0.{n // 256}.{n % 256}" for n in range(200)),
    },
)
ZONE = Zone(namespace="vm")


def ask(name: str, kind: str = "A") -> DNSRecord | None:
    """The reply; None if the query is to be forwarded."""
    found = resolve(DNSRecord.question(name, kind).pack(), TABLE, ZONE)
    return DNSRecord.parse(found.packet) if isinstance(found, Reply) else None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("calculator.vm.svc.cluster.local", "A", ["10.96.0.1"]),
        ("calculator.vm.svc.cluster.local", "AAAA", ["fd70::1"]),
        ("calculator.vm.svc.cluster.local", "ANY", ["10.96.0.1", "fd70::1"]),
        ("CALCULATOR.vm.svc.Cluster.Local.", "A", ["10.96.0.1"]),
        # As a client asks that does not search: dig, or one with ndots:1.
        ("calculator", "A", ["10.96.0.1"]),
        ("calculator.vm", "A", ["10.96.0.1"]),
        ("calculator.vm.svc", "A", ["10.96.0.1"]),
        # NODATA: the name exists.
        ("v4.vm.svc.cluster.local", "AAAA", []),
        ("calculator.vm.svc.cluster.local", "MX", []),
        ("nobody.vm.svc.cluster.local", "A", []),
        # Service entries.
        ("api.example.com", "A", ["240.240.0.1"]),
        ("a.example.org", "A", ["240.240.0.2"]),
        ("a.b.example.org", "A", ["240.240.0.2"]),
    ],
)
def test_answered(name: str, kind: str, expected: list[str]) -> None:
    reply = ask(name, kind)
    assert reply is not None
    assert reply.header.rcode == RCODE.NOERROR
    assert sorted(str(record.rdata) for record in reply.rr) == expected
    assert all(record.ttl == 30 and record.rname == reply.q.qname for record in reply.rr)


@pytest.mark.parametrize("name", ["missing.vm.svc.cluster.local", "www.google.com.svc.cluster.local", "cluster.local"])
def test_below_the_cluster_s_domain_what_is_unknown_does_not_exist(name: str) -> None:
    reply = ask(name)
    assert reply is not None
    assert reply.header.rcode == RCODE.NXDOMAIN


@pytest.mark.parametrize(
    "name", ["www.google.com", "example.org", "notcluster.local", "other", "1.0.96.10.in-addr.arpa"]
)
def test_everything_else_is_forwarded(name: str) -> None:
    query = DNSRecord.question(name)
    found = resolve(query.pack(), TABLE, ZONE)
    assert isinstance(found, Forward)
    failure = DNSRecord.parse(found.failure)
    assert (failure.header.id, failure.header.rcode) == (query.header.id, RCODE.SERVFAIL)


def test_before_the_first_table_a_name_is_not_denied() -> None:
    found = resolve(DNSRecord.question("calculator.vm.svc.cluster.local").pack(), NameTable(), ZONE)
    assert isinstance(found, Reply)
    assert DNSRecord.parse(found.packet).header.rcode == RCODE.SERVFAIL


def test_each_address_comes_first_some_time() -> None:
    first = set()
    for number in range(3):
        query = DNSRecord(DNSHeader(id=number), q=DNSQuestion("headless"))
        found = resolve(query.pack(), TABLE, ZONE)
        assert isinstance(found, Reply)
        reply = DNSRecord.parse(found.packet)
        assert len(reply.rr) == 3
        first.add(str(reply.rr[0].rdata))
    assert len(first) == 3


@pytest.mark.parametrize(("edns", "over_udp", "whole"), [(0, True, False), (4096, True, True), (0, False, True)])
def test_an_answer_that_does_not_fit_is_truncated(edns: int, over_udp: bool, whole: bool) -> None:
    query = DNSRecord.question("many")
    if edns:
        query.add_ar(EDNS0(udp_len=edns))
    found = resolve(query.pack(), TABLE, ZONE, over_udp)
    assert isinstance(found, Reply)
    reply = DNSRecord.parse(found.packet)
    assert (reply.header.tc, len(reply.rr)) == ((0, 200) if whole else (1, 0))
    assert any(record.rtype == QTYPE.OPT for record in reply.ar) is bool(edns)
    assert len(found.packet) <= (edns or 512) or not over_udp


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff", RCODE.FORMERR),
        (bytes(DNSRecord(DNSHeader(id=0x1234, opcode=2), q=DNSQuestion("a")).pack()), RCODE.NOTIMP),
        (bytes(DNSRecord(DNSHeader(id=0x1234)).pack()), RCODE.FORMERR),
    ],
)
def test_what_is_not_understood_is_told(packet: bytes, rcode: int) -> None:
    found = resolve(packet, TABLE, ZONE)
    assert isinstance(found, Reply)
    header = DNSRecord.parse(found.packet).header
    assert (header.id, header.qr, header.rcode) == (0x1234, 1, rcode)


@pytest.mark.parametrize("packet", [b"", b"short", bytes(DNSRecord.question("a").reply().pack())])
def test_what_is_no_query_is_not_answered(packet: bytes) -> None:
    """Answering a reply could make two servers talk to each other for ever."""
    assert resolve(packet, TABLE, ZONE) is None


@given(st.binary(max_size=100))
def test_no_packet_is_an_error(packet: bytes) -> None:
    resolve(packet, TABLE, ZONE)


@given(st.binary(min_size=1, max_size=60))
def test_no_damaged_query_is_an_error(damage: bytes) -> None:
    packet = bytes(DNSRecord.question("calculator.vm").pack())
    resolve(packet[:14] + damage + packet[14:], TABLE, ZONE)
