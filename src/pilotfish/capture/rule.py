"""One rule, in iptables' words: `-o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j RETURN`.

A Rule is in one form however it was written (iptables(8), iptables-extensions(8)): what a save adds or changes
(`-m tcp`, full masks, 0x539 for 1337, the order of matches) makes no difference.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

_GENERIC = ("-s", "-d", "-i", "-o", "-p")
"""Matches of no module, in the order of iptables-save."""
_PROTOCOL_OPTIONS = frozenset(("--dport", "--sport", "--tcp-flags", "--syn", "--tcp-option"))
_PROTOCOLS = frozenset(("tcp", "udp"))
_ALIASES = {
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--protocol": "-p",
    "--match": "-m",
    "--jump": "-j",
    "--goto": "-g",
    "--destination-port": "--dport",
    "--source-port": "--sport",
    "--destination-ports": "--dports",
    "--source-ports": "--sports",
    "--to-port": "--to-ports",
}
_IMPLIED = frozenset(
    (("--nfmask", "0xffffffff"), ("--ctmask", "0xffffffff"), ("--on-ip", "0.0.0.0"), ("--on-ip", "::"))
)
"""Arguments of targets that a save adds and that say nothing."""


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """The first, which is mostly the only one."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Match:
    """One use of a match module; "" for the matches that need none."""

    module: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rule:
    matches: tuple[Match, ...]
    """All must hold."""
    target: str
    """A chain, or what a target extension does; "" for a rule that only counts."""
    arguments: tuple[Option, ...] = ()
    goto: bool = False
    counters: Counters | None = None
    """What has matched so far; None where it is not known."""
    why: str = field(default="", compare=False)
    """What the rule is for; "" where the kernel was read."""

    def option(self, name: str) -> Option | None:
        """The first match option of that name: `rule.option("--dport")`."""
        return next((option for match in self.matches for option in match.options if option.name == name), None)

    def __str__(self) -> str:
        return render_rule(self)


def split_words(line: str) -> list[str]:
    """A line's words; quotes as in a shell. ValueError for a quote that does not end."""
    return shlex.split(line) if '"' in line or "'" in line else line.split()


def parse_rule(words: Sequence[str], counters: Counters | None = None, why: str = "") -> Rule:
    """What stands behind `-A CHAIN`. ValueError for what is no rule."""
    generic: list[Option] = []
    modules: list[tuple[str, list[Option]]] = []
    target, goto, arguments = "", False, []
    for option in _read_options(words):
        if option.name == "-m":
            modules.append((option.value, []))
        elif option.name in ("-j", "-g"):
            target, goto = option.value, option.name == "-g"
        elif target:
            arguments.append(option)
        elif option.name in _GENERIC:
            generic.append(option)
        else:
            _module_of(option, generic, modules).append(option)
    kept = (Match(name, tuple(options)) for name, options in modules if options or name not in _PROTOCOLS)
    first = sorted((o for o in generic if o != Option("-p", ("all",))), key=lambda option: _GENERIC.index(option.name))
    matches = (*((Match("", tuple(first)),) if first else ()), *sorted(kept, key=_module_order))
    said = sorted((o for o in arguments if (o.name, o.value) not in _IMPLIED), key=lambda option: option.name)
    return Rule(matches, target, tuple(said), goto, counters, why)


def render_rule(rule: Rule) -> str:
    """As iptables-save writes it, without `-A CHAIN`."""
    words = []
    for match in rule.matches:
        words += [f"-m {match.module}"] if match.module else []
        words += [_render_option(option) for option in match.options]
    if rule.target:
        words.append(f"{'-g' if rule.goto else '-j'} {rule.target}")
    return " ".join((*words, *(_render_option(option) for option in rule.arguments)))


def _read_options(words: Sequence[str]) -> Iterator[Option]:
    """`! --dport 53` → Option("--dport", "53", negated). Values are all words up to the next option."""
    position, negated = 0, False
    while position < len(words):
        word = words[position]
        position += 1
        if word == "!":
            negated = True
            continue
        if not word.startswith("-"):
            raise ValueError(f"{word!r} stands where an option is expected")
        values = []
        while position < len(words) and not (words[position] == "!" or _is_option(words[position])):
            values.append(words[position])
            position += 1
        yield _canonical(Option(_ALIASES.get(word, word), tuple(values), negated))
        negated = False


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()


def _module_of(option: Option, generic: list[Option], modules: list[tuple[str, list[Option]]]) -> list[Option]:
    """Where a module's option goes: to the last `-m`, but a port to its protocol, which needs none."""
    protocol = next((o.value for o in generic if o.name == "-p"), "")
    if option.name in _PROTOCOL_OPTIONS and protocol:
        for name, options in modules:
            if name == protocol:
                return options
        modules.append((protocol, []))
    if not modules:
        raise ValueError(f"{option.name} belongs to no match: give -m before it")
    return modules[-1][1]


def _module_order(match: Match) -> tuple[bool, str]:
    """The protocol first, as people write it."""
    return match.module not in _PROTOCOLS, match.module


def _canonical(option: Option) -> Option:
    if option.name == "--set-mark":
        return Option("--set-xmark", (f"{_mark(option.value)}/0xffffffff",))
    normalise = _VALUES.get(option.name)
    return Option(option.name, (normalise(option.value),), option.negated) if normalise else option


def _address(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return text  # a list of addresses or a host name; iptables saves neither


def _mark(text: str) -> str:
    value, _, mask = text.partition("/")
    number = hex(int(value, 0))
    return f"{number}/{hex(int(mask, 0))}" if mask else number


def _unmasked_mark(text: str) -> str:
    return _mark(text).removesuffix("/0xffffffff")


def _set(text: str) -> str:
    return ",".join(sorted(text.split(","), key=lambda part: (int(part) if part.isdecimal() else 0, part)))


_VALUES: dict[str, Callable[[str], str]] = {
    "-s": _address,
    "-d": _address,
    "--mark": _unmasked_mark,
    "--set-xmark": _mark,
    "--tproxy-mark": _mark,
    "--dports": _set,
    "--sports": _set,
    "--ctstate": _set,
}


def _render_option(option: Option) -> str:
    return " ".join((*(("!",) if option.negated else ()), option.name, *map(_quote, option.values)))


def _quote(value: str) -> str:
    """Quoted where a save would: a comment with spaces."""
    if value and not any(character in value for character in "\"'\\ \t"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
