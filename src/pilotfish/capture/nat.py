"""The nat table: which connections go to the proxy.

The order in ISTIO_OUTPUT decides, as the first rule that matches does. Source of chains, order and reasons:
istio.io/latest/blog/2019/data-plane-setup and the rules that `istio-iptables` writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.capture.build import TableBuilder, return_interfaces
from pilotfish.capture.family import Addresses, dns_servers
from pilotfish.capture.ruleset import Chain
from pilotfish.capture.spec import ALL, CaptureSpec, Mode
from pilotfish.model.wellknown import DNS_PROXY_PORT

DNS_PORT = 53


def chains(spec: CaptureSpec, families: tuple[Addresses, ...]) -> Iterable[Chain]:
    """`families`: those that the table serves. A rule with an address stands once for each of them."""
    table = TableBuilder("ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT")
    return_interfaces(table, spec.exclude_interfaces)
    _virtual_interfaces(table, spec, families)
    _redirects(table, spec)
    _inbound(table, spec)
    table.append("OUTPUT", "-j ISTIO_OUTPUT", "all that leaves a process of this pod")
    _excluded_ports(table, spec)
    _proxy_traffic(table, spec, families)
    _owner_groups(table, spec)
    _dns(table, families)
    _destinations(table, spec, families)
    return table.chains()


def _virtual_interfaces(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    for name in spec.reroute_virtual_interfaces:
        table.insert_first("PREROUTING", f"-i {name} -j RETURN", f"what else comes from {name} is not inbound traffic")
    for destination in ("",) if spec.outbound_ip_ranges_include == ALL else _included(families):
        for name in spec.reroute_virtual_interfaces:
            why = f"traffic from the virtual machine at {name} is outbound traffic"
            to = f"-d {destination} " if destination else ""
            table.insert_first("PREROUTING", f"-i {name} {to}-j ISTIO_REDIRECT", why)


def _included(families: tuple[Addresses, ...]) -> tuple[str, ...]:
    return tuple(text for addresses in families for text in addresses.include)


def _redirects(table: TableBuilder, spec: CaptureSpec) -> None:
    table.append(
        "ISTIO_REDIRECT", f"-p tcp -j REDIRECT --to-ports {spec.proxy_port}", "to the proxy's outbound listener"
    )
    port = spec.inbound_capture_port
    table.append("ISTIO_IN_REDIRECT", f"-p tcp -j REDIRECT --to-ports {port}", "to the proxy's inbound listener")


def _inbound(table: TableBuilder, spec: CaptureSpec) -> None:
    tunnel = f"-p tcp --dport {spec.inbound_tunnel_port} -j RETURN"
    table.append("ISTIO_INBOUND", tunnel, "the mesh's own tunnel ends at the proxy anyway")
    ports = spec.inbound_ports_include
    if spec.mode is Mode.TPROXY or not ports:
        return
    table.append("PREROUTING", "-p tcp -j ISTIO_INBOUND", "TCP that comes from outside the pod")
    if ports == ALL:
        for port in spec.inbound_ports_exclude:
            table.append("ISTIO_INBOUND", f"-p tcp --dport {port} -j RETURN", f"inbound port {port} is excluded")
        table.append("ISTIO_INBOUND", "-p tcp -j ISTIO_IN_REDIRECT", "all other inbound ports are captured")
        return
    for port in ports:
        why = f"inbound port {port} is captured"
        table.append("ISTIO_INBOUND", f"-p tcp --dport {port} -j ISTIO_IN_REDIRECT", why)


def _excluded_ports(table: TableBuilder, spec: CaptureSpec) -> None:
    for port in spec.outbound_ports_exclude:
        for protocol in ("tcp", "udp"):
            text = f"-p {protocol} --dport {port} -j RETURN"
            table.append("ISTIO_OUTPUT", text, f"outbound port {port} is excluded")


def _proxy_traffic(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    for addresses in families:
        source = f"-o lo -s {addresses.passthrough} -j RETURN"
        table.append("ISTIO_OUTPUT", source, "the proxy hands an inbound connection to its app")
    owners = (*(("uid", uid) for uid in spec.proxy_uids), *(("gid", gid) for gid in spec.proxy_gids))
    for kind, number in owners:
        owner = f"--{kind}-owner {number}"
        for addresses in families:
            match = f"-o lo ! -d {addresses.loopback} -p tcp {_not_ports(spec, kind)} -m owner {owner}"
            why = "the proxy calls its own pod through a Service: in by the inbound listener"
            table.append("ISTIO_OUTPUT", f"{match} -j ISTIO_IN_REDIRECT", why)
        if not spec.includes_loopback:
            not_dns = f"-p tcp ! --dport {DNS_PORT} " if spec.captures_dns else ""
            text = f"-o lo {not_dns}-m owner ! {owner} -j RETURN"
            table.append("ISTIO_OUTPUT", text, "the app calls itself, by an address of its own")
        table.append("ISTIO_OUTPUT", f"-m owner {owner} -j RETURN", f"the proxy's own traffic ({kind} {number})")


def _not_ports(spec: CaptureSpec, kind: str) -> str:
    """Captured DNS over TCP that the proxy's user forwards to a resolver in this pod must pass. As Istio, uids only."""
    if kind == "uid" and spec.captures_dns:
        return f"-m multiport ! --dports {DNS_PORT},{spec.inbound_tunnel_port}"
    return f"! --dport {spec.inbound_tunnel_port}"


def _owner_groups(table: TableBuilder, spec: CaptureSpec) -> None:
    if spec.owner_groups_include != ALL:
        others = " ".join(f"-m owner ! --gid-owner {group}" for group in spec.owner_groups_include)
        table.append("ISTIO_OUTPUT", f"{others} -j RETURN", "only the named groups' traffic is captured")
        return
    for group in spec.owner_groups_exclude:
        table.append("ISTIO_OUTPUT", f"-m owner --gid-owner {group} -j RETURN", f"group {group} is excluded")


def _dns(table: TableBuilder, families: tuple[Addresses, ...]) -> None:
    servers = dns_servers(families)
    if not servers:
        return
    table.append("ISTIO_OUTPUT", "-j ISTIO_OUTPUT_DNS", "DNS, for which loopback is no exception")
    for protocol in ("tcp", "udp"):
        for server in servers:
            to = f"-d {server} " if server else ""
            text = f"-p {protocol} --dport {DNS_PORT} {to}-j REDIRECT --to-ports {DNS_PROXY_PORT}"
            table.append("ISTIO_OUTPUT_DNS", text, f"DNS over {protocol.upper()} to {server or 'any resolver'}")


def _destinations(table: TableBuilder, spec: CaptureSpec, families: tuple[Addresses, ...]) -> None:
    for addresses in families:
        table.append("ISTIO_OUTPUT", f"-d {addresses.loopback} -j RETURN", "loopback is not captured")
    for text in (text for addresses in families for text in addresses.exclude):
        table.append("ISTIO_OUTPUT", f"-d {text} -j RETURN", f"outbound range {text} is excluded")
    for port in spec.outbound_ports_include:
        redirect = f"-p tcp --dport {port} -j ISTIO_REDIRECT"
        table.append("ISTIO_OUTPUT", redirect, f"outbound port {port} is captured")
    if spec.outbound_ip_ranges_include == ALL:
        table.append("ISTIO_OUTPUT", "-j ISTIO_REDIRECT", "everything else that leaves is captured")
        return
    for text in _included(families):
        table.append("ISTIO_OUTPUT", f"-d {text} -j ISTIO_REDIRECT", f"outbound range {text} is captured")
