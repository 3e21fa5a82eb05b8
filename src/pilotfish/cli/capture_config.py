"""What `pilotfish capture` is to capture: a file of CaptureSpec's fields, the flags of istio-iptables, or both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.capture import CaptureSpec
    from pilotfish.model import Problem

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Flag:
    letter: str
    """"" where it has none."""
    name: str
    field: str
    help: str


_FLAGS = (
    _Flag("p", "envoy-port", "proxy_port", "The proxy's outbound port [15001]."),
    _Flag("z", "inbound-capture-port", "inbound_capture_port", "The proxy's inbound port [15006]."),
    _Flag("e", "inbound-tunnel-port", "inbound_tunnel_port", "The tunnel's port, never captured [15008]."),
    _Flag("u", "proxy-uid", "proxy_uids", "Users whose traffic is the proxy's own [1337]."),
    _Flag("g", "proxy-gid", "proxy_gids", "Groups whose traffic is the proxy's own [as -u]."),
    _Flag("m", "istio-inbound-interception-mode", "mode", "REDIRECT or TPROXY [REDIRECT]."),
    _Flag("b", "istio-inbound-ports", "inbound_ports_include", 'Inbound ports to capture; "*" is all [none].'),
    _Flag("d", "istio-local-exclude-ports", "inbound_ports_exclude", 'Inbound ports not to capture, with -b "*".'),
    _Flag("i", "istio-service-cidr", "outbound_ip_ranges_include", 'Outbound ranges to capture; "*" is all [none].'),
    _Flag("x", "istio-service-exclude-cidr", "outbound_ip_ranges_exclude", "Outbound ranges not to capture."),
    _Flag("q", "istio-outbound-ports", "outbound_ports_include", "Outbound ports to capture to any address."),
    _Flag("o", "istio-local-outbound-ports-exclude", "outbound_ports_exclude", "Outbound ports not to capture."),
    _Flag("c", "istio-exclude-interfaces", "exclude_interfaces", "Interfaces not to capture on."),
    _Flag("k", "kube-virt-interfaces", "reroute_virtual_interfaces", "Interfaces whose inbound traffic is outbound."),
    _Flag("t", "istio-inbound-tproxy-mark", "tproxy_mark", "TPROXY's mark [1337]."),
    _Flag("r", "istio-inbound-tproxy-route-table", "tproxy_route_table", "TPROXY's route table [133]."),
    _Flag("", "owner-groups", "owner_groups_include", "Groups whose processes' traffic is captured [*]."),
    _Flag("", "owner-groups-exclude", "owner_groups_exclude", "Groups whose processes' traffic is not captured."),
    _Flag("", "host-ipv4-loopback-cidr", "host_ipv4_loopback_cidr", "What counts as loopback [127.0.0.1/32]."),
)
"""Source: `pilot-agent istio-iptables --help`. Values are as there: text, lists with commas."""
_SWITCHES = (
    ("redirect-dns", "redirect_dns", "Capture DNS to the servers of the configuration."),
    ("capture-all-dns", "capture_all_dns", "With --redirect-dns: capture DNS to any server."),
    ("drop-invalid", "drop_invalid", "Drop packets that belong to no connection."),
    ("dual-stack", "enable_ipv6", "Capture IPv6, too."),
)
OUTPUTS = ("text", "json")
_LISTS = frozenset((*(flag.field for flag in _FLAGS if flag.letter in set("bdixqock")), "owner_groups_exclude"))


def config_options(function: F) -> F:
    """`--config`, and the flags. The command gets `config: str | None` and `flags`, which `read_spec` takes."""

    def command(**arguments: Any) -> Any:
        flags = {field: arguments.pop(field) for field in _fields()}
        output = arguments["output"]
        flags["outbound_ports_exclude"], arguments["output"] = _split_outputs(flags["outbound_ports_exclude"], output)
        return function(flags={name: value for name, value in flags.items() if value is not None}, **arguments)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for name, field, text in reversed(_SWITCHES):
        command = click.option(f"--{name}", field, is_flag=True, default=None, help=text)(command)
    for flag in reversed(_FLAGS):
        # -o is both: Istio's ports and, as everywhere here, the output's format.
        also = f" Or the output: {', '.join(OUTPUTS)}." if flag.letter == "o" else ""
        several = flag.letter == "o"
        names = (*((f"-{flag.letter}",) if flag.letter else ()), f"--{flag.name}", flag.field)
        command = click.option(*names, metavar="VALUE", multiple=several, help=flag.help + also)(command)
    command = click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)(command)
    text = "The configuration, YAML or JSON; - is standard input. Flags override it."
    return click.option("--config", metavar="FILE", help=text)(command)  # type: ignore[return-value]


def _fields() -> Iterable[str]:
    return (*(flag.field for flag in _FLAGS), *(field for _, field, _ in _SWITCHES))


def _split_outputs(values: tuple[str, ...], output: str) -> tuple[str | None, str]:
    ports = [value for value in values if value not in OUTPUTS]
    chosen = [value for value in values if value in OUTPUTS]
    return ",".join(ports) if ports else None, chosen[-1] if chosen else output


def read_spec(config: str | None, flags: Mapping[str, object]) -> CaptureSpec:
    """Problems go to standard error, all of them; errors end the command."""
    from pilotfish.capture import parse_spec
    from pilotfish.model import Source

    if config is None and not flags:
        raise click.UsageError('say what to capture: --config FILE, or flags such as -b "*" -i "*"')
    document, lines = _read_document(config) if config is not None else ({}, lambda _: 1)
    given = _with_flags(flags)
    if isinstance(document, Mapping):
        default = {"proxy_gids": given["proxy_uids"]} if "proxy_uids" in given and "proxy_gids" not in document else {}
        document = {**document, **default, **given}
    spec, problems = parse_spec(document)
    letters = {flag.field: f"-{flag.letter}" if flag.letter else f"--{flag.name}" for flag in _FLAGS}
    names = MappingProxyType({**letters, **{field: f"--{name}" for name, field, _ in _SWITCHES}})
    for problem in problems:
        if problem.field in given:
            shown = replace(problem, field=names[problem.field])
        else:
            shown = replace(problem, source=Source(str(config), lines(problem.field)))
        click.echo(str(shown), err=True)
    if spec is None:
        what = config if not given else "the configuration" if config is None else f"{config} with the flags"
        raise Failure(f"{what} has {_count_errors(problems)}, so no rules were made; correct them first")
    return spec


def _with_flags(flags: Mapping[str, object]) -> dict[str, object]:
    """An empty value is Istio's way of leaving a flag out, except for a list, which it empties."""
    return {name: value for name, value in flags.items() if value != "" or name in _LISTS}


def _read_document(name: str) -> tuple[object, Callable[[str], int]]:
    """(what it says, on which line a field is)."""
    from pilotfish.config.text import read

    documents = list(read(_read_text(name), name))
    if len(documents) > 1:
        raise Failure(f"{name} holds {len(documents)} documents, a capture configuration is one; remove the others")
    faults = [fault for document in documents for fault in document.faults]
    if faults:
        raise Failure(f"{name}:{faults[0].line}: {faults[0].message}")
    if not documents or documents[0].value is None:
        return {}, lambda _: 1
    return documents[0].value, documents[0].positions.line


def _read_text(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{name} can't be read: {error}; check --config") from error


def _count_errors(problems: Iterable[Problem]) -> str:
    count = sum(1 for problem in problems if problem.severity == "error")
    return f"{count} error{'' if count == 1 else 's'}"
