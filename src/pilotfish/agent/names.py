"""What a pod's DNS query is answered with: the mesh's own names from a table, everything else by someone else.

Below the cluster's domain the table is the whole truth: a name that it lacks does not exist. A name that it has exists
for every type, so the other family's query gets an empty answer and not a NXDOMAIN, which would end a client's search.
Short names are the client's to complete, from the search domains in its resolv.conf: `redis.io` is not the Service
`redis` of the namespace `io`.

Source: RFC 1035, RFC 2308 (NODATA, NXDOMAIN), RFC 8020 (what has names below it exists);
https://github.com/kubernetes/dns/blob/master/docs/specification.md;
https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from pilotfish.agent.dnswire import (
    IN,
    TCP_MOST,
    Answer,
    Kind,
    Query,
    Rcode,
    Record,
    address_record,
    alias_record,
    authority_record,
    parse_query,
    pointer_record,
    read_addresses,
    render,
    render_failure,
    render_query,
    service_record,
)
from pilotfish.model.names import NameTable, Port, in_cluster, pack_address
from pilotfish.model.wellknown import CLUSTER_DOMAIN

_Item = TypeVar("_Item")

NO_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
TTL: Final = 30
"""Seconds, as Istio answers."""
_MOST_ALIASES: Final = 8
"""Of one after the other; those that lead to one another would go on for ever."""
_NEGATIVE_TTL: Final = 5
"""As Kubernetes' DNS has it: what does not exist yet may soon."""


