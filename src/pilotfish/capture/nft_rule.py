"""One rule in nft's words (nft(8)) ↔ the same rule in iptables' (`rule`), the form that everything here works on.

oifname lo ip daddr != 127.0.0.1/32 tcp dport != 15008 skuid 1337 counter jump istio-in-redirect
! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pilotfish.capture.rule import Counters, Match, Option, Rule, parse_rule
from pilotfish.capture.ruleset import OWN_CHAINS

UNKNOWN = "nft"
"""Module and target of a rule that has no counterpart here: its words are kept as they are."""
_CHAINS = MappingProxyType({name.lower().replace("_", "-"): name for name in (*OWN_CHAINS, "PREROUTING", "OUTPUT")})
_NATIVE_CHAINS = MappingProxyType({ours: native for native, ours in _CHAINS.items()})
_BARE = re.compile(r"lo|(?!ip6$|sack|sha)[A-Za-z][A-Za-z0-9_]*[0-9]|[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)+")
"""Names that need no quotes, as none of them is a word of nft's own."""


def parse_chain_name(name: str) -> str:
    """`istio-in-redirect` → ISTIO_IN_REDIRECT; others' names stay."""
    return _CHAINS.get(name, name)


def render_chain_name(name: str) -> str:
    return _NATIVE_CHAINS.get(name, name)


def render_native_rule(rule: Rule) -> str:
    """What stands behind `add rule inet TABLE CHAIN`. ValueError for what nft's rules here never hold."""
    if rule.target == UNKNOWN:
        raise ValueError(f"{rule} was not made here")
    words = [word for match in rule.matches for word in _MATCHES[match.module](match)]
    protocol = rule.option("-p")
    has_port = any(option.name in _PORTS for match in rule.matches for option in match.options)
    if protocol and not has_port:
        words.insert(_leading(rule), f"meta l4proto {protocol.value}")
    return " ".join((*words, _statement(rule)))


def _leading(rule: Rule) -> int:
    """How many words come before the protocol, which Istio's rules hold behind interfaces."""
    return sum(rule.option(name) is not None for name in ("-i", "-o"))


_PORTS = ("--dport", "--sport", "--dports", "--sports")


def _generic(match: Match) -> Iterator[str]:
    options = {option.name: option for option in match.options}
    for name, word in (("-i", "iifname"), ("-o", "oifname")):
        if name in options:
            yield f"{word} {_not(options[name])}{_interface(options[name].value)}"
    for name, word in (("-s", "saddr"), ("-d", "daddr")):
        if name in options:
            family = "ip6" if ":" in options[name].value else "ip"
            yield f"{family} {word} {_not(options[name])}{options[name].value}"


def _ports(protocol: str) -> Callable[[Match], Iterator[str]]:
    def render(match: Match) -> Iterator[str]:
        for option in match.options:
            yield f"{protocol} {option.name[2:]} {_not(option)}{option.value}"

    return render


def _multiport(match: Match) -> Iterator[str]:
    for option in match.options:
        yield f"tcp {option.name[2:-1]} {_not(option)}{{ {', '.join(option.value.split(','))} }}"


def _owner(match: Match) -> Iterator[str]:
    for option in match.options:
        yield f"sk{option.name[2:5]} {_not(option)}{option.value}"


def _value(word: str) -> Callable[[Match], Iterator[str]]:
    def render(match: Match) -> Iterator[str]:
        for option in match.options:
            yield f"{word} {_not(option)}{_decimal(option.value)}"

    return render


def _state(match: Match) -> Iterator[str]:
    for option in match.options:
        yield f"ct state {_not(option)}{option.value.lower()}"


_MATCHES: Mapping[str, Callable[[Match], Iterator[str]]] = MappingProxyType(
    {
        "": _generic,
        "tcp": _ports("tcp"),
        "udp": _ports("udp"),
        "multiport": _multiport,
        "owner": _owner,
        "mark": _value("mark"),
        "connmark": _value("ct mark"),
        "conntrack": _state,
    }
)


