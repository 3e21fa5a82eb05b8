"""Listeners as `istioctl proxy-config listeners` shows them: a line for each filter chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pilotfish.cli.render.dump import Json, at, items, socket_address, strings, text
from pilotfish.cli.render.routes import describe_match
from pilotfish.cli.render.table import Table, table
from pilotfish.envoy.naming import OURS, READ, READS

_HTTP = "envoy.filters.network.http_connection_manager"
_TCP = "envoy.filters.network.tcp_proxy"
_ISTIO_PORTS = {
    ("http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: HTTP TLS",
    ("istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: Istio HTTP Plain",
    ("istio-peer-exchange", "istio"): "App: TCP TLS",
    ("http/1.0", "http/1.1", "h2c"): "App: HTTP",
}
"""Lists of application protocols that Istio has words for."""


def select_listeners(listeners: Iterable[Json], address: str = "", port: int = 0, kind: str = "") -> list[Json]:
    """By what is set, in order of port and address. `kind`: HTTP, TCP, HTTP+TCP or UNKNOWN."""
    chosen = []
    for listener in listeners:
        host, number = _address(listener)
        differs = (address not in ("", host), port not in (0, number), kind.upper() not in ("", _kind(listener)))
        if not any(differs):
            chosen.append(listener)
    return sorted(chosen, key=lambda each: _address(each)[::-1])


def render_listeners(listeners: Iterable[Json], netns: str = "") -> Table:
    """`netns`: of the pod of which they are shown, where its machine's proxy has them; of all of those, each says whose
    it is."""
    rows = []
    for listener in listeners:
        host, port = _address(listener)
        asked = _asked(listener, netns)
        addresses = (
            host,
            *(socket_address(each.get("address"))[0] for each in items(listener, "additional_addresses")),
        )
        rows += [
            (
                _pod(listener),
                ",".join(addresses),
                str(port),
                _match(chain) if asked is None else asked.get(text(chain, "name")) or "ALL",
                f"{_destination(chain)}{_reading(chain)}",
            )
            for chain in _filter_chains(listener)
        ]
    header = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
    if netns or not any(pod for pod, *_ in rows):
        return table(header, [row for _, *row in rows])
    return table(("POD", *header), rows)


def _pod(listener: Json) -> str:
    """In whose network namespace it is; "" for that of its Envoy."""
    netns = text(listener, "address", "socket_address", "network_namespace_filepath")
    return text(listener, "name").partition("~")[2] or netns if netns else ""


def _asked(listener: Json, netns: str) -> Mapping[str, str] | None:
    """What is asked of connections to each chain, where a matcher does that and not the chains."""
    if "filter_chain_matcher" not in listener:
        return None
    from pilotfish.explain.pod_view import describe_asked  # it knows Envoy's API

    return describe_asked(dict(listener), netns)


def _filter_chains(listener: Json) -> tuple[Json, ...]:
    default = at(listener, "default_filter_chain")
    return items(listener, "filter_chains") + ((default,) if isinstance(default, dict) else ())


def _address(listener: Json) -> tuple[str, int]:
    return socket_address(listener.get("address"))


def _kind(listener: Json) -> str:
    names = {text(each, "name") for chain in _filter_chains(listener) for each in items(chain, "filters")}
    return "+".join(word for word, name in (("HTTP", _HTTP), ("TCP", _TCP)) if name in names) or "UNKNOWN"


def _match(chain: Json) -> str:
    """What a connection must be to get into the chain."""
    match = chain.get("filter_chain_match")
    port = text(match, "destination_port")
    ranges = [f"{text(each, 'address_prefix')}/{at(each, 'prefix_len') or 0}" for each in items(match, "prefix_ranges")]
    protocols = strings(match, "application_protocols")
    words = [
        f"SNI: {','.join(names)}" if (names := strings(match, "server_names")) else "",
        f"Trans: {transport}" if (transport := text(match, "transport_protocol")) else "",
        _ISTIO_PORTS.get(protocols, f"App: {','.join(protocols)}") if protocols else "",
        f"Addr: {','.join(ranges) or '*'}{':' if port else ''}{port}" if ranges or port else "",
    ]
    return "; ".join(word for word in words if word) or "ALL"


def _destination(chain: Json) -> str:
    """Where the chain's last filter leads."""
    for each in items(chain, "filters"):
        config = at(each, "typed_config")
        if text(each, "name") == _HTTP:
            return _http_destination(config)
        if text(each, "name") == _TCP:
            return _tcp_destination(config)
    return "Non-HTTP/Non-TCP"


def _reading(chain: Json) -> str:
    """Of TLS of the mesh that ends here: who reads the requests within, and why."""
    if any(each in READ for each in strings(chain.get("filter_chain_match"), "application_protocols")):
        return "; requests are read by the client's proxy"
    reason = text(chain, "metadata", "filter_metadata", OURS, READS)
    return f"; requests are read: {reason}" if reason else ""


def _http_destination(manager: object) -> str:
    inline = at(manager, "route_config")
    if inline is None:
        name = text(manager, "rds", "route_config_name")
        return f"Route: {name}" if name else "HTTP"
    hosts = items(inline, "virtual_hosts")
    if len(hosts) == 1 and strings(hosts[0], "domains") == ("*",) and len(items(hosts[0], "routes")) == 1:
        route = items(hosts[0], "routes")[0]
        if text(route, "match", "prefix") == "/" and (cluster := text(route, "route", "cluster")):
            return _cluster(cluster)
    described = (_describe_host(host) for host in hosts)
    return f"Inline Route: {'; '.join(described)}"


def _describe_host(host: Json) -> str:
    domains = strings(host, "domains")
    paths = ", ".join(describe_match(at(route, "match"), headers=False) for route in items(host, "routes"))
    return paths if domains == ("*",) else f"{'/'.join(domains)} {paths}"


def _tcp_destination(proxy: object) -> str:
    weighted = items(proxy, "weighted_clusters", "clusters")
    if weighted:
        return "Cluster: " + ", ".join(f"{text(each, 'name')} ({text(each, 'weight')})" for each in weighted)
    return _cluster(text(proxy, "cluster"))


def _cluster(name: str) -> str:
    """PassthroughCluster and its like go by their names alone."""
    return name if "Cluster" in name else f"Cluster: {name}"
