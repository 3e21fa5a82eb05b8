"""Who else on the host decides about what is forwarded: a firewall, Docker. An `accept` of ours ends our own chain
alone (nft(8)): what another chain drops stays dropped, so it is looked for and said.

Source: libnftables-json(5); iptables-save's format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.egress.rules import PREFIX

Json = Mapping[str, Any]
_FAMILIES: Final = {"ip": "iptables", "ip6": "ip6tables"}
_DOCKERS: Final = "DOCKER-USER"
"""Docker asks this chain first, and leaves it to users."""
_ENDS: Final = ("drop", "reject")
_REMARKS: Final = frozenset({"counter", "log", "limit", "xt"})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A chain of somebody else's that drops what pods send out."""

    place: str
    """`chain FORWARD of table ip filter`."""
    why: str
    """`its policy is drop`."""
    remedy: tuple[str, ...]
    """Commands for a shell that let the mesh's traffic through, and nothing else."""


def find_obstacles(ruleset: str, interface: str) -> tuple[Obstacle, ...]:
    """In what `nft -j list ruleset` prints: chains at the hook `forward` that drop by policy or by their last rule, and
    let nothing from `interface` through by a rule that names it."""
    items: list[Json] = json.loads(ruleset).get("nftables", [])
    rules = [item["rule"] for item in items if "rule" in item]
    chains = [item["chain"] for item in items if "chain" in item]
    return tuple(_find(chains, rules, interface))


def find_old_obstacles(saved: str, interface: str, program: str = "iptables-legacy") -> tuple[Obstacle, ...]:
    """The same in what `iptables-legacy-save -t filter` prints, of which nft knows nothing."""
    lines = saved.splitlines()
    if not any(line.startswith(":FORWARD DROP") for line in lines):
        return ()
    if any(f"-i {interface} " in line and line.endswith("-j ACCEPT") for line in lines):
        return ()
    chain = _DOCKERS if any(line.startswith(f":{_DOCKERS} ") for line in lines) else "FORWARD"
    place = f"chain FORWARD of {program}'s table filter"
    return (Obstacle(place, "its policy is DROP", _let_through(program, chain, interface)),)


def _find(chains: Iterable[Json], rules: list[Json], interface: str) -> Iterator[Obstacle]:
    known = tuple(chains)
    for chain in known:
        if chain.get("hook") != "forward" or chain.get("type") != "filter" or chain["table"].startswith(PREFIX):
            continue
        table = (chain["family"], chain["table"])
        mine = [rule for rule in rules if (rule["family"], rule["table"], rule["chain"]) == (*table, chain["name"])]
        if not (why := _why(chain, mine)):
            continue
        if any(_lets_through(rule, interface) for rule in rules if (rule["family"], rule["table"]) == table):
            continue
        names = {each["name"] for each in known if (each["family"], each["table"]) == table}
        yield Obstacle(f"chain {chain['name']} of table {' '.join(table)}", why, _remedy(chain, names, interface))


def _why(chain: Json, rules: list[Json]) -> str:
    if chain.get("policy") == "drop":
        return "its policy is drop"
    last = rules[-1]["expr"] if rules else []
    says = [name for part in last for name in part if name not in _REMARKS]
    return f"its last rule is {says[0]}" if len(says) == 1 and says[0] in _ENDS else ""


def _lets_through(rule: Json, interface: str) -> bool:
    parts: list[Json] = rule["expr"]
    return any("accept" in part for part in parts) and any(_names(part.get("match", {}), interface) for part in parts)


def _names(match: Json, interface: str) -> bool:
    left = match.get("left", {})
    key = left.get("meta", {}).get("key") if isinstance(left, Mapping) else None
    if key not in ("iifname", "iif") or match.get("op", "==") not in ("==", "in"):
        return False
    right = match.get("right")
    named = right.get("set", ()) if isinstance(right, Mapping) else (right,)
    return any(isinstance(name, str) and _fits(name, interface) for name in named)


def _fits(pattern: str, interface: str) -> bool:
    return interface.startswith(pattern[:-1]) if pattern.endswith("*") else interface == pattern


def _remedy(chain: Json, names: Iterable[str], interface: str) -> tuple[str, ...]:
    program = _FAMILIES.get(chain["family"])
    if program is not None and (chain["table"], chain["name"]) == ("filter", "FORWARD"):
        return _let_through(program, _DOCKERS if _DOCKERS in set(names) else "FORWARD", interface)
    place = f"nft insert rule {chain['family']} {chain['table']} {chain['name']}"
    return (
        f"{place} iifname {interface} accept",
        f"{place} oifname {interface} ct state established,related accept",
    )


def _let_through(program: str, chain: str, interface: str) -> tuple[str, ...]:
    return (
        f"{program} -I {chain} -i {interface} -j ACCEPT",
        f"{program} -I {chain} -o {interface} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
