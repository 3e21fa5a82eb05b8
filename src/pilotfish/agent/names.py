"""What a pod's DNS query is answered with: the mesh's own names from a table, everything else by someone else.

Below the cluster's domain the table is the whole truth: a name that it lacks does not exist. A name that it has exists
for every type, so the other family's query gets an empty answer and not a NXDOMAIN, which would end a client's search.

Source: RFC 1035, RFC 2308 (NODATA, NXDOMAIN), RFC 6891 (EDNS);
https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dnslib import AAAA, CLASS, EDNS0, QTYPE, RCODE, RR, A, DNSError, DNSHeader, DNSRecord

from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN, namespace_domain

TTL: Final = 30
"""Seconds, as Istio answers."""
_UDP_LEAST: Final = 512
_UDP_OURS: Final = 1232
"""The most that EDNS advertises without fragments (https://www.dnsflagday.net/2020/)."""


@dataclass(frozen=True, slots=True)
class NameTable:
    version: str = ""
    """"" for the table of an agent that has none yet."""
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Lower-case names without a dot at the end → IPv4 and IPv6 addresses. A name may begin with `*.`."""

    def find(self, name: str) -> tuple[str, ...] | None:
        """The addresses of `name`, or of the longest wildcard above it."""
        if (found := self.records.get(name)) is not None:
            return found
        while "." in name:
            name = name.partition(".")[2]
            if (found := self.records.get(f"*.{name}")) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Zone:
    """How short names are read, and where the table is the whole truth."""

    namespace: str = ""

    @property
    def search(self) -> tuple[str, ...]:
        """As in the pod's resolv.conf, for clients that do not search on their own."""
        own = (namespace_domain(self.namespace),) if self.namespace else ()
        return (*own, SERVICE_DOMAIN, CLUSTER_DOMAIN)

    def holds(self, name: str) -> bool:
        return name == CLUSTER_DOMAIN or name.endswith(f".{CLUSTER_DOMAIN}")


@dataclass(frozen=True, slots=True)
class Reply:
    packet: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask the machine's resolvers; `failure` is the answer if none of them helps."""

    failure: bytes


def resolve(packet: bytes, table: NameTable, zone: Zone, over_udp: bool = True) -> Reply | Forward | None:
    """What becomes of one query. None for what is no DNS query at all: it is not answered."""
    try:
        query = DNSRecord.parse(packet)
    except DNSError:
        return _malformed(packet)
    if query.header.qr or query.header.opcode != 0:
        return None if query.header.qr else Reply(_answer(query, (), RCODE.NOTIMP, over_udp))
    if len(query.questions) != 1:
        return Reply(_answer(query, (), RCODE.FORMERR, over_udp))
    name = str(query.q.qname).rstrip(".").lower()
    if query.q.qclass == CLASS.IN:
        addresses = _find(name, table, zone)
        if addresses is not None:
            return Reply(_answer(query, addresses, RCODE.NOERROR, over_udp))
        if zone.holds(name):
            # Before the first table nothing can be denied: a client would take that for good.
            return Reply(_answer(query, (), RCODE.NXDOMAIN if table.version else RCODE.SERVFAIL, over_udp))
    return Forward(_answer(query, (), RCODE.SERVFAIL, over_udp))


def _find(name: str, table: NameTable, zone: Zone) -> tuple[str, ...] | None:
    found = table.find(name)
    if found is not None or zone.holds(name):
        return found
    for suffix in zone.search:
        if (found := table.records.get(f"{name}.{suffix}")) is not None:
            return found
    return None


def _answer(query: DNSRecord, addresses: tuple[str, ...], rcode: int, over_udp: bool) -> bytes:
    reply = query.reply(ra=1, aa=0)
    reply.header.rcode = rcode
    limit = _UDP_LEAST
    if any(record.rtype == QTYPE.OPT for record in query.ar):
        limit = max(limit, next(record.edns_len for record in query.ar if record.rtype == QTYPE.OPT))
        reply.add_ar(EDNS0(udp_len=_UDP_OURS))
    # Several addresses begin with another one at each query, as the query's own id has it.
    turn = query.header.id % len(addresses) if addresses else 0
    for address in (*addresses[turn:], *addresses[:turn]):
        if (record := _record(query, address)) is not None:
            reply.add_answer(record)
    packet = bytes(reply.pack())
    if over_udp and len(packet) > limit:
        return bytes(reply.truncate().pack())
    return packet


def _record(query: DNSRecord, address: str) -> RR | None:
    kind = QTYPE.AAAA if ":" in address else QTYPE.A
    if query.q.qtype not in (kind, QTYPE.ANY):
        return None
    return RR(query.q.qname, kind, ttl=TTL, rdata=AAAA(address) if kind == QTYPE.AAAA else A(address))


def _malformed(packet: bytes) -> Reply | None:
    """A query whose header can be read is told that the rest can't."""
    if len(packet) < 12 or packet[2] & 0x80:
        return None
    header = DNSHeader(id=int.from_bytes(packet[:2], "big"), qr=1, ra=1, rcode=RCODE.FORMERR)
    return Reply(bytes(DNSRecord(header).pack()))
