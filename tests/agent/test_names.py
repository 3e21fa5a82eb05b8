"""DNS queries and what becomes of them, read by another implementation."""

from __future__ import annotations

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, DNSError, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.agent.dnswire import Kind
from pilotfish.agent.names import Forward, Reply, resolve
from pilotfish.model.names import NameTable, Port

STORE = "store.vm.svc.cluster.local"
TABLE = NameTable(
    "1",
    {
        "calculator.vm.svc.cluster.local": ("10.96.0.1", "fd70::1"),
        "v4.vm.svc.cluster.local": ("10.96.0.2",),
        STORE: ("10.244.0.2", "10.244.0.3", "fd70::3", "10.244.0.4"),
        f"store-0.{STORE}": ("10.244.0.2",),
        f"store-1.{STORE}": ("10.244.0.3", "fd70::3"),
        "nobody.vm.svc.cluster.local": (),
        "api.example.com": ("240.240.0.1",),
        "*.example.org": ("240.240.0.2",),
        "*.deep.example.org": ("240.240.0.3",),
        "exact.example.org": ("240.240.0.4",),
        "many.vm.svc.cluster.local": tuple(f"10.0.{n // 256}.{n % 256}" for n in range(200)),
        "most.vm.svc.cluster.local": tuple(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(5000)),
    },
    {
        "calculator.vm.svc.cluster.local": (Port("_http._tcp", 8888), Port("_dns._udp", 53)),
        "v4.vm.svc.cluster.local": (Port("", 80),),
        STORE: (Port("_http._tcp", 8000), Port("_admin._tcp", 9000, ("10.244.0.2",)), Port("_admin._tcp", 9001, ())),
        "many.vm.svc.cluster.local": (Port("_http._tcp", 1),),
        "nobody.vm.svc.cluster.local": (Port("_http._tcp", 1),),
    },
    frozenset((STORE, "nobody.vm.svc.cluster.local", "many.vm.svc.cluster.local")),
)


def reply_to(query: DNSRecord, over_udp: bool = True) -> DNSRecord:
    found = resolve(query.pack(), TABLE, over_udp)
    assert isinstance(found, Reply)
    return DNSRecord.parse(found.packet)


def ask(name: str, kind: str = "A") -> DNSRecord | None:
    """The reply; None if the query is to be forwarded."""
    found = resolve(DNSRecord.question(name, kind).pack(), TABLE)
    return DNSRecord.parse(found.packet) if isinstance(found, Reply) else None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("calculator.vm.svc.cluster.local", "A", ["10.96.0.1"]),
        ("calculator.vm.svc.cluster.local", "AAAA", ["fd70::1"]),
        ("calculator.vm.svc.cluster.local", "ANY", ["10.96.0.1", "fd70::1"]),
        ("CALCULATOR.vm.svc.Cluster.Local.", "A", ["10.96.0.1"]),
        # Pods of a headless Service.
        (f"store-1.{STORE}", "AAAA", ["fd70::3"]),
        (f"10-244-0-4.{STORE}", "A", ["10.244.0.4"]),
        (f"fd70--3.{STORE}", "AAAA", ["fd70::3"]),
        ("10-244-0-9.vm.pod.cluster.local", "A", ["10.244.0.9"]),
        ("fd70--9.vm.pod.cluster.local", "AAAA", ["fd70::9"]),
        # Service entries.
        ("api.example.com", "A", ["240.240.0.1"]),
        ("a.example.org", "A", ["240.240.0.2"]),
        ("a.b.example.org", "A", ["240.240.0.2"]),
        ("a.deep.example.org", "A", ["240.240.0.3"]),
        ("Exact.Example.org", "A", ["240.240.0.4"]),
        # Who has an address: the Service, or the pod by its own name.
        ("1.0.96.10.in-addr.arpa", "PTR", ["calculator.vm.svc.cluster.local."]),
        (f"{'1.0.0.0.' + '0.' * 24}0.7.d.f.ip6.arpa", "PTR", ["calculator.vm.svc.cluster.local."]),
        ("3.0.244.10.in-addr.arpa", "PTR", [f"store-1.{STORE}."]),
        # Priority, weight, port, target.
        ("_http._tcp.calculator.vm.svc.cluster.local", "SRV", ["0 1 8888 calculator.vm.svc.cluster.local."]),
        ("_DNS._udp.calculator.vm.svc.cluster.local", "SRV", ["0 1 53 calculator.vm.svc.cluster.local."]),
        ("v4.vm.svc.cluster.local", "SRV", ["0 1 80 v4.vm.svc.cluster.local."]),
        (
            f"_http._tcp.{STORE}",
            "SRV",
            [f"0 1 8000 10-244-0-4.{STORE}.", f"0 1 8000 store-0.{STORE}.", f"0 1 8000 store-1.{STORE}."],
        ),
        ("cluster.local", "SOA", ["ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"]),
    ],
)
def test_answered(name: str, kind: str, expected: list[str]) -> None:
    reply = ask(name, kind)
    assert reply is not None
    assert (reply.header.rcode, reply.header.aa, reply.header.tc) == (RCODE.NOERROR, 1, 0)
    assert sorted(str(record.rdata) for record in reply.rr) == expected
    assert all(record.rname == reply.q.qname for record in reply.rr)


