"""DNS messages, byte by byte: a query read, its answer written. Nothing here raises, whatever the bytes are.

By hand, because a whole answer of a thousand addresses as objects costs 40 ms, in which no pod's probe is answered.
Of an answer only what fits is ever made.

Source: RFC 1035, RFC 2308 (negative answers), RFC 2782 (SRV), RFC 6891 (EDNS), RFC 9619 (one question)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from pilotfish.model.names import pack_address


class Kind(IntEnum):
    """Types of records that the mesh has, and the two that mean something else."""

    A = 1
    CNAME = 5
    SOA = 6
    PTR = 12
    AAAA = 28
    SRV = 33
    OPT = 41
    ANY = 255


class Rcode(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


UDP_LEAST: Final = 512
UDP_MOST: Final = 1232
"""What passes everywhere without fragments (https://www.dnsflagday.net/2020/); whoever offers more gets no more."""
TCP_MOST: Final = 65535
IN: Final = 1

_HEADER: Final = Struct("!HHHHHH")
_RECORD: Final = Struct("!HHIH")
_QUESTION_KIND: Final = Struct("!HH")
_SRV: Final = Struct("!HHH")
_SOA: Final = Struct("!IIIII")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0080
_RECURSION_DESIRED: Final = 0x0100
_KEPT: Final = 0x7910
"""Of a query's flags: opcode, recursion desired, checking disabled (RFC 4035, 3.2.2)."""
_DNSSEC_OK: Final = 0x8000
_MOST_RECORDS: Final = 8
"""In a query: EDNS is one, a signature another."""
_POINTER_TO_QUESTION: Final = b"\xc0\x0c"


@dataclass(frozen=True, slots=True)
class Query:
    """One question. What else a query may hold plays no part."""

    id: int
    flags: int
    question: bytes
    """As it was asked, in its letter case: some clients take an answer that differs for a forgery."""
    name: str
    """In lower case, without a dot at the end. A dot within a label reads `\\.`."""
    kind: int
    category: int
    """The question's class; IN is the internet's."""
    payload: int | None = None
    """What the client takes over UDP, by EDNS; None if it does not speak it."""
    version: int = 0
    """Of EDNS."""
    dnssec_ok: bool = False

    @property
    def udp_limit(self) -> int:
        return max(UDP_LEAST, min(self.payload or 0, UDP_MOST))


@dataclass(frozen=True, slots=True)
class Record:
    owner: str
    """"" for the name that was asked for."""
    kind: Kind
    data: bytes
    ttl: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said about a question. The records may be made one by one, as long as there is room."""

    rcode: Rcode = Rcode.NOERROR
    records: Iterable[Record] = ()
    authority: tuple[Record, ...] = ()
    additional: Iterable[Record] = ()
    """Left out, without a word, if there is no room."""
    authoritative: bool = True


def parse_query(packet: bytes) -> Query | Rcode | None:
    """A Rcode for what can't be read as one query; None for what must not be answered at all.

    Answering an answer could make two servers talk to each other for ever.
    """
    if len(packet) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        return None
    if flags & 0x7800:
        return Rcode.NOTIMP
    labels, end = _read_name(packet, _HEADER.size)
    if questions != 1 or labels is None or end + 4 > len(packet):
        return Rcode.FORMERR
    kind, category = _QUESTION_KIND.unpack_from(packet, end)
    edns = _read_edns(packet, end + 4, answers + authorities, additionals)
    if edns is None:
        return Rcode.FORMERR
    name = ".".join(label.decode("latin-1").replace(".", "\\.") for label in labels).lower()
    return Query(number, flags, packet[_HEADER.size : end + 4], name, kind, category, *edns)


def _read_name(packet: bytes, at: int) -> tuple[list[bytes] | None, int]:
    """Labels, and where they end. A question has nothing before it that it could point to."""
    labels, begin = [], at
    while at < len(packet) and (length := packet[at]):
        if length > 63 or at + 1 + length > len(packet) or at + 1 + length - begin > 254:
            return None, at
        labels.append(packet[at + 1 : at + 1 + length])
        at += 1 + length
    return (labels, at + 1) if at < len(packet) else (None, at)


def _skip_name(packet: bytes, at: int) -> int:
    """Where a name ends that may be compressed; past the packet's end if it has none."""
    while at < len(packet) and (length := packet[at]):
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def _read_edns(packet: bytes, at: int, before: int, additionals: int) -> tuple[int | None, int, bool] | None:
    """Payload size, version, DNSSEC; None if the records can't be read, or are more than any client has."""
    found: tuple[int | None, int, bool] = (None, 0, False)
    if before + additionals > _MOST_RECORDS:
        return None
    for number in range(before + additionals):
        at = _skip_name(packet, at)
        if at + _RECORD.size > len(packet):
            return None
        kind, size, ttl, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size + length
        if at > len(packet):
            return None
        if kind == Kind.OPT and number >= before:
            if found[0] is not None:
                return None
            found = (size, ttl >> 16 & 0xFF, bool(ttl & _DNSSEC_OK))
    return found


def is_answer(query: bytes, packet: bytes) -> bool:
    """Whether it has the number and the question of a query that could be parsed, in any letter case (RFC 5452)."""
    if len(packet) < _HEADER.size or packet[:2] != query[:2] or not packet[2] & 0x80:
        return False
    if packet[4:6] == b"\0\0":
        return can_not_answer(packet)
    end = _skip_name(query, _HEADER.size) + 4
    return packet[_HEADER.size : end].lower() == query[_HEADER.size : end].lower()


def can_not_answer(packet: bytes) -> bool:
    """Another resolver may know: this one fails, does not do such things, or refuses to (resolv.conf(5))."""
    return packet[3] & 0xF in _OF_THE_RESOLVER


_OF_THE_RESOLVER: Final = (Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)


def render_query(number: int, name: str, kind: int) -> bytes | None:
    """A question of our own; None for what can't be a name."""
    asked = render_name(name)
    if asked is None:
        return None
    edns = b"\0" + _RECORD.pack(Kind.OPT, UDP_MOST, 0, 0)
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 1) + asked + _QUESTION_KIND.pack(kind, IN) + edns


