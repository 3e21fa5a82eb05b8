"""`pilotfish capture`: one namespace's capture rules, without a mesh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.cli.capture_config import config_options, read_spec
from pilotfish.cli.capture_namespace import find_namespace, namespace_options
from pilotfish.cli.capture_trace import trace
from pilotfish.cli.options import output_option

if TYPE_CHECKING:
    from pilotfish.capture import CaptureSpec, RuleSet
    from pilotfish.capture.spec import Family
    from pilotfish.runtime.capture import Drift, PacketFilter
    from pilotfish.runtime.linux.netns import NetNs

F = TypeVar("F", bound=Callable[..., Any])
_FAMILIES: dict[str, tuple[Family, ...]] = {"4": (4,), "6": (6,), "all": (4, 6)}
_UNCAPTURED = 126
"""The exit code by which the node's plugin, as Istio's, knows a pod that started without its rules."""
_BACKENDS = ("auto", "iptables-nft", "iptables-legacy", "nft")


def _family_option(function: F) -> F:
    return click.option(
        "--family", type=click.Choice(tuple(_FAMILIES)), default="all", show_default=True, help="IPv4, IPv6, or both."
    )(function)


def _backend_option(function: F) -> F:
    text = "How the kernel is told. auto: as what the namespace holds already, else iptables-nft, else nft."
    return click.option("--backend", type=click.Choice(_BACKENDS), default="auto", show_default=True, help=text)(
        function
    )


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What the commands are given that deal with one namespace and one configuration."""

    spec: CaptureSpec
    families: tuple[Family, ...]
    backend: PacketFilter | None
    namespace: NetNs
    output: str


def _request_options(function: Callable[..., None]) -> Callable[..., None]:
    """All the options that a CaptureRequest takes."""

    def called(
        config: str | None,
        flags: dict[str, object],
        family: str,
        backend: str,
        netns: str | None,
        pid: int | None,
        output: str,
        **others: object,
    ) -> None:
        spec = read_spec(config, flags)
        request = CaptureRequest(spec, _FAMILIES[family], _backend(backend), find_namespace(netns, pid), output)
        function(request, **others)

    called.__name__, called.__doc__ = function.__name__, function.__doc__
    called.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return config_options(_family_option(_backend_option(namespace_options(called))))


@click.group(name="capture", short_help="Render, apply, verify, trace or remove capture rules.")
def command() -> None:
    """Render, apply, verify, trace or remove the packet-filter rules that lead traffic through a proxy.

    The configuration holds fields such as inbound_ports_include: "*"; what it leaves out is as in Istio. The flags of
    Istio's `pilot-agent istio-iptables` say the same, and go before the configuration.
    """


command.add_command(trace)


@command.command("render")
@config_options
@click.option("--backend", type=click.Choice(("iptables", "nft")), default="iptables", show_default=True)
@_family_option
def render(config: str | None, flags: dict[str, object], output: str, backend: str, family: str) -> None:
    """Print the rules, for iptables-restore --noflush or nft -f; needs no root."""
    spec = read_spec(config, flags)
    families = _FAMILIES[family]
    if output == "json":
        click.echo(json.dumps(list(_rows(spec, families, backend)), indent=2))
        return
    for text in _native_text(spec, families) if backend == "nft" else _iptables_texts(spec, families):
        click.echo(text, nl=False)
    for line in _routing(spec, families):
        click.echo(f"# {line}")


@command.command("apply")
@_request_options
def apply(request: CaptureRequest) -> None:
    """Bring a network namespace to the configuration, whatever rules of ours it held.

    Each family changes in one transaction. Applied again, nothing changes.
    """
    from pilotfish.capture import native_rules, rules
    from pilotfish.runtime import capture

    spec, families = request.spec, capture.known(request.families)
    used = asyncio.run(capture.apply(request.namespace, spec, families, request.backend))
    if used is capture.PacketFilter.NFT:
        counts = {"rules": sum(1 for _ in native_rules(spec, families).numbered())}
    else:
        counts = {f"rules_v{number}": sum(1 for _ in rules(spec, number).numbered()) for number in families}
    _print_done("applied", request.namespace, request.output, {"backend": str(used), **counts})


@command.command("clean")
@_family_option
@namespace_options
@output_option("text", "json", default="text")
def clean(family: str, netns: str | None, pid: int | None, output: str) -> None:
    """Remove all capture rules and their routing, of every back-end, and leave others' rules.

    It needs no configuration. nft's tables serve both families, and go as a whole.
    """
    from pilotfish.runtime import capture

    namespace = find_namespace(netns, pid)
    asyncio.run(capture.clean(namespace, _FAMILIES[family]))
    _print_done("cleaned", namespace, output, {})


@command.command("verify")
@_request_options
def verify(request: CaptureRequest) -> None:
    """Say what the kernel holds otherwise than the configuration means; exit code 1 if there is anything.

    A rule is missing, changed, or foreign: in a chain of ours, or of ours where it should not be. All three back-ends
    and the routing are read.
    """
    from pilotfish.runtime import capture

    drifts = asyncio.run(capture.verify(request.namespace, request.spec, request.families, request.backend))
    _print_drifts(request, drifts)
    if drifts:
        raise SystemExit(1)


