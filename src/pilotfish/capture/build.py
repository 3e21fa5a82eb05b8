"""Collects the rules of one table."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.capture.rule import Rule, parse_rule
from pilotfish.capture.ruleset import OWN_CHAINS, Chain


class TableBuilder:
    """Rules in the order in which they are appended to their chains."""

    __slots__ = ("_first", "_rules")

    def __init__(self, *chains: str) -> None:
        """`chains`: those that are there even if they stay empty."""
        self._rules: dict[str, list[Rule]] = {chain: [] for chain in chains}
        self._first: dict[str, int] = {}

    def append(self, chain: str, text: str, why: str) -> None:
        """`text`: what stands behind `iptables -A CHAIN`."""
        self._rules.setdefault(chain, []).append(parse_rule(text.split(), why=why))

    def insert_first(self, chain: str, text: str, why: str) -> None:
        """As `iptables -I CHAIN 1`: before everything, what others put there included."""
        self._rules.setdefault(chain, []).insert(0, parse_rule(text.split(), why=why))
        self._first[chain] = self._first.get(chain, 0) + 1

    def chains(self) -> Iterable[Chain]:
        for name, rules in self._rules.items():
            policy = "" if name in OWN_CHAINS else "ACCEPT"
            yield Chain(name, tuple(rules), policy, self._first.get(name, 0))


def return_interfaces(table: TableBuilder, interfaces: tuple[str, ...]) -> None:
    """Traffic of these interfaces is none of the mesh's."""
    for name in interfaces:
        table.append("PREROUTING", f"-i {name} -j RETURN", f"interface {name} is excluded")
        table.append("OUTPUT", f"-o {name} -j RETURN", f"interface {name} is excluded")
