"""`pilotfish capture`: one namespace's capture rules, without a mesh."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.options import output_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotfish.capture import CaptureSpec, RuleSet
    from pilotfish.capture.spec import Family
    from pilotfish.model import Problem
    from pilotfish.runtime.netns import NetNs

F = TypeVar("F", bound="Callable[..., Any]")
_FAMILIES: dict[str, tuple[Family, ...]] = {"4": (4,), "6": (6,), "all": (4, 6)}


def _config_option(function: F) -> F:
    return click.option(
        "--config", metavar="FILE", required=True, help="The configuration, YAML or JSON; - is standard input."
    )(function)


def _family_option(function: F) -> F:
    return click.option(
        "--family", type=click.Choice(tuple(_FAMILIES)), default="all", show_default=True, help="IPv4, IPv6, or both."
    )(function)


def _namespace_options(function: F) -> F:
    netns = click.option("--netns", metavar="NAME|PATH", help="The network namespace, as `ip netns` names it.")
    return netns(
        click.option("--pid", type=int, metavar="PID", help="The network namespace of this process.")(function)
    )


@click.group(name="capture", short_help="Render, apply or remove a pod's capture rules.")
def command() -> None:
    """Render, apply or remove the packet-filter rules that lead a pod's traffic through its proxy.

    The configuration holds fields such as inbound_ports_include: "*"; what it leaves out is as in Istio.
    """


@command.command("render")
@_config_option
@_family_option
@output_option("text", "json", default="text")
def render(config: str, family: str, output: str) -> None:
    """Print the rules, for iptables-restore --noflush; needs no root."""
    from pilotfish.capture import render_iptables, rules

    spec = _read_config(config)
    found = {number: rules(spec, number) for number in _FAMILIES[family]}
    if output == "json":
        click.echo(json.dumps([row for number, ruleset in found.items() for row in _rows(number, ruleset)], indent=2))
        return
    for number, ruleset in found.items():
        if ruleset.tables or len(found) == 1:
            click.echo(f"# {'iptables' if number == 4 else 'ip6tables'}-restore --noflush")
            click.echo(render_iptables(ruleset), nl=False)


@command.command("apply")
@_config_option
@_family_option
@_namespace_options
@output_option("text", "json", default="text")
def apply(config: str, family: str, netns: str | None, pid: int | None, output: str) -> None:
    """Bring a network namespace to the configuration, whatever rules of ours it held."""
    from pilotfish.capture import rules
    from pilotfish.runtime import capture

    spec = _read_config(config)
    namespace = _find_namespace(netns, pid)
    families = _FAMILIES[family]
    asyncio.run(capture.apply(namespace, spec, families))
    counts = {number: sum(1 for _ in rules(spec, number).numbered()) for number in families}
    _print_done("applied", namespace, output, {f"rules_v{number}": count for number, count in counts.items()})


@command.command("clean")
@_family_option
@_namespace_options
@output_option("text", "json", default="text")
def clean(family: str, netns: str | None, pid: int | None, output: str) -> None:
    """Remove all capture rules from a network namespace, and leave others' rules."""
    from pilotfish.runtime import capture

    namespace = _find_namespace(netns, pid)
    asyncio.run(capture.clean(namespace, _FAMILIES[family]))
    _print_done("cleaned", namespace, output, {})


def _read_config(name: str) -> CaptureSpec:
    """Problems go to standard error, all of them; errors end the command."""
    from pilotfish.capture import parse_spec
    from pilotfish.config.text import read
    from pilotfish.model import Source

    documents = list(read(_read_text(name), name))
    if len(documents) > 1:
        raise Failure(f"{name} holds {len(documents)} documents, a capture configuration is one; remove the others")
    faults = [fault for document in documents for fault in document.faults]
    if faults:
        raise Failure(f"{name}:{faults[0].line}: {faults[0].message}")
    spec, problems = parse_spec(documents[0].value if documents else None)
    for problem in problems:
        source = Source(name, documents[0].positions.line(problem.field))
        click.echo(str(replace(problem, source=source)), err=True)
    if spec is None:
        raise Failure(f"{name} has {_count_errors(problems)}, so no rules were made; correct them first")
    return spec


def _count_errors(problems: Iterable[Problem]) -> str:
    count = sum(1 for problem in problems if problem.severity == "error")
    return f"{count} error{'' if count == 1 else 's'}"


def _read_text(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{name} can't be read: {error}; check --config") from error


def _find_namespace(netns: str | None, pid: int | None) -> NetNs:
    """Never the caller's own unless told so by --pid: rules there would capture the machine's own traffic."""
    from pilotfish.runtime.netns import NetNs

    if (netns is None) == (pid is None):
        raise click.UsageError("say which network namespace: --netns NAME|PATH, or --pid PID ($$ for your own)")
    if os.geteuid() != 0:
        raise Failure("packet-filter rules need root: run it with sudo")
    if netns is None:
        return NetNs(Path(f"/proc/{pid}/ns/net"))
    return NetNs(Path(netns)) if "/" in netns else NetNs.named(netns)


def _rows(family: Family, ruleset: RuleSet) -> Iterable[dict[str, object]]:
    for name, rule in ruleset.numbered():
        yield {"family": family, "id": name, "rule": str(rule), "why": rule.why}


def _print_done(what: str, namespace: NetNs, output: str, facts: dict[str, int]) -> None:
    if output == "json":
        click.echo(json.dumps({"netns": str(namespace.path), **facts}))
        return
    counts = ", ".join(f"{count} rules for IPv{name[-1]}" for name, count in facts.items())
    click.echo(f"{what} {namespace.path}{f': {counts}' if counts else ''}")