def _statement(rule: Rule) -> str:
    arguments = {option.name: option.value for option in rule.arguments}
    if rule.target == "REDIRECT":
        return f"counter redirect to :{arguments['--to-ports']}"
    if rule.target == "MARK":
        return f"counter meta mark set {_decimal(arguments['--set-xmark'])}"
    if rule.target == "CONNMARK":
        return "counter ct mark set mark" if "--save-mark" in arguments else "counter meta mark set ct mark"
    if rule.target == "CT":
        return f"counter ct zone set {arguments['--zone']}"
    if rule.target == "TPROXY":
        address = rule.option("-d")
        family = "ip6" if address and ":" in address.value else "ip"
        mark = _decimal(arguments["--tproxy-mark"])
        return f"tproxy {family} to :{arguments['--on-port']} meta mark set {mark} counter accept"
    if rule.target in ("RETURN", "ACCEPT", "DROP"):
        return f"counter {rule.target.lower()}"
    return f"counter {'goto' if rule.goto else 'jump'} {render_chain_name(rule.target)}"


def _not(option: Option) -> str:
    return "!= " if option.negated else ""


def _decimal(text: str) -> str:
    return str(int(text.partition("/")[0], 0))


def _interface(name: str) -> str:
    """iptables' `eth+` is nft's `eth*`."""
    if name.endswith("+"):
        name = f"{name[:-1]}*"
    return name if _BARE.fullmatch(name) else f'"{name}"'


def parse_native_rule(words: Sequence[str]) -> Rule:
    """The other way, from a transaction or a listing. What is not understood is kept as a rule of the module `nft`."""
    reader = _Reader(words)
    try:
        while reader.left:
            reader.read()
        return replace(parse_rule(reader.rule_words()), counters=reader.counters)
    except (ValueError, IndexError, KeyError):
        text = re.sub(r"counter packets \d+ bytes \d+", "counter", " ".join(words))
        return Rule((Match(UNKNOWN, (Option("--rule", (text,)),)),), UNKNOWN, counters=reader.counters)


