"""`pilotfish capture trace`: what rules do with one connection, rule by rule."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.capture_config import read_spec
from pilotfish.cli.capture_namespace import find_namespace, namespace_options
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import output_option

if TYPE_CHECKING:
    from pilotfish.capture import Connection, RuleSet
    from pilotfish.runtime.linux.netns import NetNs


@click.command("trace")
@click.option("--config", metavar="FILE", help="The rules of this configuration; - is standard input.")
@click.option("--rules", metavar="FILE", help="The rules of this text of iptables-save; - is standard input.")
@namespace_options
@click.argument("words", nargs=-1, required=True, metavar="CONNECTION")
@output_option("text", "json", default="text")
def trace(
    config: str | None, rules: str | None, netns: str | None, pid: int | None, words: tuple[str, ...], output: str
) -> None:
    """Say what rules do with a CONNECTION, and why: every rule that it comes by, in the kernel's order.

    Without --config or --rules the rules are those that a network namespace holds. CONNECTION is written

    \b
      [in|out] [tcp|udp] ADDRESS:PORT [from ADDRESS[:PORT]] [KEY=VALUE ...]
      10.96.0.7:8888                            an application calls a service
      out tcp 10.96.0.7:8888 uid=1337 gid=1337  the proxy does
      out udp 10.96.0.10:53                     an application asks a resolver
      in tcp 10.244.0.2:8888 from 10.244.0.9    somebody calls this pod

    with the keys interface, uid, gid, mark, connmark, state (NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED) and
    local (yes, no: whether ADDRESS is the pod's own). In a namespace, its routes fill in what is left open.
    """
    from pilotfish.capture import Evaluator
    from pilotfish.cli.render.trace import render_trace, trace_document

    if sum(given is not None for given in (config, rules, netns, pid)) > 1:
        raise click.UsageError("--config, --rules, --netns and --pid each say which rules: give one of them")
    connection = _read_connection(" ".join(words))
    if rules is not None:
        ruleset = _read_rules(rules, connection.family)
    elif config is not None:
        ruleset = _make_rules(config, connection.family)
    else:
        connection, ruleset = asyncio.run(_look(find_namespace(netns, pid), connection))
    evaluation = Evaluator(ruleset).evaluate(connection)
    if output == "json":
        click.echo(json.dumps(trace_document(evaluation), indent=2))
        return
    click.echo(render_trace(evaluation))


def _read_connection(text: str) -> Connection:
    from pilotfish.capture import Connection

    try:
        return Connection.parse(text)
    except ValueError as error:
        raise Failure(f"{text}: {error}") from error


def _read_rules(name: str, family: int) -> RuleSet:
    from pilotfish.capture import family_of, parse_iptables

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        ruleset = parse_iptables(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{name} can't be read: {error}; check --rules") from error
    except ValueError as error:
        raise Failure(f"{name}: {error}; --rules takes what iptables-save prints") from error
    if not ruleset.tables:
        raise Failure(f"{name} holds no rules; --rules takes what iptables-save prints")
    if family_of(ruleset) not in (family, None):
        other = "ip6tables-save" if family == 6 else "iptables-save"
        raise Failure(f"{name} holds no rules of IPv{family}, the connection's family: give what {other} prints")
    return ruleset


def _make_rules(config: str, family: int) -> RuleSet:
    from pilotfish.capture import rules
    from pilotfish.runtime.capture import resolve_groups

    return rules(resolve_groups(read_spec(config, {})), 6 if family == 6 else 4)


async def _look(netns: NetNs, connection: Connection) -> tuple[Connection, RuleSet]:
    """What the kernel has."""
    from pilotfish.runtime import capture

    return await capture.route(netns, connection), await capture.read(netns, connection.family)