def test_a_port_that_pods_number_differently() -> None:
    reply = ask(f"_admin._tcp.{STORE}", "SRV")
    assert reply is not None
    assert f"0 1 9000 store-0.{STORE}." in [str(record.rdata) for record in reply.rr]


def test_the_addresses_of_a_service_s_targets_come_along() -> None:
    reply = ask(f"_http._tcp.{STORE}", "SRV")
    assert reply is not None
    assert {(str(r.rname), str(r.rdata)) for r in reply.ar} >= {
        (f"store-0.{STORE}.", "10.244.0.2"),
        (f"store-1.{STORE}.", "fd70::3"),
    }


def test_the_question_comes_back_in_its_own_letter_case() -> None:
    """Some resolvers mix cases, and take an answer with others for a forgery."""
    query = DNSRecord.question("CalCulator.vm.svc.Cluster.LOCAL")
    found = resolve(query.pack(), TABLE)
    assert isinstance(found, Reply)
    assert found.packet[12:][: len(query.pack()) - 12] == query.pack()[12:]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("v4.vm.svc.cluster.local", "AAAA"),
        ("calculator.vm.svc.cluster.local", "MX"),
        ("nobody.vm.svc.cluster.local", "A"),
        ("nobody.vm.svc.cluster.local", "SRV"),
        ("_http._tcp.nobody.vm.svc.cluster.local", "SRV"),
        ("_http._tcp.calculator.vm.svc.cluster.local", "A"),
        ("api.example.com", "AAAA"),
        ("1.0.96.10.in-addr.arpa", "A"),
        # What has names below it exists, RFC 8020.
        ("cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("vm.svc.cluster.local", "A"),
        ("_tcp.calculator.vm.svc.cluster.local", "A"),
    ],
)
def test_a_name_that_exists_without_such_a_record(name: str, kind: str) -> None:
    reply = ask(name, kind)
    assert reply is not None
    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])
    assert [QTYPE[record.rtype] for record in reply.auth] == ["SOA"], "or nobody may remember it (RFC 2308)"


@pytest.mark.parametrize("name", ["calculator.vm.svc.cluster.local", "www.google.com", "nobody.svc.cluster.local"])
def test_whoever_reaches_no_ipv4_is_told_of_none(name: str) -> None:
    """That there is no such name nobody says before the other family was asked for."""
    found = resolve(DNSRecord.question(name, "A").pack(), TABLE, without=Kind.A)
    assert isinstance(found, Reply)
    reply = DNSRecord.parse(found.packet)
    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])
    question = DNSRecord.question(name, "AAAA").pack()
    assert resolve(question, TABLE, without=Kind.A) == resolve(question, TABLE)


@pytest.mark.parametrize(
    "name",
    [
        "missing.vm.svc.cluster.local",
        "www.google.com.svc.cluster.local",
        "other.svc.cluster.local",
        "a.calculator.vm.svc.cluster.local",
        f"10-244-0-9.{STORE}",
        "10-96-0-1.calculator.vm.svc.cluster.local",
        "no-address.vm.pod.cluster.local",
        "_none._tcp.calculator.vm.svc.cluster.local",
        "_http._udp.calculator.vm.svc.cluster.local",
        "_udp.v4.vm.svc.cluster.local",
    ],
)
def test_below_the_cluster_s_domain_what_is_unknown_does_not_exist(name: str) -> None:
    for kind in ("A", "SRV"):
        reply = ask(name, kind)
        assert reply is not None
        assert (reply.header.rcode, reply.rr) == (RCODE.NXDOMAIN, [])
        assert [(str(r.rname), QTYPE[r.rtype], r.ttl) for r in reply.auth] == [("cluster.local.", "SOA", 5)]


