"""The mangle table: transparent inbound capture (TPROXY), and packets that conntrack can't place.

TPROXY leaves addresses alone and sends a packet to the proxy's socket by a mark that policy routing looks at
(kernel, Documentation/networking/tproxy.rst). The proxy's connections to its app carry the peer's address, too, so the
mark is kept on the connection, or the answers would not find back.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.capture.build import TableBuilder, return_interfaces
from pilotfish.capture.family import Addresses
from pilotfish.capture.ruleset import Chain
from pilotfish.capture.spec import ALL, CaptureSpec, Mode
from pilotfish.model.wellknown import TPROXY_OUTBOUND_MARK


def chains(spec: CaptureSpec, families: tuple[Addresses, ...], native: bool = False) -> Iterable[Chain]:
    """`native`: for nft, where Istio's port of the rules differs in a few that are marked below."""
    transparent = spec.mode is Mode.TPROXY
    table = TableBuilder(*(("ISTIO_INBOUND",) if transparent else ()))
    if transparent:
        return_interfaces(table, spec.exclude_interfaces)
    if spec.drop_invalid:
        # Istio's nft rules leave other protocols alone.
        invalid = f"{'-p tcp ' if native else ''}-m conntrack --ctstate INVALID -j ISTIO_DROP"
        table.append("PREROUTING", invalid, "packets of no known connection")
        table.append("ISTIO_DROP", "-j DROP", "not NATed, they would reset the connection that they belong to")
    if transparent:
        _exemptions(table, spec, families)
        _inbound(table, spec, families)
        _marks(table, spec, families)
    return table.chains()


def _exemptions(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    table.append("ISTIO_INBOUND", f"-p tcp -m mark --mark {spec.tproxy_mark} -j RETURN", "marked already")
    # With both families Istio's nft rules stand in the order in which its insertions leave them. All of them return.
    *later, first = families
    _append_passthrough(table, first)
    own = f"-p tcp -i lo -m mark ! --mark {TPROXY_OUTBOUND_MARK} -j RETURN"
    table.append("ISTIO_INBOUND", own, "loopback, but for what the proxy sends to its own pod")
    for addresses in later:
        _append_passthrough(table, addresses)


def _append_passthrough(table: TableBuilder, addresses: Addresses) -> None:
    text = f"-p tcp -s {addresses.passthrough} -i lo -j RETURN"
    table.append("ISTIO_INBOUND", text, "the proxy calls its app")


def _inbound(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    if not spec.inbound_ports_include:
        return
    _targets(table, spec, families)
    table.append("PREROUTING", "-p tcp -j ISTIO_INBOUND", "TCP that comes from outside the pod")
    if spec.inbound_ports_include == ALL:
        for port in spec.inbound_ports_exclude:
            table.append("ISTIO_INBOUND", f"-p tcp --dport {port} -j RETURN", f"inbound port {port} is excluded")
        captured = [""]
    else:
        captured = [f"--dport {port} " for port in spec.inbound_ports_include]
    for port_match in captured:
        established = f"-p tcp {port_match}-m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT"
        table.append("ISTIO_INBOUND", established, "a known connection's packets go to its socket")
        table.append("ISTIO_INBOUND", f"-p tcp {port_match}-j ISTIO_TPROXY", "a new connection goes to the proxy")


def _targets(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    mark = spec.tproxy_mark
    table.append("ISTIO_DIVERT", f"-j MARK --set-mark {mark}", f"routed locally (table {spec.tproxy_route_table})")
    table.append("ISTIO_DIVERT", "-j ACCEPT", "that is all")
    for addresses in families:
        target = f"-j TPROXY --tproxy-mark {mark}/0xffffffff --on-port {spec.inbound_capture_port}"
        table.append("ISTIO_TPROXY", f"! -d {addresses.loopback} -p tcp {target}", "to the proxy's inbound listener")


def _marks(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    mark = spec.tproxy_mark
    save = f"-p tcp -m mark --mark {mark} -j CONNMARK --save-mark"
    table.append("PREROUTING", save, "the mark stays with the connection")
    table.append("OUTPUT", f"-p tcp -o lo -m mark --mark {mark} -j RETURN", "the proxy's own, by its socket's mark")
    owners = (*(f"--uid-owner {uid}" for uid in spec.proxy_uids), *(f"--gid-owner {gid}" for gid in spec.proxy_gids))
    for owner in owners:
        for addresses in families:
            text = f"! -d {addresses.loopback} -p tcp -o lo -m owner {owner} -j MARK --set-mark {TPROXY_OUTBOUND_MARK}"
            table.append("OUTPUT", text, "the proxy calls its own pod through a Service")
    restore = f"-p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark"
    table.append("OUTPUT", restore, "an answer gets its connection's mark")
