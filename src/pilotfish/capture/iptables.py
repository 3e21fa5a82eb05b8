"""RuleSet ↔ the text of iptables-restore and iptables-save."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.capture.ownership import is_own
from pilotfish.capture.rule import Counters, Rule, parse_rule, render_rule, split_words
from pilotfish.capture.ruleset import OWN_CHAINS, Chain, RuleSet, Table


def render_iptables(ruleset: RuleSet, present: RuleSet = RuleSet()) -> str:  # noqa: B008 - an immutable value
    """For `iptables-restore --noflush`, which applies each table as one transaction.

    `present`, what the kernel has, is brought to `ruleset`: our chains are emptied first, our rules in the kernel's own
    chains taken out, others' rules left alone. So it may be applied again, and an empty `ruleset` removes everything.
    """
    names = dict.fromkeys(table.name for table in (*ruleset.tables, *present.tables))
    sections = (_render_table(ruleset.table(name), present.table(name)) for name in names)
    return "".join(f"*{name}\n{section}COMMIT\n" for name, section in zip(names, sections, strict=True) if section)


def parse_iptables(text: str) -> RuleSet:
    """What iptables-save wrote, with or without `-c`, or iptables-restore is to read. ValueError names a bad line."""
    tables: dict[str, dict[str, _ChainRead]] = {}
    chains: dict[str, _ChainRead] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#") or words == "COMMIT":
            continue
        if words.startswith("*"):
            chains = tables.setdefault(words[1:].strip(), {})
            continue
        try:
            _read_line(words, chains)
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number}: {words!r} can't be read: {error}") from error
    return RuleSet.build({name: [read.chain(chain) for chain, read in found.items()] for name, found in tables.items()})


class _ChainRead:
    __slots__ = ("policy", "rules")

    def __init__(self, policy: str = "") -> None:
        self.policy = policy
        self.rules: list[Rule] = []

    def chain(self, name: str) -> Chain:
        return Chain(name, tuple(self.rules), self.policy)


def _read_line(line: str, chains: dict[str, _ChainRead]) -> None:
    """`:CHAIN POLICY [0:0]`, `-N CHAIN`, `[0:0] -A CHAIN RULE`, `-I CHAIN [NUMBER] RULE`."""
    words = split_words(line)
    counters = _read_counters(words.pop(0)) if words[0].startswith("[") else None
    command, name, rest = (
        (":", words[0][1:], words[1:]) if words[0].startswith(":") else (words[0], words[1], words[2:])
    )
    if command in (":", "-N"):
        policy = rest[0] if rest and rest[0] != "-" else ""
        chains[name] = _ChainRead(policy)
        return
    chain = chains.setdefault(name, _ChainRead("" if name in OWN_CHAINS else "ACCEPT"))
    if command == "-A":
        chain.rules.append(parse_rule(rest, counters))
    elif command == "-I":
        position = int(rest.pop(0)) if rest[0].isdecimal() else 1
        chain.rules.insert(position - 1, parse_rule(rest, counters))
    else:
        raise ValueError(f"{command} is not a command of a save")


def _read_counters(text: str) -> Counters:
    packets, _, size = text.strip("[]").partition(":")
    return Counters(int(packets), int(size))


def _render_table(table: Table, present: Table) -> str:
    own = [chain for chain in table.chains if not chain.policy]
    stale = [c.name for c in present.chains if c.name in OWN_CHAINS and c.name not in {chain.name for chain in own}]
    lines = [f":{name} - [0:0]" for name in (*(chain.name for chain in own), *stale)]
    for chain in present.chains:
        if chain.policy:
            lines += _removals(present, chain)
    for chain in table.chains:
        lines += _render_chain(chain)
    lines += [f"-X {name}" for name in stale]
    return "".join(f"{line}\n" for line in lines)


def _removals(present: Table, chain: Chain) -> Iterator[str]:
    """By what they say: their numbers may be others' when somebody adds a rule meanwhile."""
    for rule in chain.rules:
        if is_own(present, chain.name, rule):
            yield f"-D {chain.name} {render_rule(rule)}"


def _render_chain(chain: Chain) -> Iterator[str]:
    for index, rule in enumerate(chain.rules):
        counters = f"[{rule.counters.packets}:{rule.counters.bytes}] " if rule.counters else ""
        command = f"-I {chain.name} {index + 1}" if index < chain.inserted else f"-A {chain.name}"
        yield f"{counters}{command} {render_rule(rule)}".rstrip()
