"""The flags of Istio's `istio-iptables`, which say what a CaptureSpec does: on a command line, and in a pod's init
containers, where they are all that a node has to know.

Source: `pilot-agent istio-iptables --help`. Values are as there: text, lists with commas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotfish.capture.spec import CaptureSpec


@dataclass(frozen=True, slots=True)
class Flag:
    letter: str
    """Empty where it has none."""
    name: str
    field: str
    """Of a CaptureSpec."""
    help: str


@dataclass(frozen=True, slots=True)
class Switch:
    name: str
    field: str
    help: str


FLAGS: Final = (
    Flag("p", "envoy-port", "proxy_port", "The proxy's outbound port [15001]."),
    Flag("z", "inbound-capture-port", "inbound_capture_port", "The proxy's inbound port [15006]."),
    Flag("e", "inbound-tunnel-port", "inbound_tunnel_port", "The tunnel's port, never captured [15008]."),
    Flag("u", "proxy-uid", "proxy_uids", "Users whose traffic is the proxy's own [1337]."),
    Flag("g", "proxy-gid", "proxy_gids", "Groups whose traffic is the proxy's own [as -u]."),
    Flag("m", "istio-inbound-interception-mode", "mode", "REDIRECT or TPROXY [REDIRECT]."),
    Flag("b", "istio-inbound-ports", "inbound_ports_include", 'Inbound ports to capture; "*" is all [none].'),
    Flag("d", "istio-local-exclude-ports", "inbound_ports_exclude", 'Inbound ports not to capture, with -b "*".'),
    Flag("i", "istio-service-cidr", "outbound_ip_ranges_include", 'Outbound ranges to capture; "*" is all [none].'),
    Flag("x", "istio-service-exclude-cidr", "outbound_ip_ranges_exclude", "Outbound ranges not to capture."),
    Flag("q", "istio-outbound-ports", "outbound_ports_include", "Outbound ports to capture to any address."),
    Flag("o", "istio-local-outbound-ports-exclude", "outbound_ports_exclude", "Outbound ports not to capture."),
    Flag("c", "istio-exclude-interfaces", "exclude_interfaces", "Interfaces not to capture on."),
    Flag("k", "kube-virt-interfaces", "reroute_virtual_interfaces", "Interfaces whose inbound traffic is outbound."),
    Flag("t", "istio-inbound-tproxy-mark", "tproxy_mark", "TPROXY's mark [1337]."),
    Flag("r", "istio-inbound-tproxy-route-table", "tproxy_route_table", "TPROXY's route table [133]."),
    Flag("", "owner-groups", "owner_groups_include", "Groups whose processes' traffic is captured [*]."),
    Flag("", "owner-groups-exclude", "owner_groups_exclude", "Groups whose processes' traffic is not captured."),
    Flag("", "host-ipv4-loopback-cidr", "host_ipv4_loopback_cidr", "What counts as loopback [127.0.0.1/32]."),
)
SWITCHES: Final = (
    Switch("redirect-dns", "redirect_dns", "Capture DNS to the servers of the configuration."),
    Switch("capture-all-dns", "capture_all_dns", "With --redirect-dns: capture DNS to any server."),
    Switch("drop-invalid", "drop_invalid", "Drop packets that belong to no connection."),
    Switch("dual-stack", "enable_ipv6", "Capture IPv6, too."),
)
LISTS: Final = frozenset((*(flag.field for flag in FLAGS if flag.letter in set("bdixqock")), "owner_groups_exclude"))
"""Fields that an empty value empties; of others it is Istio's way of leaving a flag out."""
_USUAL: Final = CaptureSpec()
_SAID: Final = frozenset("pzugmbdix")
_BY_NAME: Final = {word: flag for flag in FLAGS for word in (f"-{flag.letter}", f"--{flag.name}") if word != "-"}
_SWITCHES: Final = {f"--{switch.name}": switch for switch in SWITCHES}
_OF_ISTIO: Final = frozenset(("--run-validation", "--skip-rule-apply", "--force-apply", "--reconcile"))
"""How its init container is to go about it, which is not what is captured. So is `--log_output_level=...`."""


def as_document(given: Mapping[str, object]) -> dict[str, object]:
    """Fields for `parse_spec`, from fields as flags have them."""
    found = {name: value for name, value in given.items() if value != "" or name in LISTS}
    return {"proxy_gids": found["proxy_uids"], **found} if "proxy_uids" in found else found


def parse_flags(words: Sequence[str]) -> dict[str, object]:
    """Fields for `parse_spec`. Raises ValueError for a word that is no flag: what it asks for would not be captured."""
    return as_document(dict(_read(words)))


def render_flags(spec: CaptureSpec) -> Iterator[str]:
    """The words of which `parse_flags` makes the same: what people look for, and what is other than usual."""
    for flag in FLAGS:
        value = getattr(spec, flag.field)
        if flag.letter in _SAID or value != getattr(_USUAL, flag.field):
            yield f"-{flag.letter}" if flag.letter else f"--{flag.name}"
            yield ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    for switch in SWITCHES:
        if getattr(spec, switch.field):
            yield f"--{switch.name}"


def _read(words: Sequence[str]) -> Iterator[tuple[str, object]]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _OF_ISTIO or name.startswith("--log_"):
            continue
        if (switch := _SWITCHES.get(name)) is not None:
            yield switch.field, {"true": True, "false": False}.get(value, value) if equals else True
            continue
        flag = _BY_NAME.get(name)
        if flag is None:
            raise ValueError(f"{word!r} is no flag of capture; known are {', '.join((*_BY_NAME, *_SWITCHES))}")
        stated = value if equals else next(rest, None)
        if stated is None:
            raise ValueError(f"{word!r} has no value")
        yield flag.field, stated
