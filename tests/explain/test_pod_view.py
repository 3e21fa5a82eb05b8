"""What one pod uses of what its machine's proxy holds."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.explain.pod_view import describe_asked, narrow_clusters, narrow_dump
from tests.explain.machine_dump import build_dump


@pytest.fixture(scope="module")
def dump() -> dict[str, Any]:
    return build_dump()


def names(dump: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for config in dump["configs"][1:]:
        for section, entries in config.items():
            found[section] = {each.get("name") or next(_names(each)) for each in entries}
    return found


def _names(entry: dict[str, Any]) -> Any:
    for each in entry.values():
        if isinstance(each, dict):
            yield each.get("name") or each.get("cluster_name")


def test_a_pod_has_its_listeners_and_what_these_lead_to(dump: dict[str, Any]) -> None:
    found = names(narrow_dump(dump, "/run/netns/pf-local.vm.web-0"))
    assert found["dynamic_listeners"] == {
        "virtualOutbound~web-0.vm",
        "virtualInbound~web-0.vm",
        "0.0.0.0_80",
        "10.96.0.9_5432",
    }
    assert found["static_listeners"] == found["static_clusters"] == set()
    assert found["dynamic_route_configs"] == {"80~vm"}
    assert {each.partition("~")[0] for each in found["dynamic_active_clusters"]} == {
        "BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster", "inbound|8080||",
        "outbound|80||web.vm.svc.cluster.local", "outbound|5432||db.shop.svc.cluster.local",
    }  # fmt: skip
    assert found["dynamic_endpoint_configs"] <= found["dynamic_active_clusters"]
    assert found["dynamic_active_secrets"] == {"ROOTCA", "/run/netns/pf-local.vm.web-0"}


def test_what_is_not_exported_to_a_pod_is_not_of_its(dump: dict[str, Any]) -> None:
    found = names(narrow_dump(dump, "/run/netns/pf-local.shop.db-0"))
    assert {"virtualOutbound~db-0.shop", "10.96.0.9_5432"} <= found["dynamic_listeners"]
    assert not any("web.vm" in name for name in found["dynamic_active_clusters"])
    assert not any(name.endswith("~vm") for name in found["dynamic_route_configs"])


def test_the_endpoints_of_a_pods_clusters_are_left(dump: dict[str, Any]) -> None:
    told = {"cluster_statuses": [{"name": "xds-grpc"}, {"name": "outbound|80||web.vm.svc.cluster.local"}]}
    used = narrow_dump(dump, "/run/netns/pf-local.shop.db-0")
    assert narrow_clusters(told, used) == {"cluster_statuses": []}


def test_what_a_chain_asks_for_is_told_without_whose_it_is(dump: dict[str, Any]) -> None:
    netns = "/run/netns/pf-local.vm.web-0"
    listeners = {each["name"]: each["active_state"]["listener"] for each in dump["configs"][1]["dynamic_listeners"]}
    assert set(describe_asked(listeners["0.0.0.0_80"], netns).values()) == {
        "",
        "Trans: raw_buffer; App: h2c,http/1.0,http/1.1",
    }
    anybody = describe_asked(listeners["0.0.0.0_80"]).values()
    assert "Netns: /run/netns/pf-local.vm.; Trans: raw_buffer; App: h2c,http/1.0,http/1.1" in anybody
