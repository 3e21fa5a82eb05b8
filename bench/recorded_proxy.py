"""A proxy as another mesh configures it: what its Envoy told at `/config_dump?include_eds` → a bootstrap that needs no
discovery. Listeners, clusters, routes and endpoints are as they were sent; what Envoy fetched stands in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_DROPPED = ("admin", "dynamic_resources", "static_resources", "node", "tracing", "cluster_manager")


class Recorded:
    def __init__(self, path: Path) -> None:
        self.text = path.read_text()
        self._load(self.text)

    def _load(self, text: str) -> None:
        dump = json.loads(text)
        self.parts = {part["@type"].rpartition(".")[2]: part for part in dump["configs"]}

    @property
    def address(self) -> str:
        """Its pod's."""
        return str(self.parts["BootstrapConfigDump"]["bootstrap"]["node"]["id"].split("~")[1])

    def target_port(self, host: str, port: int, address: str) -> int:
        """Where the endpoint at an address listens for a service."""
        found = self._assignments().items()
        of_service = (
            each for name, each in found if name.startswith(f"outbound|{port}|") and name.endswith(f"|{host}")
        )
        places = (each["endpoint"]["address"]["socket_address"] for many in of_service for each in _endpoints(many))
        ports = [place["port_value"] for place in places if place["address"] == address]
        if not ports:
            raise SystemExit(f"{host}:{port} has no endpoint at {address} in this dump")
        return int(ports[0])

    def bootstrap(self, moved: Mapping[str, str], host: str, server: str, log: str) -> dict[str, Any]:
        """With other addresses, with one server behind the host, whatever its subsets are, and with access logs written
        to one file; "" has none."""
        text = self.text
        for old, new in moved.items():
            text = re.sub(rf"(?<![\d.]){re.escape(old)}(?![\d.])", new, text)
        self._load(text)
        recorded = self.parts["BootstrapConfigDump"]["bootstrap"]
        return {
            **{key: value for key, value in recorded.items() if key not in _DROPPED},
            "node": {key: recorded["node"][key] for key in ("id", "cluster", "metadata")},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
            "static_resources": {
                "listeners": [_logging(self._settled(each), log) for each in self._listeners()],
                "clusters": [self._with_endpoints(each, host, server) for each in self._clusters()],
            },
        }

    def _listeners(self) -> Iterator[dict[str, Any]]:
        for each in self.parts["ListenersConfigDump"]["dynamic_listeners"]:
            yield _bare(each["active_state"]["listener"])

    def _clusters(self) -> Iterator[dict[str, Any]]:
        yield from (_bare(each["cluster"]) for each in self.parts["ClustersConfigDump"]["dynamic_active_clusters"])

    def _routes(self) -> dict[str, dict[str, Any]]:
        found = self.parts["RoutesConfigDump"].get("dynamic_route_configs", [])
        return {each["route_config"]["name"]: _bare(each["route_config"]) for each in found}

    def _assignments(self) -> dict[str, dict[str, Any]]:
        found = self.parts["EndpointsConfigDump"]["dynamic_endpoint_configs"]
        return {each["endpoint_config"]["cluster_name"]: each["endpoint_config"] for each in found}

    def _settled(self, listener: dict[str, Any]) -> dict[str, Any]:
        """With its routes within it."""
        routes = self._routes()
        for chain in (*listener.get("filter_chains", ()), listener.get("default_filter_chain", {})):
            for filter in chain.get("filters", ()):
                config = filter["typed_config"]
                if "rds" in config:
                    config["route_config"] = routes[config.pop("rds")["route_config_name"]]
        return listener

    def _with_endpoints(self, cluster: dict[str, Any], host: str, server: str) -> dict[str, Any]:
        if cluster.get("type") != "EDS":
            return cluster
        found = {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
        assignment = _bare(self._assignments().get(cluster["name"], {})) or {"cluster_name": cluster["name"]}
        for each in _endpoints(assignment):
            if cluster["name"].endswith(f"|{host}"):
                each["endpoint"]["address"]["socket_address"]["address"] = server
        return {**found, "type": "STATIC", "load_assignment": assignment}


def _endpoints(assignment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in assignment.get("endpoints", ()):
        yield from group.get("lb_endpoints", ())


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "@type"}


def _logging(message: Any, log: str) -> Any:
    if isinstance(message, list):
        return [_logging(each, log) for each in message]
    if not isinstance(message, dict):
        return message
    found = {key: _logging(value, log) for key, value in message.items() if key != "access_log" or log}
    return {**found, "path": log} if str(found.get("@type")).endswith("FileAccessLog") else found
