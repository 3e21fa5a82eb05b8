"""The raw table: conntrack zones for captured DNS.

The app's question and the proxy's own, to the resolver behind it, may have the same addresses and ports; in one zone
conntrack would take the second for the first (istio.io, "DNS proxying"; conntrack zones: kernel commit 5d0aa2ccd4).
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.capture.build import TableBuilder
from pilotfish.capture.family import Addresses, dns_servers
from pilotfish.capture.nat import DNS_PORT
from pilotfish.capture.ruleset import Chain
from pilotfish.capture.spec import CaptureSpec
from pilotfish.model.wellknown import DNS_PROXY_PORT

UPSTREAM_ZONE = 1
"""Between the proxy and the resolvers."""
CLIENT_ZONE = 2
"""Between the app and the proxy."""


def chains(spec: CaptureSpec, families: tuple[Addresses, ...]) -> Iterable[Chain]:
    if not spec.captures_dns:
        return ()
    # OUTPUT leads to it even if this family has neither an owner nor a server to name.
    table = TableBuilder("ISTIO_OUTPUT_DNS")
    table.append("OUTPUT", "-j ISTIO_OUTPUT_DNS", "DNS that leaves a process of this pod")
    owners = (*(f"--uid-owner {uid}" for uid in spec.proxy_uids), *(f"--gid-owner {gid}" for gid in spec.proxy_gids))
    for owner in owners:
        question = f"-p udp --dport {DNS_PORT} -m owner {owner} -j CT --zone {UPSTREAM_ZONE}"
        table.append("ISTIO_OUTPUT_DNS", question, "the proxy asks a resolver")
        answer = f"-p udp --sport {DNS_PROXY_PORT} -m owner {owner} -j CT --zone {CLIENT_ZONE}"
        table.append("ISTIO_OUTPUT_DNS", answer, "the proxy answers the app")
    servers = dns_servers(families)
    if servers:
        table.append("PREROUTING", "-j ISTIO_INBOUND", "DNS that comes from outside the pod")
    for server in servers:
        to, from_ = (f"-d {server} ", f"-s {server} ") if server else ("", "")
        client = f"-p udp --dport {DNS_PORT} {to}-j CT --zone {CLIENT_ZONE}"
        table.append("ISTIO_OUTPUT_DNS", client, "the app asks a resolver")
        upstream = f"-p udp --sport {DNS_PORT} {from_}-j CT --zone {UPSTREAM_ZONE}"
        table.append("ISTIO_INBOUND", upstream, "a resolver answers the proxy")
    return table.chains()