@pytest.mark.parametrize(
    "name",
    [
        "www.google.com",
        "example.org",
        "notcluster.local",
        # Short names are the client's to complete.
        "calculator",
        "calculator.vm",
        "calculator.vm.svc",
        "9.9.96.10.in-addr.arpa",
        "4.0.244.10.in-addr.arpa",
        "0.96.10.in-addr.arpa",
        "1.0.240.240.in-addr.arpa",
        "ip6.arpa",
        "",
    ],
)
def test_everything_else_is_forwarded(name: str) -> None:
    query = DNSRecord.question(name)
    found = resolve(query.pack(), TABLE)
    assert isinstance(found, Forward)
    failure = DNSRecord.parse(found.failure)
    assert (failure.header.id, failure.header.rcode, failure.q) == (query.header.id, RCODE.SERVFAIL, query.q)


ALIASES = NameTable(
    "1",
    {"calculator.vm.svc.cluster.local": ("10.96.0.1", "fd70::1")},
    aliases={
        "alias.vm.svc.cluster.local": "calculator.vm.svc.cluster.local",
        "far.vm.svc.cluster.local": "alias.vm.svc.cluster.local",
        "outside.vm.svc.cluster.local": "db.example.com",
        "nowhere.vm.svc.cluster.local": "missing.vm.svc.cluster.local",
        "left.vm.svc.cluster.local": "right.vm.svc.cluster.local",
        "right.vm.svc.cluster.local": "left.vm.svc.cluster.local",
    },
)


def told(packet: bytes) -> tuple[int, list[tuple[str, str, str]]]:
    """The code, and the records."""
    reply = DNSRecord.parse(packet)
    return reply.header.rcode, [(str(r.rname), QTYPE[r.rtype], str(r.rdata)) for r in reply.rr]


def test_another_name_of_a_service_comes_with_what_it_stands_for() -> None:
    own, other = "calculator.vm.svc.cluster.local.", "alias.vm.svc.cluster.local."
    first = ("far.vm.svc.cluster.local.", "CNAME", other)
    for kind, addresses in {"A": [(own, "A", "10.96.0.1")], "AAAA": [(own, "AAAA", "fd70::1")], "TXT": []}.items():
        found = resolve(DNSRecord.question("far.vm.svc.cluster.local", kind).pack(), ALIASES)
        assert isinstance(found, Reply)
        assert told(found.packet) == (RCODE.NOERROR, [first, (other, "CNAME", own), *addresses])


@pytest.mark.parametrize(("name", "rcode"), [("nowhere", RCODE.NXDOMAIN), ("left", RCODE.NOERROR)])
def test_a_name_that_stands_for_nothing_ends(name: str, rcode: int) -> None:
    found = resolve(DNSRecord.question(f"{name}.vm.svc.cluster.local").pack(), ALIASES)
    assert isinstance(found, Reply)
    code, records = told(found.packet)
    assert (code, {kind for _, kind, _ in records}) == (rcode, {"CNAME"})


def test_another_name_of_an_outside_host_is_completed_from_its_answer() -> None:
    query = DNSRecord.question("Outside.vm.svc.cluster.local")
    found = resolve(query.pack(), ALIASES)
    assert isinstance(found, Forward)
    asked = DNSRecord.parse(found.packet)
    assert (str(asked.q.qname), QTYPE[asked.q.qtype], asked.header.rd) == ("db.example.com.", "A", 1)
    answer = asked.reply()
    zone = "db.example.com 5 CNAME db-1.example.com\ndb-1.example.com 5 A 192.0.2.1\ndb-1.example.com 5 A 192.0.2.2"
    answer.add_answer(*RR.fromZone(zone))
    alias = ("Outside.vm.svc.cluster.local.", "CNAME", "db.example.com.")
    addresses = [("db.example.com.", "A", address) for address in ("192.0.2.1", "192.0.2.2")]
    assert told(found.complete(answer.pack())) == (RCODE.NOERROR, [alias, *addresses])
    assert DNSRecord.parse(found.complete(answer.pack())).header.id == query.header.id
    for code in (RCODE.NXDOMAIN, RCODE.SERVFAIL):
        failure = asked.reply()
        failure.header.rcode = code
        assert told(found.complete(failure.pack())) == (code, [alias])