def read_addresses(packet: bytes, owner: str) -> tuple[Record, ...]:
    """The addresses that an answer ends in, as those of `owner`, whatever other names they go by in between."""
    found: list[Record] = []
    at = _skip_name(packet, _HEADER.size) + _QUESTION_KIND.size
    for _ in range(int.from_bytes(packet[6:8], "big")):
        at = _skip_name(packet, at)
        if at + _RECORD.size > len(packet):
            break
        kind, category, ttl, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size + length
        if category == IN and (kind, length) in ((Kind.A, 4), (Kind.AAAA, 16)) and at <= len(packet):
            found.append(Record(owner, Kind(kind), packet[at - length : at], ttl))
    return tuple(found)


def render_failure(packet: bytes, rcode: Rcode) -> bytes:
    """The answer to what `parse_query` could not read."""
    number, flags, *_ = _HEADER.unpack_from(packet)
    return _HEADER.pack(number, _RESPONSE | _RECURSION_AVAILABLE | flags & _KEPT | rcode, 0, 0, 0, 0)


def render(query: Query, answer: Answer, limit: int) -> bytes:
    """At most `limit` bytes. What has no room of `records` is left out, and the answer marked as truncated.

    An answer without a record or its question would be dropped: glibc wants the question back, and musl before 1.2.4
    never asks by TCP and takes what there is.
    """
    extra = b"" if query.payload is None else _render_edns(query, answer.rcode)
    room = limit - _HEADER.size - len(query.question) - len(extra)
    records, whole = _render_records(answer.records, room)
    room -= sum(map(len, records))
    authority, _ = _render_records(answer.authority, room)
    additional, _ = _render_records(answer.additional if whole else (), room - sum(map(len, authority)))
    flags = _RESPONSE | _RECURSION_AVAILABLE | query.flags & _KEPT | answer.rcode & 0xF
    flags |= (_AUTHORITATIVE if answer.authoritative else 0) | (0 if whole else _TRUNCATED)
    counts = (1, len(records), len(authority), len(additional) + bool(extra))
    return b"".join((_HEADER.pack(query.id, flags, *counts), query.question, *records, *authority, *additional, extra))


def _render_records(records: Iterable[Record], room: int) -> tuple[list[bytes], bool]:
    """As many as fit, and whether those are all."""
    rendered: list[bytes] = []
    for record in records:
        owner = render_name(record.owner) if record.owner else _POINTER_TO_QUESTION
        if owner is None:
            continue
        made = owner + _RECORD.pack(record.kind, IN, record.ttl, len(record.data)) + record.data
        if len(made) > room:
            return rendered, False
        rendered.append(made)
        room -= len(made)
    return rendered, True


def _render_edns(query: Query, rcode: Rcode) -> bytes:
    flags = _DNSSEC_OK if query.dnssec_ok else 0
    return b"\0" + _RECORD.pack(Kind.OPT, UDP_MOST, rcode >> 4 << 24 | flags, 0)


def render_name(name: str) -> bytes | None:
    """Not compressed; None for what can't be a name."""
    labels = [label.encode("latin-1", "replace") for label in name.split(".")]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        return None
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def address_record(address: str, ttl: int, owner: str = "") -> Record | None:
    packed = pack_address(address)
    return Record(owner, Kind.AAAA if len(packed) == 16 else Kind.A, packed, ttl) if packed else None


def alias_record(target: str, ttl: int, owner: str = "") -> Record | None:
    data = render_name(target)
    return Record(owner, Kind.CNAME, data, ttl) if data else None


def pointer_record(name: str, ttl: int) -> Record | None:
    target = render_name(name)
    return Record("", Kind.PTR, target, ttl) if target else None


def service_record(target: str, port: int, ttl: int) -> Record | None:
    """Of one priority and weight: all are as good."""
    host = render_name(target) if 0 <= port <= 65535 else None
    return Record("", Kind.SRV, _SRV.pack(0, 1, port) + host, ttl) if host else None


def authority_record(zone: str, ttl: int) -> Record | None:
    """For how long a client may remember that there is nothing (RFC 2308, 5)."""
    names = (render_name(f"ns.dns.{zone}"), render_name(f"hostmaster.{zone}"))
    if names[0] is None or names[1] is None:
        return None
    return Record(zone, Kind.SOA, names[0] + names[1] + _SOA.pack(1, 7200, 1800, 86400, ttl), ttl)
