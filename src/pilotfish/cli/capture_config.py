"""What `pilotfish capture` is to capture: a file of CaptureSpec's fields, the flags of istio-iptables, or both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.capture.flags import FLAGS, SWITCHES, as_document
from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.capture import CaptureSpec
    from pilotfish.model import Problem

F = TypeVar("F", bound=Callable[..., Any])


OUTPUTS = ("text", "json")


def config_options(function: F) -> F:
    """`--config`, and the flags. The command gets `config: str | None` and `flags`, which `read_spec` takes."""

    def command(**arguments: Any) -> Any:
        flags = {field: arguments.pop(field) for field in _fields()}
        output = arguments["output"]
        flags["outbound_ports_exclude"], arguments["output"] = _split_outputs(flags["outbound_ports_exclude"], output)
        return function(flags={name: value for name, value in flags.items() if value is not None}, **arguments)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for switch in reversed(SWITCHES):
        option = click.option(f"--{switch.name}", switch.field, is_flag=True, default=None, help=switch.help)
        command = option(command)
    for flag in reversed(FLAGS):
        # -o is both: Istio's ports and, as everywhere here, the output's format.
        also = f" Or the output: {', '.join(OUTPUTS)}." if flag.letter == "o" else ""
        several = flag.letter == "o"
        names = (*((f"-{flag.letter}",) if flag.letter else ()), f"--{flag.name}", flag.field)
        command = click.option(*names, metavar="VALUE", multiple=several, help=flag.help + also)(command)
    command = click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)(command)
    text = "The configuration, YAML or JSON; - is standard input. Flags override it."
    return click.option("--config", metavar="FILE", help=text)(command)  # type: ignore[return-value]


def _fields() -> Iterable[str]:
    return (each.field for each in (*FLAGS, *SWITCHES))


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
    given = as_document(flags)
    if isinstance(document, Mapping):
        own = {"proxy_gids": document["proxy_gids"]} if "proxy_gids" in document and "proxy_gids" not in flags else {}
        document = {**document, **given, **own}
    spec, problems = parse_spec(document)
    letters = {flag.field: f"-{flag.letter}" if flag.letter else f"--{flag.name}" for flag in FLAGS}
    names = {**letters, **{switch.field: f"--{switch.name}" for switch in SWITCHES}}
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