@pytest.mark.parametrize(
    "name", ["pod.other.svc.cluster.local", "cluster.local", "kubernetes.default.svc.cluster.local"]
)
def test_a_cluster_s_own_dns_is_asked_for_what_the_mesh_does_not_know(name: str) -> None:
    query = DNSRecord.question(name)
    for table in (TABLE, NameTable()):
        assert resolve(query.pack(), table, alone=False) == Forward(
            query.pack(),
            resolve(query.pack(), table, alone=False).failure,  # type: ignore[union-attr]
        )
    known = resolve(DNSRecord.question("v4.vm.svc.cluster.local").pack(), TABLE, alone=False)
    assert isinstance(known, Reply)


@given(st.binary(min_size=4, max_size=64), st.integers(0, 200))
def test_no_answer_of_a_resolver_is_an_error(junk: bytes, cut: int) -> None:
    found = resolve(DNSRecord.question("outside.vm.svc.cluster.local").pack(), ALIASES)
    assert isinstance(found, Forward)
    answer = DNSRecord.parse(found.packet).reply()
    answer.add_answer(*RR.fromZone("db.example.com 5 A 192.0.2.1"))
    for packet in (junk, answer.pack()[: max(12, cut)], answer.pack()[:12] + junk):
        assert DNSRecord.parse(found.complete(packet)).q.qname == "outside.vm.svc.cluster.local"


def test_before_the_first_table_a_name_is_not_denied() -> None:
    found = resolve(DNSRecord.question("calculator.vm.svc.cluster.local").pack(), NameTable())
    assert isinstance(found, Reply)
    assert DNSRecord.parse(found.packet).header.rcode == RCODE.SERVFAIL


def test_each_address_comes_first_some_time() -> None:
    first = set()
    for number in range(3):
        reply = reply_to(DNSRecord(DNSHeader(id=number), q=DNSQuestion(STORE)))
        assert len(reply.rr) == 3
        first.add(str(reply.rr[0].rdata))
    assert len(first) == 3


@pytest.mark.parametrize("kind", ["A", "SRV"])
@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (100, 512), (1000, 1000), (1232, 1232), (65535, 1232)])
def test_what_does_not_fit_is_truncated(kind: str, edns: int | None, limit: int) -> None:
    """The question stays (glibc drops what lacks it), and so do the records that fit: musl asks for no more."""
    query = DNSRecord.question("many.vm.svc.cluster.local", kind)
    if edns is not None:
        query.add_ar(EDNS0(udp_len=edns, flags="do"))
    found = resolve(query.pack(), TABLE)
    assert isinstance(found, Reply)
    assert limit - 80 < len(found.packet) <= limit
    reply = DNSRecord.parse(found.packet)
    assert (reply.header.tc, reply.q) == (1, query.q)
    assert len(reply.rr) > 5
    options = [record for record in reply.ar if record.rtype == QTYPE.OPT]
    assert [(o.edns_len, o.edns_do) for o in options] == ([] if edns is None else [(1232, 1)])


def test_over_tcp_all_is_told_but_what_no_message_holds() -> None:
    assert len(reply_to(DNSRecord.question("many.vm.svc.cluster.local"), over_udp=False).rr) == 200
    most = reply_to(DNSRecord.question("most.vm.svc.cluster.local"), over_udp=False)
    assert (most.header.tc, len(most.rr)) == (1, (65535 - 12 - 31) // 16)


def test_a_newer_edns_is_told_that_it_is_not_known() -> None:
    query = DNSRecord.question("calculator.vm.svc.cluster.local")
    query.add_ar(EDNS0(udp_len=1232, version=1))
    reply = reply_to(query)
    assert (reply.header.rcode, reply.ar[0].ttl >> 24, reply.rr) == (0, 1, []), "BADVERS, RFC 6891, 6.1.3"


TWICE = DNSRecord.question("a", "A")
TWICE.add_ar(EDNS0(udp_len=1232), EDNS0(udp_len=1232))
CROWDED = DNSRecord.question("a", "A")
CROWDED.add_ar(*(DNSRecord.parse(TWICE.pack()).ar[:1] * 9))


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff", RCODE.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", RCODE.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x3f" + b"a" * 63, RCODE.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\1a" * 128 + b"\0\0\1\0\1", RCODE.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + b"\1a\0\0\1\0\1", RCODE.FORMERR),
        (b"\x12\x34" + TWICE.pack()[2:], RCODE.FORMERR),
        (b"\x12\x34" + CROWDED.pack()[2:], RCODE.FORMERR),
        (bytes(DNSRecord(DNSHeader(id=0x1234, opcode=2), q=DNSQuestion("a")).pack()), RCODE.NOTIMP),
        (bytes(DNSRecord(DNSHeader(id=0x1234)).pack()), RCODE.FORMERR),
    ],
)
def test_what_is_not_understood_is_told(packet: bytes, rcode: int) -> None:
    found = resolve(packet, TABLE)
    assert isinstance(found, Reply)
    header = DNSRecord.parse(found.packet).header
    assert (header.id, header.qr, header.rcode) == (0x1234, 1, rcode)