@command.command("check")
@config_options
@click.option(
    "--ip",
    "addresses",
    envvar="INSTANCE_IP",
    metavar="ADDRESS",
    help="This namespace's own address, or several with commas. Default: what its interfaces have. [$INSTANCE_IP]",
)
@click.option(
    "--wait", type=float, default=10.0, show_default=True, metavar="SECONDS", help="For rules that are on their way."
)
def check(config: str | None, flags: dict[str, object], output: str, addresses: str | None, wait: float) -> None:
    """Try whether connections are captured in this network namespace; exit code 126 if they are not.

    It reads no rules and needs no privileges: as the proxy's user it calls this namespace's own address, and looks
    whether that arrives at the proxy's inbound port. Nothing else may listen there yet.
    """
    from pilotfish.runtime.capture.check import find_uncaptured
    from pilotfish.runtime.linux.addresses import find_addresses

    spec = read_spec(config, flags)
    own = tuple(addresses.split(",")) if addresses else find_addresses()
    missing = asyncio.run(find_uncaptured(spec, own, wait))
    if output == "json":
        click.echo(json.dumps({"addresses": list(own), "uncaptured": [{"address": a, "why": w} for a, w in missing]}))
    else:
        for address, why in missing:
            click.echo(f"error: connections to {address} are not captured: {why}", err=True)
        if not missing:
            click.echo(f"connections are captured ({', '.join(own)})")
    if missing:
        if output == "text":
            click.echo(
                "the pod would run without its rules. See the node's pod of DaemonSet pilotfish-cni, which sets them "
                "and repairs pods that lack them; or delete this pod",
                err=True,
            )
        raise SystemExit(_UNCAPTURED)


@command.command("watch")
@_request_options
@click.option("--repair", is_flag=True, help="Apply the configuration again whenever the kernel holds something else.")
def watch(request: CaptureRequest, repair: bool) -> None:
    """Verify now, and whenever the kernel's rules change, until interrupted.

    The kernel tells when the rules of nft or iptables-nft change, and when the routing does. Of iptables-legacy it
    tells nothing: where a namespace has used that, its rules are read every second.
    """
    if request.backend == "iptables-legacy":
        click.echo("the kernel does not tell when legacy rules change: they are read every second", err=True)
    try:
        asyncio.run(_watch(request, repair))
    except KeyboardInterrupt:
        raise click.Abort from None


async def _watch(request: CaptureRequest, repair: bool) -> None:
    from pilotfish.runtime import capture

    found = capture.watch(request.namespace, request.spec, request.families, request.backend, repair)
    async for drifts in found:
        _print_drifts(request, drifts, indent=None)


def _backend(name: str) -> PacketFilter | None:
    from pilotfish.runtime.capture import PacketFilter

    return None if name == "auto" else PacketFilter(name)


def _iptables_texts(spec: CaptureSpec, families: tuple[Family, ...]) -> Iterable[str]:
    from pilotfish.capture import render_iptables, rules

    for number in families:
        ruleset = rules(spec, number)
        if ruleset.tables or len(families) == 1:
            yield f"# {'iptables' if number == 4 else 'ip6tables'}-restore --noflush\n{render_iptables(ruleset)}"


def _native_text(spec: CaptureSpec, families: tuple[Family, ...]) -> Iterable[str]:
    from pilotfish.capture import native_rules, render_nft

    return (f"# nft -f\n{render_nft(native_rules(spec, families))}",)


def _routing(spec: CaptureSpec, families: tuple[Family, ...]) -> Iterable[str]:
    """What goes beside the rules, where packets are marked."""
    if spec.mode != "TPROXY":
        return
    for number in families if spec.enable_ipv6 else (4,):
        yield f"ip -{number} rule add fwmark {spec.tproxy_mark} lookup {spec.tproxy_route_table}"
        yield f"ip -{number} route add local default dev lo table {spec.tproxy_route_table}"


def _rows(spec: CaptureSpec, families: tuple[Family, ...], backend: str) -> Iterable[dict[str, object]]:
    from pilotfish.capture import native_rules, rules

    if backend == "nft":
        yield from _ruleset_rows("inet", native_rules(spec, families))
        return
    for number in families:
        yield from _ruleset_rows(number, rules(spec, number))


def _ruleset_rows(family: Family | str, ruleset: RuleSet) -> Iterable[dict[str, object]]:
    from pilotfish.capture import render_native_rule

    for name, rule in ruleset.numbered():
        text = render_native_rule(rule) if family == "inet" else str(rule)
        yield {"family": family, "id": name, "rule": text, "why": rule.why}


def _print_drifts(request: CaptureRequest, drifts: tuple[Drift, ...], indent: int | None = 2) -> None:
    path = request.namespace.path
    if request.output == "json":
        rows = [
            {"where": one.where, "kind": one.difference.kind, "id": one.difference.id, "rule": one.difference.rule}
            | ({"found": one.difference.found} if one.difference.found else {})
            for one in drifts
        ]
        click.echo(json.dumps({"netns": str(path), "drift": rows}, indent=indent))
        return
    for drift in drifts:
        click.echo(str(drift))
    if not drifts:
        click.echo(f"{path} holds what is meant")


def _print_done(what: str, namespace: NetNs, output: str, facts: dict[str, object]) -> None:
    if output == "json":
        click.echo(json.dumps({"netns": str(namespace.path), **facts}))
        return
    words = {"rules": "rules", "rules_v4": "rules for IPv4", "rules_v6": "rules for IPv6"}
    counts = ", ".join(f"{facts[name]} {word}" for name, word in words.items() if name in facts)
    by = f" by {facts['backend']}" if "backend" in facts else ""
    click.echo(f"{what} {namespace.path}{f': {counts}' if counts else ''}{by}")
