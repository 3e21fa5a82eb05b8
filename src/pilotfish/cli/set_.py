"""`pilotfish set`: images and variables of what has a pod template."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_patched
from pilotfish.cli.chosen import Chosen, check_words, choose
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.render.objects import at, each_at
from pilotfish.cli.session import Session, open_session

_PLACES = (("spec", "jobTemplate", "spec", "template", "spec"), ("spec", "template", "spec"), ("spec",))
"""Where containers stand: of a CronJob, of whatever else makes pods, of a Pod."""
_LISTS = ("containers", "initContainers")


@click.group("set")
@machine_option
def command(mesh: Meant) -> None:
    """Set images or variables of containers."""


@command.command("image")
@click.argument("words", metavar="KIND/NAME CONTAINER=IMAGE...", nargs=-1, required=True, shell_complete=complete.names)
@namespace_option
@machine_option
def image(words: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Set the image of containers; * stands for all of them."""
    objects, images = _split(words)
    if not images or None in images.values():
        raise click.UsageError("say which image, as CONTAINER=IMAGE")

    def change(name: str, _: object) -> dict[str, Any]:
        found = images.get(name, images.get("*"))
        return {"image": found} if found is not None else {}

    session = open_session(mesh, namespace)
    _change(session, objects, change, "image updated", {name for name in images if name != "*"})


@command.command("env")
@click.argument(
    "words", metavar="KIND/NAME KEY=VALUE... KEY-...", nargs=-1, required=True, shell_complete=complete.names
)
@click.option("-c", "--containers", "only", default="*", help="The container. Default: all of them.")
@click.option("--list", "listed", is_flag=True, help="Print what there is, and change nothing.")
@namespace_option
@machine_option
def env(words: tuple[str, ...], only: str, listed: bool, namespace: str | None, mesh: Meant) -> None:
    """Set variables of containers (KEY=VALUE), or remove them (KEY-)."""
    objects, variables = _split(words)
    if not variables and not listed:
        raise click.UsageError("say what to set, as KEY=VALUE, or what to remove, as KEY-")
    session = open_session(mesh, namespace)
    if listed:
        _list(session, objects, only)
        return

    def change(name: str, container: object) -> dict[str, Any]:
        if only not in ("*", name):
            return {}
        there = {str(at(each, "name")) for each in each_at(container, "env")}
        items = [_variable(key, value) for key, value in variables.items() if value is not None or key in there]
        return {"env": items} if items else {}

    _change(session, objects, change, "env updated", set() if only == "*" else {only})


def _variable(key: str, value: str | None) -> dict[str, Any]:
    return {"name": key, "$patch": "delete"} if value is None else {"name": key, "value": value, "valueFrom": None}


def _split(words: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str | None]]:
    objects, changes = [], dict[str, str | None]()
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            changes[key] = value
        elif word.endswith("-") and len(word) > 1:
            changes[word[:-1]] = None
        else:
            objects.append(word)
    return tuple(objects), changes


def _change(session: Session, words: tuple[str, ...], change: Any, done: str, named: set[str]) -> None:
    """`change` is what a container's name and fields come to; `named` are the containers that there must be."""
    fine = True
    for each in choose(session, check_words(words, "", False), namespace=session.namespace):
        place, containers = _containers(each)
        absent = named - {str(at(container, "name")) for _, container in containers}
        if absent:
            raise Failure(f"{each.ref} has no container {min(absent)}")
        lists: dict[str, list[dict[str, Any]]] = {}
        for listed, container in containers:
            name = str(at(container, "name"))
            if fields := change(name, container):
                lists.setdefault(listed, []).append({"name": name, **fields})
        patch: dict[str, Any] = dict(lists)
        for part in reversed(place):
            patch = {part: patch}
        fine = print_patched(session.client.patch(each.ref, patch, "strategic"), done) and fine
    sys.exit(0 if fine else 1)


def _containers(chosen: Chosen) -> tuple[tuple[str, ...], list[tuple[str, object]]]:
    """Where they stand, and each with the list that it is in. Raises Failure for an object without any."""
    for place in _PLACES:
        spec = at(chosen.item.value, *place)
        if found := [(name, each) for name in _LISTS for each in each_at(spec, name)]:
            return place, found
    raise Failure(f"{chosen.ref} has no containers")


def _list(session: Session, words: tuple[str, ...], only: str) -> None:
    for each in choose(session, check_words(words, "", False), namespace=session.namespace):
        for _, container in _containers(each)[1]:
            name = at(container, "name")
            if only in ("*", name):
                click.echo(f"# {each.ref}, container {name}")
                for variable in each_at(container, "env"):
                    source = at(variable, "valueFrom")
                    value = at(variable, "value") or "" if source is None else f"<{', '.join(dict(source))}>"  # type: ignore[call-overload]
                    click.echo(f"{at(variable, 'name')}={value}")