@pytest.mark.parametrize(
    "packet", [b"", b"short", bytes(DNSRecord(DNSHeader(id=0x1234, qr=1), q=DNSQuestion("a")).pack())]
)
def test_what_is_no_query_is_not_answered(packet: bytes) -> None:
    """Answering a reply could make two servers talk to each other for ever."""
    assert resolve(packet, TABLE) is None


def test_a_dot_within_a_label_is_no_separator() -> None:
    name = b"\x0dcalculator.vm\3svc\7cluster\5local\0"
    found = resolve(b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1", TABLE)
    assert isinstance(found, Reply)
    assert found.packet[3] & 0xF == RCODE.NXDOMAIN


def check_bounds(packet: bytes) -> None:
    """Whatever came in: no exception, nothing over the limits, and whoever can read the question can the answer."""
    for over_udp in (True, False):
        found = resolve(packet, TABLE, over_udp)
        answer = found.packet if isinstance(found, Reply) else found.failure if found else b""
        assert len(answer) <= (1232 if over_udp else 65535)
        if answer and readable(packet):
            assert DNSRecord.parse(answer).header.id == DNSRecord.parse(packet).header.id


def readable(packet: bytes) -> bool:
    try:
        DNSRecord.parse(packet)
    except DNSError:
        return False
    return True


@given(st.binary(max_size=100))
def test_no_packet_is_an_error(packet: bytes) -> None:
    check_bounds(packet)


queries = st.builds(
    lambda name, kind, size: DNSRecord(
        DNSHeader(id=7, rd=1), q=DNSQuestion(name, kind), ar=[EDNS0(udp_len=size)]
    ).pack(),
    st.sampled_from([*TABLE.records, f"_http._tcp.{STORE}", "2.0.244.10.in-addr.arpa", "1-2-3-4.vm.pod.cluster.local"]),
    st.sampled_from([1, 6, 12, 28, 33, 255]),
    st.integers(0, 65535),
)


@given(queries, st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=4), st.integers(0, 4)), max_size=4))
def test_no_damaged_query_is_an_error(packet: bytes, damages: list[tuple[int, bytes, int]]) -> None:
    for at, bytes_, lost in damages:
        packet = packet[:at] + bytes_ + packet[at + lost :]
    check_bounds(packet)


def test_a_proxy_is_told_where_a_host_is_and_not_where_it_is_captured() -> None:
    """An Envoy that asks for a ServiceEntry's host would be led back to itself."""

    def ask_as_proxy(name: str) -> Reply | Forward | None:
        return resolve(
            DNSRecord.question(name).pack(), TABLE.clusters, own={"host.pilotfish.internal": ("10.244.255.253",)}
        )

    assert isinstance(resolve(DNSRecord.question("api.example.com").pack(), TABLE), Reply)
    assert isinstance(ask_as_proxy("api.example.com"), Forward)
    assert isinstance(ask_as_proxy(STORE), Reply)
    found = ask_as_proxy("host.pilotfish.internal")
    assert isinstance(found, Reply)
    assert [str(record.rdata) for record in DNSRecord.parse(found.packet).rr] == ["10.244.255.253"]
    only = NameTable("v", {STORE: ("10.244.0.2",)})
    assert only.clusters is only, "nothing is copied where there is nothing else"