@dataclass(frozen=True, slots=True)
class Reply:
    packet: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask the machine's resolvers."""

    packet: bytes
    """What to ask."""
    failure: bytes
    """The answer if none of them helps."""
    alias: Alias | None = None
    """What was asked for stands for what is asked."""

    def complete(self, answer: bytes) -> bytes:
        """The client's answer, from a resolver's."""
        return answer if self.alias is None else self.alias.complete(answer)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of the mesh for one of the outside world."""

    query: Query
    limit: int
    records: tuple[Record, ...]
    """From name to name, in their order."""
    target: str

    def complete(self, answer: bytes) -> bytes:
        told = answer[3] & 0xF
        rcode = Rcode(told) if told in (Rcode.NOERROR, Rcode.NXDOMAIN) else Rcode.SERVFAIL
        records = (*self.records, *read_addresses(answer, self.target))
        return render(self.query, Answer(rcode, records, authoritative=False), self.limit)


Own = Mapping[str, tuple[str, ...]]
"""Addresses by names that the machine gives, and no table has."""


def resolve(
    packet: bytes,
    table: NameTable,
    over_udp: bool = True,
    own: Own = NO_NAMES,
    alone: bool = True,
    without: Kind | None = None,
) -> Reply | Forward | None:
    """What becomes of one query. None for what is no DNS query at all: it is not answered.

    `alone`: nobody else knows names below the cluster's domain. In a cluster its own DNS does, and is asked for those
    that `table` lacks. `without`: who asks reaches no address of this type, so that no name has one.
    """
    query = parse_query(packet)
    if query is None:
        return None
    if isinstance(query, Rcode):
        return Reply(render_failure(packet, query))
    limit = query.udp_limit if over_udp else TCP_MOST
    failure = render(query, Answer(Rcode.SERVFAIL, authoritative=False), limit)
    if query.kind == without and query.category == IN and not query.version:
        return Reply(render(query, Answer(authoritative=False), limit))
    answer = _answer(query, table, own, alone)
    if answer is None:
        return Forward(packet, failure)
    if isinstance(answer, _Outside):
        alias = Alias(query, limit, answer.records, answer.target)
        asked = render_query(query.id, answer.target, query.kind)
        return Forward(asked, failure, alias) if asked is not None else Reply(failure)
    return Reply(render(query, answer, limit))


@dataclass(frozen=True, slots=True)
class _Outside:
    """What an alias leads to, and others know."""

    records: tuple[Record, ...]
    target: str


def _answer(query: Query, table: NameTable, own: Own, alone: bool) -> Answer | _Outside | None:
    """None for what others know."""
    if query.version:
        return Answer(Rcode.BADVERS, authoritative=False)
    if query.category != IN:
        return None
    if query.name in table.aliases:
        return _about_alias(query, table, own, alone)
    if (addresses := own.get(query.name)) is not None:
        return _about_addresses(query, addresses)
    if (found := _find(query, table)) is not None:
        return found
    if not (alone and in_cluster(query.name)):
        return None
    # Before the first table nothing can be denied: a client would take that for good.
    if not table.version:
        return Answer(Rcode.SERVFAIL, authoritative=False)
    if query.name == CLUSTER_DOMAIN and query.kind == Kind.SOA:
        return Answer(records=_authority(CLUSTER_DOMAIN))
    exists = query.name == CLUSTER_DOMAIN or query.name in table.branches
    return _nothing(CLUSTER_DOMAIN, Rcode.NOERROR if exists else Rcode.NXDOMAIN)


def _find(query: Query, table: NameTable) -> Answer | None:
    """The answer about a name that the table has; None where it has none."""
    if (pointed := _pointed_at(query.name)) is not None:
        names = tuple(name for name in table.names.get(pointed, ()) if in_cluster(name))
        return _about_pointer(query, names) if names else None
    addresses = find_addresses(query.name, table)
    if addresses is None:
        return _about_port(query, table)
    if query.kind == Kind.SRV and query.name in table.ports:
        return _about_service(query, query.name, "", table)
    return _about_addresses(query, addresses)


def find_addresses(name: str, table: NameTable) -> tuple[str, ...] | None:
    """The addresses of `name`, or of the longest wildcard above it. None: there is no such name."""
    if (found := table.records.get(name)) is not None:
        return found
    label, _, parent = name.partition(".")
    if parent in table.headless and (shared := _undashed(label)) in table.records.get(parent, ()):
        return (shared,)
    if parent.endswith(f".pod.{CLUSTER_DOMAIN}") and "." not in parent.removesuffix(f".pod.{CLUSTER_DOMAIN}"):
        # Kubernetes' answer to whoever wants a name for an address, such as for a certificate.
        address = _undashed(label)
        return (address,) if pack_address(address) else None
    while parent:
        if (found := table.records.get(f"*.{parent}")) is not None:
            return found
        parent = parent.partition(".")[2]
    return None


def _about_alias(query: Query, table: NameTable, own: Own, alone: bool) -> Answer | _Outside:
    """The names that it stands for, and the addresses of the last (RFC 1034, 3.6.2)."""
    name, owner, records = query.name, "", list[Record]()
    while (target := table.aliases.get(name)) is not None and len(records) < _MOST_ALIASES:
        if (record := alias_record(target, TTL, owner)) is not None:
            records.append(record)
        name = owner = target
    found = own.get(name) or find_addresses(name, table)
    if query.kind not in (Kind.A, Kind.AAAA, Kind.ANY) or name in table.aliases:
        return Answer(records=records)
    if found is not None:
        chosen = (a for a in found if query.kind in (Kind.AAAA if ":" in a else Kind.A, Kind.ANY))
        return Answer(records=(*records, *(r for a in chosen if (r := address_record(a, TTL, name)))))
    if alone and in_cluster(name):
        return Answer(Rcode.NXDOMAIN, tuple(records), _authority(CLUSTER_DOMAIN))
    return _Outside(tuple(records), name)


def _about_addresses(query: Query, addresses: tuple[str, ...]) -> Answer:
    chosen = tuple(a for a in addresses if query.kind in (Kind.AAAA if ":" in a else Kind.A, Kind.ANY))
    if not chosen:
        return _nothing(CLUSTER_DOMAIN if in_cluster(query.name) else query.name)
    return Answer(records=(r for a in _turn(chosen, query) if (r := address_record(a, TTL))))


def _about_pointer(query: Query, names: tuple[str, ...]) -> Answer:
    if query.kind not in (Kind.PTR, Kind.ANY):
        return _nothing(query.name)
    return Answer(records=(record for name in names if (record := pointer_record(name, TTL))))


def _about_port(query: Query, table: NameTable) -> Answer | None:
    """`_http._tcp.store.vm.svc.cluster.local`."""
    first, _, rest = query.name.partition(".")
    if first in {port.label.rpartition(".")[2] for port in table.ports.get(rest, ())} - {""}:
        return _nothing(CLUSTER_DOMAIN)
    second, _, host = rest.partition(".")
    label = f"{first}.{second}"
    if label not in {port.label for port in table.ports.get(host, ())}:
        return None
    if query.kind not in (Kind.SRV, Kind.ANY):
        return _nothing(CLUSTER_DOMAIN)
    return _about_service(query, host, label, table)


def _about_service(query: Query, host: str, label: str, table: NameTable) -> Answer:
    """The SRV records of a Service's port, or of all its ports (label ""), with their targets' addresses."""
    ports = [port for port in table.ports[host] if not label or port.label == label]
    pairs = tuple((target, port.number) for port in ports for target in _targets(host, port, table))
    if not pairs:
        return _nothing(CLUSTER_DOMAIN)
    pairs = _turn(pairs, query)
    addresses = ((a, target) for target, _ in pairs for a in table.records.get(target, ()))
    return Answer(
        records=(r for target, number in pairs if (r := service_record(target, number, TTL))),
        additional=(r for address, target in addresses if (r := address_record(address, TTL, target))),
    )


def _targets(host: str, port: Port, table: NameTable) -> tuple[str, ...]:
    """The Service itself; or its pods, by their own names or, for one that has none, by its address."""
    if host not in table.headless:
        return (host,)
    found: dict[str, None] = {}
    for address in port.at or table.records.get(host, ()):
        known = table.names.get(pack_address(address) or b"", ())
        own = tuple(name for name in known if name.partition(".")[2] == host)
        found |= dict.fromkeys(own or (f"{_dashed(address)}.{host}",))
    return tuple(found)


def _nothing(zone: str, rcode: Rcode = Rcode.NOERROR) -> Answer:
    return Answer(rcode, authority=_authority(zone))


def _authority(zone: str) -> tuple[Record, ...]:
    """Says for how long to remember that there is nothing."""
    record = authority_record(zone, _NEGATIVE_TTL)
    return (record,) if record else ()


def _turn(items: tuple[_Item, ...], query: Query) -> tuple[_Item, ...]:
    """Several begin with another one at each query, as the query's own id has it."""
    turn = query.id % len(items) if items else 0
    return (*items[turn:], *items[:turn])


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _undashed(label: str) -> str:
    """`10-244-0-7` has three dashes between numbers; an IPv6 address has others."""
    dotted = label.replace("-", ".")
    return dotted if pack_address(dotted) else label.replace("-", ":")


def _pointed_at(name: str) -> bytes | None:
    """The packed address that a reverse name is of (RFC 1035, 3.5; RFC 3596, 2.5)."""
    if name.endswith(".in-addr.arpa"):
        return pack_address(".".join(reversed(name.removesuffix(".in-addr.arpa").split("."))))
    if name.endswith(".ip6.arpa"):
        nibbles = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
        groups = ":".join(nibbles[at : at + 4] for at in range(0, len(nibbles), 4))
        return pack_address(groups) if len(nibbles) == 32 and name.count(".") == 33 else None
    return None