class _Reader:
    """Takes words from the left, and collects the iptables words for them."""

    __slots__ = ("_arguments", "_matches", "_protocol", "_target", "_words", "counters")

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._protocol: tuple[str, ...] = ()
        self._matches: list[str] = []
        self._target: list[str] = []
        self._arguments: list[str] = []
        self.counters: Counters | None = None

    @property
    def left(self) -> bool:
        return bool(self._words)

    def rule_words(self) -> tuple[str, ...]:
        return (*self._protocol, *self._matches, *self._target, *self._arguments)

    def read(self) -> None:
        word = self._words.pop(0)
        if word == "meta" and self._words[0] in ("mark", "skuid", "skgid", "iifname", "oifname"):
            word = self._words.pop(0)
        if self._target and word not in ("accept", "counter", "mark"):
            raise ValueError(f"{word} behind the verdict")
        _WORDS[word](self, word)

    def interface(self, word: str) -> None:
        self._option("-i" if word == "iifname" else "-o", lambda name: re.sub(r"\*$", "+", name))

    def address(self, _: str) -> None:
        self._option({"saddr": "-s", "daddr": "-d"}[self._words.pop(0)])

    def protocol(self, _: str) -> None:
        if self._words.pop(0) != "l4proto" or self._words[0] == "!=":
            raise ValueError("not a protocol")
        self._set_protocol({"6": "tcp", "17": "udp"}.get(self._words[0], self._words[0]))
        self._words.pop(0)

    def port(self, word: str) -> None:
        self._set_protocol(word)
        side = {"dport": "--dport", "sport": "--sport"}[self._words.pop(0)]
        negated, value, several = self._operand()
        self._matches += [*(("-m", "multiport") if several else ()), *negated, f"{side}{'s' * several}", value]

    def owner(self, word: str) -> None:
        self._matches += ["-m", "owner"]
        self._option(f"--{word[2:]}-owner")

    def mark(self, _: str) -> None:
        if self._words[0] != "set":
            self._matches += ["-m", "mark"]
            self._option("--mark")
            return
        self._words.pop(0)
        if self._words[:2] == ["ct", "mark"]:
            del self._words[:2]
            self._finish("CONNMARK", "--restore-mark")
        elif self._target[1:] == ["TPROXY"]:
            self._arguments += ["--tproxy-mark", f"{self._words.pop(0)}/0xffffffff"]
        else:
            self._finish("MARK", "--set-mark", self._words.pop(0))

    def conntrack(self, _: str) -> None:
        key = self._words.pop(0)
        if self._words[0] == "set":
            self._words.pop(0)
            value = self._words.pop(0)
            if key == "zone":
                self._finish("CT", "--zone", value)
            elif key == "mark" and (value == "mark" or (value, self._words.pop(0)) == ("meta", "mark")):
                self._finish("CONNMARK", "--save-mark")
            else:
                raise ValueError(f"ct {key} set {value}")
            return
        module, option = {"state": ("conntrack", "--ctstate"), "mark": ("connmark", "--mark")}[key]
        self._matches += ["-m", module]
        self._option(option, str.upper if key == "state" else str)

    def counter(self, _: str) -> None:
        if self._words[:1] == ["packets"]:
            self.counters = Counters(int(self._words[1]), int(self._words[3]))
            del self._words[:4]

    def redirect(self, _: str) -> None:
        if self._words.pop(0) != "to":
            raise ValueError("redirect to nowhere")
        self._finish("REDIRECT", "--to-ports", self._port())

    def tproxy(self, _: str) -> None:
        del self._words[:2]  # `ip to`
        self._finish("TPROXY", "--on-port", self._port())

    def verdict(self, word: str) -> None:
        if self._target[1:] == ["TPROXY"] and word == "accept":
            return
        self._finish(word.upper())

    def jump(self, word: str) -> None:
        self._target = ["-j" if word == "jump" else "-g", parse_chain_name(self._words.pop(0))]

    def _port(self) -> str:
        return str(int(self._words.pop(0).removeprefix(":")))

    def _finish(self, target: str, *arguments: str) -> None:
        if self._target:
            raise ValueError(f"{target} behind {self._target[1]}")
        self._target = ["-j", target]
        self._arguments += arguments

    def _option(self, name: str, change: Callable[[str], str] = str) -> None:
        negated, value, several = self._operand()
        if several and name != "--ctstate":
            raise ValueError(f"{name} takes one value")
        self._matches += [*negated, name, change(value)]

    def _operand(self) -> tuple[tuple[str, ...], str, bool]:
        """(("!",) or (), the value with commas between its parts, whether it has more than one)."""
        negated = self._words[0] == "!="
        if negated:
            self._words.pop(0)
        value = self._words.pop(0)
        if value == "{":
            end = self._words.index("}")
            value = "".join(self._words[:end])
            del self._words[: end + 1]
        return ("!",) if negated else (), value.strip('"'), "," in value

    def _set_protocol(self, name: str) -> None:
        if self._protocol and self._protocol != ("-p", name):
            raise ValueError(f"{name} is not {self._protocol[1]}")
        self._protocol = ("-p", name)


_WORDS: Mapping[str, Callable[[_Reader, str], None]] = MappingProxyType(
    {
        "iifname": _Reader.interface,
        "oifname": _Reader.interface,
        "ip": _Reader.address,
        "ip6": _Reader.address,
        "meta": _Reader.protocol,
        "tcp": _Reader.port,
        "udp": _Reader.port,
        "skuid": _Reader.owner,
        "skgid": _Reader.owner,
        "mark": _Reader.mark,
        "ct": _Reader.conntrack,
        "counter": _Reader.counter,
        "redirect": _Reader.redirect,
        "tproxy": _Reader.tproxy,
        "accept": _Reader.verdict,
        "return": _Reader.verdict,
        "drop": _Reader.verdict,
        "jump": _Reader.jump,
        "goto": _Reader.jump,
    }
)
