"""Which of the rules in the kernel's own chains are ours.

Most jump to a chain of ours. The few others carry no name, as Istio's have none; they are known by their form, and only
in a table that holds chains of ours.
"""

from __future__ import annotations

from pilotfish.capture.rule import Rule
from pilotfish.capture.ruleset import OWN_CHAINS, Table

_MARK_TARGETS = frozenset(("MARK", "CONNMARK"))


def is_own(table: Table, chain: str, rule: Rule) -> bool:
    """`chain`: one of the kernel's own, in `table` as it is now."""
    if rule.target in OWN_CHAINS:
        return True
    if chain not in ("PREROUTING", "OUTPUT") or not any(found.name in OWN_CHAINS for found in table.chains):
        return False
    return _is_interface_return(rule) or (table.name == "mangle" and _is_transparent_mark(rule))


def _is_interface_return(rule: Rule) -> bool:
    """`-i eth1 -j RETURN`, of an excluded or rerouted interface."""
    options = [option for match in rule.matches for option in match.options]
    return rule.target == "RETURN" and len(options) == 1 and options[0].name in ("-i", "-o")


def _is_transparent_mark(rule: Rule) -> bool:
    """The marks that TPROXY needs: of the proxy's users, of its sockets, of its connections."""
    if rule.target in _MARK_TARGETS:
        return any(match.module in ("owner", "mark", "connmark") for match in rule.matches)
    interface = rule.option("-o")
    return rule.target == "RETURN" and rule.option("--mark") is not None and interface is not None
