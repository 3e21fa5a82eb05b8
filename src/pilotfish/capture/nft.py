"""RuleSet ↔ nft's own words: a transaction for `nft -f`, and what `nft list ruleset` says.

The tables are ours alone: `inet istio-proxy-nat`, `-mangle` and `-raw`, each for both families (Istio's names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pilotfish.capture.nft_rule import parse_chain_name, parse_native_rule, render_chain_name, render_native_rule
from pilotfish.capture.rule import Rule
from pilotfish.capture.ruleset import Chain, RuleSet, Table

NATIVE_PREFIX = "istio-proxy-"
_ORDER = ("nat", "mangle", "raw")
_BASES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("nat", "PREROUTING"): "type nat hook prerouting priority -100 ;",
        ("nat", "OUTPUT"): "type nat hook output priority -100 ;",
        ("mangle", "PREROUTING"): "type filter hook prerouting priority -150 ;",
        # Of this type, as a packet that got a mark is routed again.
        ("mangle", "OUTPUT"): "type route hook output priority -150 ;",
        ("raw", "PREROUTING"): "type filter hook prerouting priority -300 ;",
        ("raw", "OUTPUT"): "type filter hook output priority -300 ;",
    }
)
"""Where each chain stands among others' (kernel, include/uapi/linux/netfilter_ipv4.h: the priorities of iptables)."""
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{};\n]|[^\s{};"]+')


def render_nft(ruleset: RuleSet, present: Iterable[str] = ()) -> str:
    """For `nft -f`, which applies all of it as one transaction, or nothing.

    `present`: the tables of ours that the kernel has (`nat`), which are made anew or go. So an empty `ruleset` removes
    everything.
    """
    # One that is gone by then is no error, as it is added before.
    lines = [f"{verb} table inet {NATIVE_PREFIX}{name}" for name in sorted(present) for verb in ("add", "delete")]
    for name in _ORDER:
        if ruleset.table(name).chains:
            lines += _render_table(ruleset.table(name))
    return "".join(f"{line}\n" for line in lines)


def _render_table(table: Table) -> Iterator[str]:
    name = f"inet {NATIVE_PREFIX}{table.name}"
    yield f"add table {name}"
    yield f"flush table {name}"
    chains = sorted(table.chains, key=lambda chain: (not chain.policy, chain.policy and chain.name != "PREROUTING"))
    for chain in chains:
        base = f" {{ {_BASES[table.name, chain.name]} }}" if chain.policy else ""
        yield f"add chain {name} {render_chain_name(chain.name)}{base}"
    for chain in chains:
        for rule in chain.rules:
            yield f"add rule {name} {render_chain_name(chain.name)} {render_native_rule(rule)}"


def parse_nft(text: str) -> RuleSet:
    """A transaction, or a listing; others' tables are left out. ValueError for what can't be read.

    A chain that is hooked elsewhere, or drops what no rule decides, has that for its `policy`.
    """
    tables: dict[str, dict[str, _ChainRead]] = {}
    tokens = _Tokens(text)
    while (word := tokens.next()) is not None:
        if word in ("add", "insert", "create", "flush", "delete"):
            _read_command(word, tokens.line(), tables)
        elif word == "table":
            _read_table(tokens, tables)
        elif word not in ("\n", ";") and not word.startswith("#"):
            raise ValueError(f"{word!r} begins neither a command nor a table of nft")
        elif word.startswith("#"):
            tokens.line()
    return RuleSet.build({name: [read.chain(chain) for chain, read in found.items()] for name, found in tables.items()})


class _ChainRead:
    __slots__ = ("policy", "rules")

    def __init__(self, policy: str = "") -> None:
        self.policy = policy
        self.rules: list[Rule] = []

    def chain(self, name: str) -> Chain:
        return Chain(name, tuple(self.rules), self.policy)


class _Tokens:
    __slots__ = ("_position", "_words")

    def __init__(self, text: str) -> None:
        self._words = _TOKEN.findall(text)
        self._position = 0

    def next(self) -> str | None:
        self._position += 1
        return self._words[self._position - 1] if self._position <= len(self._words) else None

    def line(self) -> list[str]:
        """All words up to the end of the line."""
        words = []
        while (word := self.next()) not in (None, "\n"):
            words.append(str(word))
        return words

    def skip_block(self) -> None:
        """Past the `}` of a `{` that was read."""
        depth = 1
        while depth and (word := self.next()) is not None:
            depth += {"{": 1, "}": -1}.get(word, 0)


def _read_command(command: str, words: list[str], tables: dict[str, dict[str, _ChainRead]]) -> None:
    """`chain inet TABLE NAME { ... }`, `rule inet TABLE CHAIN [index N] RULE`, and what makes or empties a table."""
    kind, family, table = words[:3]
    if family != "inet" or not table.startswith(NATIVE_PREFIX) or kind not in ("table", "chain", "rule"):
        return
    chains = tables.setdefault(table.removeprefix(NATIVE_PREFIX), {})
    if command == "delete" and kind == "table":
        chains.clear()
    elif command == "flush":
        for read in chains.values():
            read.rules.clear()
    elif kind == "chain":
        name = parse_chain_name(words[3])
        chains[name] = _ChainRead(_policy(table.removeprefix(NATIVE_PREFIX), name, words[4:]))
    elif kind == "rule":
        _add_rule(chains[parse_chain_name(words[3])].rules, command, words[4:])


def _add_rule(rules: list[Rule], command: str, words: list[str]) -> None:
    position = len(rules) if command == "add" else 0
    if words[0] == "index":
        position = int(words[1]) + (command == "add")
        words = words[2:]
    rules.insert(position, parse_native_rule(words))


def _read_table(tokens: _Tokens, tables: dict[str, dict[str, _ChainRead]]) -> None:
    """`inet NAME { chain CHAIN { ... } ... }`, `table` having been read."""
    family, name, _ = (str(tokens.next()) for _ in range(3))
    if family != "inet" or not name.startswith(NATIVE_PREFIX):
        tokens.skip_block()
        return
    table = name.removeprefix(NATIVE_PREFIX)
    chains = tables.setdefault(table, {})
    while (word := tokens.next()) not in ("}", None):
        if word == "chain":
            chain = parse_chain_name(str(tokens.next()))
            tokens.line()
            chains[chain] = _read_chain(tokens, table, chain)
        elif word == "{":
            tokens.skip_block()


def _read_chain(tokens: _Tokens, table: str, name: str) -> _ChainRead:
    read = _ChainRead()
    while (line := tokens.line()) != ["}"]:
        if line[:1] == ["type"]:
            read.policy = _policy(table, name, line)
        elif line:
            read.rules.append(parse_native_rule(line))
    return read


def _policy(table: str, name: str, words: list[str]) -> str:
    """ACCEPT for a chain that is where it belongs and lets pass what no rule decides."""
    text = " ".join(word for word in words if word not in "{};" and word != "policy")
    if not text:
        return ""
    wanted = _BASES.get((table, name), "").rstrip(" ;")
    return "ACCEPT" if text.removesuffix(" accept") == wanted else text
