"""Who else on the host drops what pods send, as nft and iptables say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilotfish.egress import find_obstacles, find_old_obstacles

LINK = "pf-shop"
Rule = dict[str, Any]


def chain(table: str, name: str, family: str = "ip", policy: str = "accept", hook: str | None = "forward") -> Rule:
    base = {"type": "filter", "hook": hook, "prio": 0, "policy": policy} if hook else {}
    return {"chain": {"family": family, "table": table, "name": name, **base}}


def rule(table: str, name: str, *expr: Rule, family: str = "ip") -> Rule:
    return {"rule": {"family": family, "table": table, "chain": name, "expr": list(expr)}}


def comes_by(*names: str) -> Rule:
    right: object = names[0] if len(names) == 1 else {"set": list(names)}
    return {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": right}}


ACCEPT: Rule = {"accept": None}
REJECT: Rule = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
COUNTER: Rule = {"counter": {"packets": 0, "bytes": 0}}


def found(*items: Rule) -> list[tuple[str, str, str]]:
    obstacles = find_obstacles(json.dumps({"nftables": list(items)}), LINK)
    return [(each.place, each.why, each.remedy[0]) for each in obstacles]


def test_a_host_without_a_firewall() -> None:
    assert found() == []
    assert found(chain("filter", "FORWARD"), chain("filter", "INPUT", policy="drop", hook="input")) == []


def test_a_policy_of_iptables_and_docker() -> None:
    place, why = "chain FORWARD of table ip filter", "its policy is drop"
    dropping = chain("filter", "FORWARD", policy="drop")
    assert found(dropping) == [(place, why, "iptables -I FORWARD -i pf-shop -j ACCEPT")]
    docker = chain("filter", "DOCKER-USER", hook=None)
    assert found(dropping, docker) == [(place, why, "iptables -I DOCKER-USER -i pf-shop -j ACCEPT")]
    six = chain("filter", "FORWARD", "ip6", policy="drop")
    assert found(six)[0][2] == "ip6tables -I FORWARD -i pf-shop -j ACCEPT"


def test_a_last_rule_that_rejects_what_is_left() -> None:
    place = ("firewalld", "filter_FORWARD")
    rejecting = rule(*place, COUNTER, REJECT, family="inet")
    assert found(chain(*place, "inet"), rejecting) == [
        (
            "chain filter_FORWARD of table inet firewalld",
            "its last rule is reject",
            "nft insert rule inet firewalld filter_FORWARD iifname pf-shop accept",
        )
    ]
    assert found(chain(*place, "inet"), rejecting, rule(*place, COUNTER, ACCEPT, family="inet")) == []
    assert found(chain(*place, "inet"), rule(*place, comes_by("eth0"), REJECT, family="inet")) == []


@pytest.mark.parametrize("names", [("pf-shop",), ("pf-*",), ("eth0", "pf-shop")])
def test_who_lets_the_link_through_is_no_obstacle(names: tuple[str, ...]) -> None:
    dropping = chain("filter", "FORWARD", policy="drop")
    assert found(dropping, rule("filter", "DOCKER-USER", comes_by(*names), COUNTER, ACCEPT)) == []


@pytest.mark.parametrize("names", [("pf-shop2",), ("eth*",), ("pf-other", "eth0")])
def test_who_lets_others_through_is(names: tuple[str, ...]) -> None:
    dropping = chain("filter", "FORWARD", policy="drop")
    assert found(dropping, rule("filter", "FORWARD", comes_by(*names), ACCEPT))
    assert found(dropping, rule("other", "FORWARD", comes_by("pf-shop"), ACCEPT)), "another table's verdict"


def test_the_meshs_own_table_is_none() -> None:
    assert found(chain("pilotfish-egress-shop", "forward", "inet", policy="drop")) == []


def test_rules_that_nft_does_not_see() -> None:
    saved = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n{}COMMIT\n"
    (obstacle,) = find_old_obstacles(saved.format(""), LINK)
    assert obstacle.remedy == (
        "iptables-legacy -I FORWARD -i pf-shop -j ACCEPT",
        "iptables-legacy -I FORWARD -o pf-shop -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
    assert find_old_obstacles(saved.format("-A FORWARD -i pf-shop -j ACCEPT\n"), LINK) == ()
    assert find_old_obstacles(saved.format("").replace("DROP", "ACCEPT"), LINK) == ()
